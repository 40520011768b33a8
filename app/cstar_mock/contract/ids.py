"""Identifiers in cStar's forms: a prefix that names the kind, then characters that carry no meaning [site]."""

import base64
import os
import string
import uuid

_ALPHABET = (string.ascii_letters + string.digits).encode()
# Maps each byte to one of the 62 characters. Eight of them are a little likelier than the others, which is
# no harm in a name; drawing them one by one would cost more than routing the request.
_TO_ALPHABET = bytes(_ALPHABET[byte % 62] for byte in range(256))
_TEAM_NAMESPACE = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")

_AT_ONCE = 256
_drawn: list[str] = []
os.register_at_fork(after_in_child=_drawn.clear)

MEMBER = "usr"
CUSTOMER = "cus"
TICKET = "tkt"
CSAT_RESPONSE = "csat"
API_KEY = "key"


def new(prefix: str) -> str:
    """Return a random identifier such as `tkt_k3J9xQ0aZb12`: the prefix and 12 characters of `[A-Za-z0-9]`."""
    return f"{prefix}_{os.urandom(12).translate(_TO_ALPHABET).decode()}"


def request_id() -> str:
    """Return a new request id: `req_` and 12 characters of `[A-Za-z0-9]` [site]."""
    if not _drawn:
        # Asking the kernel for each one would cost as much as counting the request.
        some = os.urandom(_AT_ONCE * 12).translate(_TO_ALPHABET).decode()
        _drawn.extend(some[start : start + 12] for start in range(0, len(some), 12))
    return "req_" + _drawn.pop()


def numbered(prefix: str, number: int) -> str:
    """Return the identifier of the n-th row of a data set: the same rows get the same ids every time."""
    return f"{prefix}_{number:012d}"


def team_id(slug: str) -> str:
    """Return the UUID of a team whose data set names none: the same slug has the same id on every machine."""
    return str(uuid.uuid5(_TEAM_NAMESPACE, f"cstar-mock/team/{slug}"))


def new_team_id() -> str:
    """Return a random UUID."""
    return str(uuid.uuid4())


def new_key(prefix: str) -> str:
    """Return a new API key: one of the four prefixes and 32 random base64url characters [site]."""
    return f"{prefix}_{base64.urlsafe_b64encode(os.urandom(24)).decode()}"
