"""The settings: one table, read by the command line and the docs.

Each field is the option `--name`, the environment variable `CSTAR_MOCK_NAME` and the keyword `name`; the option
wins over the variable, the variable over the default.
"""

import difflib
import importlib.util
import ipaddress
import os
import re
from collections.abc import Collection
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from cstar_mock import bounds, ready_file
from cstar_mock.contract.redaction import shortened

ENV_PREFIX = "CSTAR_MOCK_"
IN_MEMORY = "sqlite://"
DOCUMENTED = "documented"
TOKENS = ("control_token", "metrics_token")
"""Settings that can be given in a file, by the setting `…_file`."""
_SHORTEST_TOKEN = 8
_LONGEST_TOKEN_FILE = 4096
_SERVICE_PROTOCOLS = ("tcp://", "udp://", "sctp://")
_SERVICE_LINK = re.compile(
    r"_SERVICE_HOST$|_SERVICE_PORT(_[A-Z0-9_]{1,15})?$|_PORT_[0-9]{1,5}_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$"
)
_STATE_SCHEMES = {"valkey", "valkeys", "redis", "rediss"}


class LogFormat(StrEnum):
    """The format of log lines."""

    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """The minimum severity of log lines."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class EmptyMean(StrEnum):
    """The value of a mean over nothing (contract §5)."""

    NULL = "null"
    ZERO = "zero"


class Settings(BaseSettings):
    """The settings of one server, frozen once made."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(27827, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    database: str = Field(
        IN_MEMORY,
        description="Where the rows are: `sqlite://` (temporary), `sqlite:///FILE` or `postgresql://…`.",
    )
    database_pool_size: int = Field(
        10, ge=1, le=1000, description="PostgreSQL: connections of each worker, and threads that work on them."
    )
    database_pool_timeout: float = Field(
        5, gt=0, le=3600, description="PostgreSQL: seconds to wait for a free connection before answering 503."
    )
    database_connect_timeout: int = Field(
        3, ge=2, le=3600, description="PostgreSQL: seconds to wait for a new connection before answering 503."
    )
    database_statement_timeout: float = Field(
        10,
        ge=0,
        le=86400,
        description="PostgreSQL: seconds that a statement may take before its request is answered 503; 0: any.",
    )
    startup_timeout: float = Field(
        30, ge=0, le=86400, description="PostgreSQL: seconds to wait at the start for a database that can't be reached."
    )
    dataset: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description=f"Data set to load at the start, a name or a YAML file; repeatable (in the environment: "
        f"separated by commas). Default: `{DOCUMENTED}` in memory, else none.",
    )
    workers: int = Field(
        1,
        ge=1,
        le=64,
        description="Worker processes. More than one needs a database that is not in memory, and `--state`.",
    )
    state: SecretStr | None = Field(
        None,
        description="Valkey or Redis where workers and hosts share rate-limit counters, counts of fault rules and the "
        "journal: `valkey://[USER:PASSWORD@]HOST[:PORT][/NUMBER]`, with TLS `valkeys://…`. Default: in the process.",
    )
    state_timeout: float = Field(
        1, gt=0, le=60, description="Seconds that a command to the shared state may take, connecting included."
    )
    max_connections: int = Field(
        1000, ge=1, le=100_000, description="Open connections of a worker; one more is answered with 503 and closed."
    )
    keep_alive: int = Field(
        5,
        ge=1,
        le=3600,
        description="Seconds that an idle connection is kept; answers say so in `Keep-Alive: timeout=`.",
    )
    rate_limits: bool = Field(True, description="Count requests against their key's limit.")
    secret_rate_limit: int = Field(
        1000, ge=1, le=bounds.LARGEST_RATE_LIMIT, description="Requests a window for a secret key."
    )
    publishable_rate_limit: int = Field(
        100, ge=1, le=bounds.LARGEST_RATE_LIMIT, description="Requests a window for a publishable key."
    )
    rate_limit_window: int = Field(3600, ge=1, le=31_536_000, description="Length of a rate-limit window in seconds.")
    success_meta: bool = Field(False, description="Add `meta` with `requestId` and `timestamp` to 200s.")
    empty_mean: EmptyMean = Field(EmptyMean.NULL, description="What a mean over nothing is.")
    key_hint: bool = Field(
        True, description="Say in the header `X-Cstar-Mock-Hint` of a 401 what was wrong with the key."
    )
    prefer: bool = Field(
        True, description="Do what a request's `Prefer` header asks for: `code=429`, `wait=2` (RFC 7240)."
    )
    journal_size: int = Field(
        1000,
        ge=0,
        le=bounds.MOST_JOURNAL_ENTRIES,
        description="Requests of each team to remember for verification; 0 for none.",
    )
    control: bool = Field(True, description="Serve the control API under `/__admin`; without it, 404.")
    control_token: SecretStr | None = Field(
        None,
        description="Bearer token for the control API. Default: none on a loopback address, a random one elsewhere.",
    )
    control_token_file: Path | None = Field(None, description="File with the token for the control API.")
    unauthorized_limit: int | None = Field(
        None,
        ge=0,
        le=1_000_000,
        description="Wrong keys, and wrong control tokens, a minute from one address; then it has to wait (429). "
        "0 for any number. Default: 0 on a loopback address, 100 elsewhere.",
    )
    forwarded_allow_ips: str = Field(
        "127.0.0.1",
        description="Proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed: addresses or networks, "
        "separated by commas; `*` for any.",
    )
    metrics: bool = Field(False, description="Serve metrics for Prometheus under `/metrics`; needs an extra.")
    metrics_token: SecretStr | None = Field(
        None, description="Bearer token for `/metrics`. Default: what the control API asks for."
    )
    metrics_token_file: Path | None = Field(None, description="File with the token for `/metrics`.")
    metrics_team_label: bool = Field(
        False, description="Count requests by team, too: the slugs of the first 100 teams, `other` for the rest."
    )
    traces: bool = Field(
        False, description="Send traces by OpenTelemetry, as the `OTEL_…` variables say; needs an extra."
    )
    ready_file: Path | None = Field(None, description="JSON file to write once requests are answered; removed at exit.")
    exit_on_stdin_eof: bool = Field(
        False, description="End when standard input is closed: with the program that started the server."
    )
    log_format: LogFormat = Field(LogFormat.TEXT, description="How log lines are written.")
    log_level: LogLevel = Field(LogLevel.INFO, description="From which severity on lines are written.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Ignore the variables that Kubernetes has written into the environment."""
        del env_settings
        return init_settings, _Environment(settings_cls), dotenv_settings, file_secret_settings

    @model_validator(mode="before")
    @classmethod
    def _read_tokens(cls, values: dict[str, Any]) -> dict[str, Any]:
        for name in TOKENS:
            file = values.get(f"{name}_file")
            if file:
                option = f"--{name.replace('_', '-')}-file"
                if values.get(name):
                    raise ValueError(f"{option}: give either a token or its file, not both")
                values = {**values, name: _token_in(file, option)}
        return values

    @field_validator("dataset", mode="before")
    @classmethod
    def _split_at_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(name.strip() for name in value.split(",") if name.strip())
        return value

    @field_validator("control_token", "metrics_token")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        # An exported but empty variable is as an absent one.
        if value is None or not value.get_secret_value():
            return None
        if len(value.get_secret_value()) < _SHORTEST_TOKEN:
            raise ValueError(f"a token has at least {_SHORTEST_TOKEN} characters")
        return value

    @field_validator("state")
    @classmethod
    def _url_of_a_valkey(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value():
            return None
        try:
            url = urlsplit(value.get_secret_value())
            complete = url.scheme in _STATE_SCHEMES and url.hostname and (url.port is None or url.port)
        except ValueError:
            complete = None  # The reason might quote a part of the password.
        if not complete or not re.fullmatch(r"(/\d*)?", url.path):
            raise ValueError(
                "use valkey://[USER:PASSWORD@]HOST[:PORT][/NUMBER], with TLS valkeys://…, or redis:// and rediss://; "
                "percent-encode what is special in a password"
            )
        return value

    @field_validator("database")
    @classmethod
    def _known_engine(cls, value: str) -> str:
        if value.startswith("postgresql://"):
            return value.replace("postgresql://", "postgresql+psycopg://", 1)
        if value != IN_MEMORY and not value.startswith(("sqlite:///", "postgresql+psycopg://")):
            raise ValueError("use sqlite:// (in memory), sqlite:///FILE or postgresql://USER@HOST/NAME")
        return value

    @field_validator("forwarded_allow_ips")
    @classmethod
    def _networks(cls, value: str) -> str:
        for network in value.split(","):
            # uvicorn would take a mistyped one for the name of a socket, and silently trust no proxy.
            if network.strip() not in {"", "*"}:
                ipaddress.ip_network(network.strip(), strict=False)
        return value

    @model_validator(mode="after")
    def _extras_are_there(self) -> Self:
        if self.metrics and not _installed("prometheus_client"):
            raise ValueError("metrics: they need an extra: pip install 'cstar-mock[metrics]'")
        if self.traces and not (
            _installed("opentelemetry.exporter.otlp.proto.http") and _installed("fastapi.telemetry")
        ):
            raise ValueError("traces: they need an extra: pip install 'cstar-mock[opentelemetry]'")
        return self

    @field_validator("ready_file")
    @classmethod
    def _in_a_folder(cls, value: Path | None) -> Path | None:
        if value is not None:
            if not value.parent.is_dir():
                raise ValueError(f"there is no folder {value.parent}")
            try:
                ready_file.check(value)
            except OSError as error:
                raise ValueError(error.strerror) from None
        return value

    @model_validator(mode="after")
    def _workers_share_what_they_need(self) -> Self:
        if self.workers > 1 and self.in_memory:
            raise ValueError(
                "workers: several workers can't share a database in memory; give --database sqlite:///FILE"
            )
        if self.workers > 1 and self.state is None:
            raise ValueError(
                "workers: each worker would have its own rate-limit counters, counts of fault rules and journal; "
                "give --state valkey://HOST"
            )
        return self

    @property
    def mean_of_nothing(self) -> float | None:
        """The number, or None, that `empty_mean` chooses."""
        return 0.0 if self.empty_mean is EmptyMean.ZERO else None

    @property
    def in_memory(self) -> bool:
        """Whether the rows vanish with the process."""
        return self.database in {IN_MEMORY, "sqlite:///:memory:"}

    @property
    def datasets(self) -> tuple[str, ...]:
        """The data sets to load at the start."""
        return self.dataset or ((DOCUMENTED,) if self.in_memory else ())


class _Environment(EnvSettingsSource):
    """The variables of the environment, without those of service links."""

    def __call__(self) -> dict[str, Any]:
        values = super().__call__()
        return {
            name: value for name, value in values.items() if not _is_service_link(ENV_PREFIX + name.upper(), str(value))
        }


def _is_service_link(variable: str, value: str) -> bool:
    """Whether Kubernetes has made a variable, in a namespace with a service whose name begins with `cstar-mock`."""
    if variable.endswith("_PORT") and value.startswith(_SERVICE_PROTOCOLS):
        return True
    return _SERVICE_LINK.search(variable) is not None


def _token_in(file: str | Path, option: str) -> str:
    """Return the token in a file, without the white space around it."""
    try:
        with Path(file).open(encoding="utf-8") as text:
            token = text.read(_LONGEST_TOKEN_FILE).strip()
    except OSError as error:
        raise ValueError(f"{option}: the file can't be read: {error.strerror}") from None
    except ValueError:
        raise ValueError(f"{option}: the file can't be read: it has no name, or is no text in UTF-8") from None
    if not token:
        raise ValueError(f"{option}: the file has no token in it")
    return token


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package that it would be in
        return False


class SettingsError(ValueError):
    """A setting that can't be used; the message is one line that says which, and what is allowed."""


def load(*, other_variables: Collection[str] = (), **options: Any) -> Settings:
    """Read the settings from the environment, and from options, which win.

    Args:
        other_variables: variables that are no settings, but mean something to a command.
        options: values by the names of the settings.

    Raises:
        SettingsError: a value is not allowed, or the environment has a `CSTAR_MOCK_…` that is no setting.
    """
    _refuse_unknown_variables(other_variables)
    try:
        return Settings(**options)
    except ValidationError as error:
        raise SettingsError("; ".join(_sentences(error, options))) from None


def _refuse_unknown_variables(others: Collection[str]) -> None:
    known = [*(ENV_PREFIX + name.upper() for name in Settings.model_fields), *others]
    for variable, value in os.environ.items():
        name = variable.upper()
        if name.startswith(ENV_PREFIX) and name not in known and not _is_service_link(name, value):
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise SettingsError(f"the environment variable {variable} is no setting{hint}")


def _sentences(error: ValidationError, options: dict[str, Any]) -> list[str]:
    sentences = []
    for problem in error.errors():
        message = problem["msg"].removeprefix("Value error, ")
        if not problem["loc"]:
            sentences.append(message)
            continue
        name = str(problem["loc"][0])
        where = (
            f"--{name.replace('_', '-')}" if name in options else f"the environment variable {ENV_PREFIX}{name.upper()}"
        )
        value = "" if name in {"database", "control_token", "metrics_token", "state"} else f" {problem['input']!r}"
        sentences.append(shortened(f"{where}:{value} is not allowed: {message[:1].lower()}{message[1:]}"))
    return sentences
