"""The envelope of a 200: `{"success": true, "data": …}` [doc], with `meta` if a setting asks for it [site]."""

from typing import Any, Generic, Literal, TypeVar, get_args

from pydantic import BaseModel, Field
from pydantic_core import to_json
from starlette.responses import Response
from starlette.types import Scope

from cstar_mock import clock
from cstar_mock.api.dependencies import Services
from cstar_mock.http.context import context_of, json_headers

T = TypeVar("T")


class Meta(BaseModel):
    """What a setting adds to a 200 [site]."""

    requestId: str = Field(description="The id that also stands in the header X-Request-Id.")  # noqa: N815
    timestamp: str = Field(description="The team's time: UTC, ISO 8601, whole seconds.")


class Success(BaseModel, Generic[T]):
    """The envelope of a 200."""

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """Name the schema as a client generator's user would: `OverviewResponse`."""
        (data,) = params
        items = get_args(data)
        return f"{items[0].__name__}ListResponse" if items else f"{data.__name__}Response"

    success: Literal[True]
    data: T


class SuccessWithMeta(Success[T], Generic[T]):
    """The envelope of a 200 when the setting `success_meta` is on."""

    meta: Meta


def success(scope: Scope, services: Services, data: bytes) -> Response:
    """Answer 200 with data that are JSON already."""
    return Json(success_body(scope, services, data))


def success_body(scope: Scope, services: Services, data: bytes) -> bytes:
    """Return the body of a 200 with data that are JSON already."""
    meta = b""
    if services.settings.success_meta:
        context = context_of(scope)
        meta = b',"meta":' + to_json({"requestId": context.request_id, "timestamp": clock.iso(context.now())})
    return b'{"success":true,"data":%s%s}' % (data, meta)


class Json(Response):
    """A 200 whose headers need no looking up."""

    def __init__(self, body: bytes) -> None:
        self.status_code = 200
        self.background = None
        self.body = body
        self.raw_headers = json_headers(body)
