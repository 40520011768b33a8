"""The head of a request, read strictly: what another parser could read otherwise is refused (RFC 9112).

A proxy and a server that see different requests in the same bytes let a client smuggle one past the proxy's rules.
"""

import string
from urllib.parse import unquote_to_bytes

from cstar_mock import bounds
from cstar_mock.contract import errors
from cstar_mock.contract.errors import ApiError

_Headers = list[tuple[bytes, bytes]]

_CONTROL_PATH = b"/__admin"
_SCHEMES = (b"http://", b"https://")
_VERSIONS = ("1.0", "1.1")
_DIGITS = string.digits.encode()
_NAME = (string.ascii_letters + string.digits + "-._~%!$&'()*+,;=").encode()
_ADDRESS = (string.ascii_letters + string.digits + "-._~!$&'()*+,;=:").encode()


def malformed(reason: str) -> ApiError:
    """Return the 400 for what is not valid HTTP."""
    return ApiError(errors.REQUEST_MALFORMED, reason=reason)


def check_method(method: bytes) -> None:
    """Refuse the one method whose request has neither a path nor a body.

    Raises:
        ApiError: REQUEST_MALFORMED.
    """
    if method == b"CONNECT":
        raise malformed("CONNECT is for proxies, and this is an API")


def check_size(target: bytes, headers: _Headers) -> None:
    """Refuse a target or a head that is too long.

    Raises:
        ApiError: URI_TOO_LONG or HEADERS_TOO_LARGE.
    """
    if len(target) > bounds.LONGEST_TARGET:
        raise ApiError(errors.URI_TOO_LONG)
    if len(target) + sum(len(name) + len(value) for name, value in headers) > bounds.LONGEST_HEAD:
        raise ApiError(errors.HEADERS_TOO_LARGE)


def check_count(headers: _Headers) -> None:
    """Refuse too many headers.

    Raises:
        ApiError: HEADERS_TOO_LARGE.
    """
    if len(headers) > bounds.MOST_HEADERS:
        raise ApiError(errors.HEADERS_TOO_LARGE)


def longest_body(target: bytes) -> int:
    """Return the most bytes that the body of a request may have."""
    return bounds.LONGEST_CONTROL_BODY if is_for_control_api(target) else bounds.LONGEST_BODY


def content_too_large(limit: int) -> ApiError:
    """Return the 413 for a body that is too large."""
    return ApiError(errors.CONTENT_TOO_LARGE, limit=limit)


def origin_form(target: bytes, headers: _Headers) -> bytes:
    """Return path and query of a request target; the host of one in absolute form replaces the Host header.

    Raises:
        ApiError: REQUEST_MALFORMED.
    """
    if b"#" in target:
        raise malformed("its target has a fragment")
    if target.startswith(b"/"):
        return target
    scheme, separator, rest = target.partition(b"://")
    if scheme.lower() + separator not in _SCHEMES:
        raise malformed("its target is neither a path nor an http or https URL")
    authority = rest.partition(b"?")[0].partition(b"/")[0]
    if not authority:
        raise malformed("the URL in its first line has no host")
    _check_host(authority)
    hosts = [index for index, (name, _) in enumerate(headers) if name == b"host"]
    if len(hosts) == 1:
        headers[hosts[0]] = (b"host", authority)
    path = rest[len(authority) :]
    return path if path.startswith(b"/") else b"/" + path


def check(version: str, headers: _Headers) -> int | None:
    """Refuse a head whose meaning is not certain; return the length of the body, if it is announced.

    Raises:
        ApiError: REQUEST_MALFORMED.
    """
    if version not in _VERSIONS:
        raise malformed(f"this server speaks HTTP/1.1, not HTTP/{version}")
    length: int | None = None
    hosts = 0
    for name, value in headers:
        if name == b"host":
            hosts += 1
            _check_host(value)
        elif name == b"content-length":
            length = _length(value)
        elif name == b"transfer-encoding" and (value.lower() != b"chunked" or version != "1.1"):
            raise malformed("the only Transfer-Encoding is chunked, in HTTP/1.1")
    if hosts != 1 and (hosts or version == "1.1"):
        raise malformed("it has more than one Host header" if hosts else "it has no Host header")
    return length


def is_for_control_api(target: bytes) -> bool:
    """Whether the path of a target, however it is encoded, belongs to the control API."""
    path = target.partition(b"?")[0]
    if b"%" in path:
        path = unquote_to_bytes(path)
    return path.startswith(_CONTROL_PATH) and path[len(_CONTROL_PATH) :][:1] in {b"", b"/"}


def without_upgrade(method: bytes, target: bytes, version: str, headers: _Headers) -> bytes:
    """Return a head again, without its request for an upgrade."""
    lines = b"".join(b"%s: %s\r\n" % header for header in headers if header[0] != b"upgrade")
    return b"%s %s HTTP/%s\r\n%s\r\n" % (method, target, version.encode(), lines)


def _length(value: bytes) -> int:
    # The parser takes digits only, but any number of zeros before them; `int` has a bound for those.
    digits = value.lstrip(b"0")
    return int(digits or b"0") if len(digits) <= len(str(2**64)) else bounds.LONGEST_CONTROL_BODY + 1


def _check_host(value: bytes) -> None:
    if value.startswith(b"["):
        address, closed, port = value[1:].partition(b"]")
        valid = bool(address and closed) and not address.translate(None, _ADDRESS) and port[:1] in {b"", b":"}
        port = port[1:]
    else:
        name, _, port = value.partition(b":")
        valid = not name.translate(None, _NAME)
    if not valid or port.translate(None, _DIGITS):
        raise malformed("its Host is not a host and a port")
