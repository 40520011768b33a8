"""Raw messages that parsers disagree about, each with the one right reading of it.

What is in a body is never answered as a request, and what is a request is never taken for a body. Each message is sent
with a last request behind it; where that is answered, the connection was open and the message was read to its end.
"""

from typing import NamedTuple

KEY = b"Authorization: Bearer sk_live_your_key\r\n"
PATH = b"/api/v1/auth/whoami"
SMUGGLED = b"GET /api/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET " + PATH + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + KEY + b"\r\n"
OPEN = 200
"""The last request is answered."""


class Message(NamedTuple):
    """Bytes to send, and what they mean.

    Attributes:
        name: what is special about them.
        raw: the bytes.
        statuses: of the answers, those of the last request included if it is read as one.
        recorded: requests that reach the journal, the last one included.
        behind_proxy: whether it is sent through a proxy as well; not if the proxy takes long to give it up.
    """

    name: str
    raw: bytes
    statuses: list[int]
    recorded: int
    behind_proxy: bool = True


def request(*headers: bytes, method: bytes = b"GET", target: bytes = PATH, version: bytes = b"HTTP/1.1") -> bytes:
    """Return a head with a host and a key."""
    lines = b"".join(header + b"\r\n" for header in headers)
    return method + b" " + target + b" " + version + b"\r\nHost: x\r\n" + KEY + lines + b"\r\n"


def body(content: bytes, *headers: bytes, method: bytes = b"POST") -> bytes:
    """Return a request with a body of a given length."""
    return request(*headers, b"Content-Length: %d" % len(content), method=method) + content


def chunked(content: bytes, *headers: bytes) -> bytes:
    """Return a request whose body is sent as it is, after `Transfer-Encoding: chunked`."""
    return request(*headers, b"Transfer-Encoding: chunked", method=b"POST") + content


def chunk(content: bytes) -> bytes:
    """Return content as one chunk, and the end."""
    return b"%x\r\n%s\r\n0\r\n\r\n" % (len(content), content)


def _read(name: str, raw: bytes, *statuses: int) -> Message:
    """Return a message that is read to its end."""
    return Message(name, raw, [*statuses, OPEN], len(statuses) + 1)


def _refused(name: str, raw: bytes, *, begun: int = 0) -> Message:
    """Return a message that is refused with 400, and the connection closed; `begun` requests were begun already."""
    return Message(name, raw, [400], begun)


def _closed(name: str, raw: bytes, *statuses: int) -> Message:
    """Return a message after whose answers the connection is closed."""
    return Message(name, raw, list(statuses), len(statuses))


GET = request()
UPGRADE = (b"Connection: Upgrade", b"Upgrade: x")
H2C = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA")
WEBSOCKET = (b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: eA==", b"Sec-WebSocket-Version: 13")


def _te(value: bytes, name: bytes = b"Transfer-Encoding") -> bytes:
    return request(name + b": " + value, method=b"POST") + b"0\r\n\r\n"


def _cl(value: bytes, content: bytes = b"x") -> bytes:
    return request(b"Content-Length: " + value, method=b"POST") + content


UPGRADES = [
    _read("upgrade, no body", request(*UPGRADE), 200),
    _read("upgrade, a request as the body", body(SMUGGLED, *UPGRADE), 405),
    _read("upgrade, a request in a chunk", chunked(chunk(SMUGGLED), *UPGRADE), 405),
    _read("upgrade, chunked, then another request", chunked(chunk(SMUGGLED), *UPGRADE) + GET, 405, 200),
    _read("upgrade, a body of no bytes", body(b"", *UPGRADE), 405),
    _read("upgrade to h2c, a body", body(SMUGGLED, *H2C), 405),
    _read("upgrade to h2c, no body", request(*H2C), 200),
    _read("upgrade to websocket", request(*WEBSOCKET), 200),
    _read("upgrade to websocket, a body", body(SMUGGLED, *WEBSOCKET), 405),
    _read("upgrade of a GET with a body", body(SMUGGLED, *UPGRADE, method=b"GET"), 200),
    _read("two upgrades, each with a body", body(SMUGGLED, *UPGRADE) * 2, 405, 405),
    _read("upgrade in two headers", body(SMUGGLED, b"Upgrade: a", b"Upgrade: b", b"Connection: upgrade"), 405),
    _read("upgrade without Connection", body(SMUGGLED, b"Upgrade: h2c"), 405),
    _read("Connection: upgrade without Upgrade", body(SMUGGLED, b"Connection: upgrade"), 405),
    _closed("upgrade and close", body(SMUGGLED, b"Connection: close, upgrade", b"Upgrade: x"), 405),
    _refused("upgrade, both lengths", chunked(b"0\r\n\r\n", *UPGRADE, b"Content-Length: 5")),
    _refused("upgrade, a bad chunk", chunked(b"zz\r\n" + SMUGGLED, *UPGRADE), begun=1),
    _closed("upgrade of HTTP/1.0", request(*UPGRADE, b"Content-Length: 3", version=b"HTTP/1.0") + b"abc", 200),
    _refused("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    _refused("CONNECT", request(method=b"CONNECT", target=b"x:80") + SMUGGLED),
    _refused("CONNECT to a path, a body", body(SMUGGLED, method=b"CONNECT")),
]

LENGTHS = [
    _read("a request as the body", body(SMUGGLED), 405),
    _read("a request as the body of a GET", body(SMUGGLED, method=b"GET"), 200),
    _read("a request as the body of a HEAD", body(SMUGGLED, method=b"HEAD"), 405),
    _read("a request as the body of a DELETE", body(SMUGGLED, method=b"DELETE"), 405),
    _read("a request as the body of an unknown path", body(SMUGGLED).replace(PATH, b"/api/x"), 404),
    _read("no length, so no body", request(method=b"POST") + GET, 405, 200),
    _read("a length in which Connection has an interest", body(SMUGGLED, b"Connection: Content-Length"), 405),
    _read("zeros before the length", _cl(b"0" * 5000 + b"3", b"abc"), 405),
    _read("white space around the length", _cl(b" \t3\t ", b"abc"), 405),
    _read("an underscore in the name", request(b"Content_Length: 40", method=b"POST") + GET, 405, 200),
    _refused("two lengths", _cl(b"5\r\nContent-Length: 6", b"abcdef")),
    _refused("two equal lengths", _cl(b"3\r\nContent-Length: 3", b"abc")),
    _refused("a list of lengths", _cl(b"3, 3", b"abc")),
    _refused("a list of different lengths", _cl(b"3, 0", b"abc")),
    _refused("plus", _cl(b"+3", b"abc")),
    _refused("minus", _cl(b"-1", b"")),
    _refused("minus zero", _cl(b"-0", b"")),
    _refused("hexadecimal", _cl(b"0x3", b"abc")),
    _refused("an underscore in the number", _cl(b"1_0", b"0123456789")),
    _refused("a space in the number", _cl(b"1 0", b"0123456789")),
    _refused("a fraction", _cl(b"3.0", b"abc")),
    _refused("an exponent", _cl(b"1e1", b"0123456789")),
    _refused("a superscript", _cl(b"\xb3", b"abc")),
    _refused("no number", _cl(b"", b"")),
    _refused("a vertical tab before the number", _cl(b"\x0b3", b"abc")),
    _refused("a NUL after the number", _cl(b"3\0", b"abc")),
    _refused("a number beyond 64 bits", _cl(b"18446744073709551617", b"x")),
    _refused("a space before the colon", request(b"Content-Length : 40", method=b"POST") + SMUGGLED),
    _refused("a space before the name", request(b"X: y", b" Content-Length: 40", method=b"POST") + SMUGGLED),
    _refused("a folded length", request(b"Content-Length:", b" 3", method=b"POST") + b"abc"),
]

TRANSFER_ENCODINGS = [
    _read("a request in a chunk", chunked(chunk(SMUGGLED)), 405),
    _read("a name in capitals", _te(b"chunked", b"TRANSFER-ENCODING"), 405),
    _read("Chunked in capitals", _te(b"CHUNKED"), 405),
    _read("an underscore in the name of Transfer-Encoding", request(b"Transfer_Encoding: chunked") + GET, 200, 200),
    _refused("CL.TE", request(b"Content-Length: 44", b"Transfer-Encoding: chunked") + b"0\r\n\r\n" + SMUGGLED),
    _refused("TE.CL", request(b"Transfer-Encoding: chunked", b"Content-Length: 3") + chunk(SMUGGLED)),
    _refused("Transfer-Encoding twice", _te(b"chunked\r\nTransfer-Encoding: chunked")),
    _refused("chunked, then identity", _te(b"chunked\r\nTransfer-Encoding: identity")),
    _refused("identity", _te(b"identity"), begun=0),
    _refused("chunked, identity", _te(b"chunked, identity")),
    _refused("identity, chunked", _te(b"identity, chunked")),
    _refused("gzip, chunked", _te(b"gzip, chunked")),
    _refused("chunked, chunked", _te(b"chunked, chunked")),
    _refused("xchunked", _te(b"xchunked")),
    _refused("chunkedx", _te(b"chunkedx")),
    _refused("chunked with a parameter", _te(b"chunked;q=1")),
    _refused("chunked in quotes", _te(b'"chunked"')),
    _refused("no encoding", _te(b"")),
    _refused("a comma after chunked", _te(b"chunked,")),
    _refused("a vertical tab before chunked", _te(b"\x0bchunked")),
    _refused("a NUL after chunked", _te(b"chunked\0")),
    _refused("a folded encoding", request(b"Transfer-Encoding:", b" chunked", method=b"POST") + b"0\r\n\r\n"),
    _refused("a space before the colon of it", _te(b"chunked", b"Transfer-Encoding ")),
    _refused("a tab before the colon of it", _te(b"chunked", b"Transfer-Encoding\t")),
    _refused("chunked after another header's CR", request(b"X: y\rTransfer-Encoding: chunked") + b"0\r\n\r\n"),
    _refused("HTTP/1.0 chunked", _te(b"chunked").replace(b"HTTP/1.1", b"HTTP/1.0")),
]

CHUNKS = [
    _read("a chunk with an extension", chunked(b"3;a=b\r\nabc\r\n0\r\n\r\n"), 405),
    _read("a chunk with a quoted extension", chunked(b'3;a="b c"\r\nabc\r\n0\r\n\r\n'), 405),
    _read("zeros before the size", chunked(b"0" * 40 + b"3\r\nabc\r\n0\r\n\r\n"), 405),
    _read("a size in capitals", chunked(b"A\r\n0123456789\r\n0\r\n\r\n"), 405),
    _read("many zeros at the end", chunked(b"3\r\nabc\r\n0000\r\n\r\n"), 405),
    _read("a trailer", chunked(b"3\r\nabc\r\n0\r\nX: y\r\n\r\n"), 405),
    _read("a trailer that looks like a host", chunked(b"0\r\nHost: y\r\n\r\n"), 405),
    _refused("an extension with a line feed", chunked(b"3;\nabc\r\n0\r\n\r\n"), begun=1),
    _refused("an extension with CRLF in quotes", chunked(b'3;a="b\r\nc"\r\nabc\r\n0\r\n\r\n'), begun=1)._replace(
        behind_proxy=False
    ),
    _refused("a size with 0x", chunked(b"0x3\r\nabc\r\n0\r\n\r\n"), begun=1),
    _refused("a size with plus", chunked(b"+3\r\nabc\r\n0\r\n\r\n"), begun=1),
    _refused("a size with minus", chunked(b"-3\r\nabc\r\n0\r\n\r\n"), begun=1),
    _refused("a size with an underscore", chunked(b"0_3\r\nabc\r\n0\r\n\r\n"), begun=1),
    _refused("a size beyond 64 bits", chunked(b"10000000000000003\r\nabc\r\n0\r\n\r\n"), begun=1),
    _refused("a space before the size", chunked(b" 3\r\nabc\r\n0\r\n\r\n"), begun=1),
    _refused("a space after the size", chunked(b"3 \r\nabc\r\n0\r\n\r\n"), begun=1),
    _refused("no size", chunked(b"\r\nabc\r\n0\r\n\r\n"), begun=1),
    _refused("a size that is no number", chunked(b"abc;\r\n"[2:] + b"g\r\n"), begun=1),
    _refused("a line feed after the size", chunked(b"3\nabc\r\n0\r\n\r\n"), begun=1),
    _refused("a CR after the size", chunked(b"3\rabc\r\n0\r\n\r\n"), begun=1),
    _refused("a line feed after the chunk", chunked(b"3\r\nabc\n0\r\n\r\n"), begun=1),
    _refused("a chunk longer than its size", chunked(b"3\r\nabcd\r\n0\r\n\r\n"), begun=1),
    _refused("a chunk shorter than its size", chunked(b"5\r\nabc\r\n0\r\n\r\n"), begun=1),
    _refused("a length as a trailer", chunked(b"0\r\nContent-Length: 40\r\n\r\n"), begun=1),
    _refused("an encoding as a trailer", chunked(b"0\r\nTransfer-Encoding: chunked\r\n\r\n"), begun=1),
]

LINES = [
    _read("empty lines before a request", b"\r\n\r\n" + GET, 200),
    _read("two requests", GET + GET, 200, 200),
    _read("an unknown method", request(method=b"QUERY"), 405),
    _read("HEAD", request(method=b"HEAD"), 405),
    _read("white space after values", request(b"X: y \t ").replace(b"your_key\r\n", b"your_key \t\r\n"), 200),
    _read("a percent-encoded CRLF in the target", request(target=PATH + b"?a=%0d%0aContent-Length:%2040"), 200),
    _refused("line feeds only", GET.replace(b"\r\n", b"\n")),
    _refused("a line feed after a header", GET.replace(b"x\r\n", b"x\n", 1)),
    _refused("a line feed at the end", GET[:-2] + b"\n"),
    _refused("CRs only", GET.replace(b"\r\n", b"\r")),
    _refused("a CR in a value", request(b"X: a\rb")),
    _refused("a NUL in a value", request(b"X: a\0b")),
    _refused("a control character in a value", request(b"X: a\x01b")),
    _refused("a DEL in a value", request(b"X: a\x7fb")),
    _refused("a NUL in a name", request(b"X\0: a")),
    _refused("a space in a name", request(b"X y: a")),
    _refused("no name", request(b": a")),
    _refused("no colon", request(b"X")),
    _refused("a folded header", request(b"X: a", b" b")),
    _refused("a fold after the first line", GET.replace(b"\r\nHost", b"\r\n Host", 1)),
    _refused("a tab in the first line", GET.replace(b"GET ", b"GET\t", 1)),
    _refused("a space after the version", GET.replace(b"1.1\r\n", b"1.1 \r\n", 1)),
    _refused("a method in small letters", request(method=b"get")),
    _refused("a NUL in the target", request(target=b"/api/\0")),
    _refused("a control character in the target", request(target=b"/api/\x01")),
    _refused("a space in the target", request(target=b"/api/a b")),
    _refused("a byte beyond ASCII in the target", request(target=b"/api/\xe9")),
    _refused("a fragment in the target", request(target=PATH + b"#x")),
    _refused("nonsense", b"nonsense\r\n\r\n"),
    _refused("the beginning of TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
]

VERSIONS = [
    _refused("HTTP/0.9", b"GET " + PATH + b"\r\n\r\n"),
    _refused("HTTP/0.9 by name", request(version=b"HTTP/0.9")),
    _refused("HTTP/1.2", request(version=b"HTTP/1.2")),
    _refused("HTTP/2.0", request(version=b"HTTP/2.0")),
    _refused("HTTP/1.10", request(version=b"HTTP/1.10")),
    _refused("HTTP/01.1", request(version=b"HTTP/01.1")),
    _refused("http/1.1", request(version=b"http/1.1")),
    _closed("HTTP/1.0", request(version=b"HTTP/1.0"), 200),
    _closed("RTSP/1.0, which the parser takes for HTTP/1.0", request(version=b"RTSP/1.0"), 200),
    _closed("HTTP/1.0 without a host", request(version=b"HTTP/1.0").replace(b"Host: x\r\n", b""), 200),
    _closed("HTTP/1.0 that wants to go on", request(b"Connection: keep-alive", version=b"HTTP/1.0"), 200),
    _closed("a request after Connection: close", request(b"Connection: close") + GET, 200),
    _closed("a body, Connection: close", body(SMUGGLED, b"Connection: close"), 405),
]

HOSTS = [
    _read("an absolute form", request(target=b"http://x" + PATH), 200),
    _read("an absolute form with a scheme in capitals", request(target=b"HTTP://x" + PATH), 200),
    _read("an absolute form of another host", request(target=b"http://other:80" + PATH), 200),
    _read("an absolute form without a path", request(target=b"http://x", method=b"POST"), 405),
    _read("an absolute form without a path, a query", request(target=b"http://x?y", method=b"POST"), 405),
    _read("a host with a port", GET.replace(b"Host: x", b"Host: [::1]:80"), 200),
    _read("an empty host", GET.replace(b"Host: x", b"Host: "), 200),
    _refused("no host", GET.replace(b"Host: x\r\n", b"")),
    _refused("no host, absolute form", request(target=b"http://x" + PATH).replace(b"Host: x\r\n", b"")),
    _refused("two hosts", request(b"Host: x")),
    _refused("two different hosts", request(b"Host: y")),
    _refused("two hosts in HTTP/1.0", request(b"Host: y", version=b"HTTP/1.0")),
    _refused("two hosts in one", GET.replace(b"Host: x", b"Host: x, y")),
    _refused("a space in the host", GET.replace(b"Host: x", b"Host: x y")),
    _refused("a path in the host", GET.replace(b"Host: x", b"Host: x/y")),
    _refused("a user in the host", GET.replace(b"Host: x", b"Host: u@x")),
    _refused("a port that is no number", GET.replace(b"Host: x", b"Host: x:y")),
    _refused("a bracket that does not close", GET.replace(b"Host: x", b"Host: [::1")),
    _refused("a space before the colon of the host", GET.replace(b"Host: x", b"Host : x")),
    _refused("an absolute form with a user", request(target=b"http://u@x" + PATH)),
    _refused("an absolute form without a host", request(target=b"http:///" + PATH)),
    _refused("an absolute form of another scheme", request(target=b"ftp://x" + PATH)),
    _refused("an authority form", request(target=b"x:80")),
    _refused("an asterisk form", request(target=b"*", method=b"OPTIONS")),
    _refused("no form", request(target=b"api")),
]

EXPECTATIONS = [
    _closed("Expect, a body that is not waited for", body(SMUGGLED, b"Expect: 100-continue"), 405),
    _closed("Expect, no body", request(b"Expect: 100-continue"), 200),
    _read("an expectation that nobody knows", body(SMUGGLED, b"Expect: 200-ok"), 405),
    Message("a body that ends early", _cl(b"9000", SMUGGLED), [405], 1, behind_proxy=False),
]

CORPUS = [
    *UPGRADES,
    *LENGTHS,
    *TRANSFER_ENCODINGS,
    *CHUNKS,
    *LINES,
    *VERSIONS,
    *HOSTS,
    *EXPECTATIONS,
]
