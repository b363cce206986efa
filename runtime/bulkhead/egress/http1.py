"""HTTP/1 requests: each one of a connection must be for the host that was asked for. PURE.

Rules: a request has exactly one Host, and it is the name, with or without the port; an absolute target names the same.
Bodies are followed, so that what stands in one is never taken for a request, and what comes behind one always is. So
whatever two servers could frame differently is refused, in the words of RFC 9112: a line that ends in LF alone, a
folded or padded field, two lengths, a length and a transfer coding, any coding but "chunked", chunk extensions, a body
where none has a meaning. HTTP/2, CONNECT and every Upgrade but WebSocket are refused; WebSocket is the connection's
first request, and is believed when the server has answered 101, not before.

What a name's own server does with a request for it is not judged here.
"""

from __future__ import annotations

import re

from bulkhead.errors import DeniedError

_HEAD = 32 * 2**10
# What a WebSocket client may send before it has the server's answer: it has to wait for it.
_EARLY = 2**16
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_REQUEST = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ([\x21-\x7e\x80-\xff]+) HTTP/1\.([01])")
_ABSOLUTE = re.compile(rb"http://([^/?]*)(?:[/?].*)?", re.IGNORECASE)
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_LENGTH = re.compile(rb"[0-9]{1,15}")
_CHUNK = re.compile(rb"[0-9a-fA-F]{1,12}")
_SWITCHED = re.compile(rb"HTTP/1\.1 101[ \r]")
_SWITCHED_SIZE = len(b"HTTP/1.1 101 ")

_FRAMING = frozenset((b"host", b"content-length", b"transfer-encoding"))
_WATCHED = _FRAMING | {b"connection", b"upgrade", b"http2-settings"}
# RFC 9110 gives a body of these no meaning; servers that do not read one take it for the next request.
_BODILESS = frozenset((b"GET", b"HEAD", b"TRACE"))


class Requests:
    """Checks the client's bytes of one connection.

    opaque: True once the connection speaks WebSocket; whatever comes then may be forwarded without feed().
    waiting: True while the server has not answered an Upgrade: its bytes must be shown to answered().
    """

    def __init__(self, name: str, port: int = 80) -> None:
        self._hosts = (name.encode(), f"{name}:{port}".encode())
        self.opaque = False
        self.waiting = False
        self._held = bytearray()
        # Where in what is held the line begins that is being read.
        self._line = 0
        self._judge = self._request
        # Bytes of a body, or of a chunk, that are still to come.
        self._body = 0
        self._first = True
        self._method = b""
        self._version = b""
        self._fields: dict[bytes, bytes] = {}
        self._status = b""

    def feed(self, data: bytes) -> bytes:
        """The bytes that may be forwarded now, those that were held back before included; b"" while there are none.

        Raises DeniedError with reason "host", and then nothing of data may be forwarded.
        """
        if self._body >= len(data):  # large bodies are not copied
            self._body -= len(data)
            return data
        ready = bytearray()
        at = 0
        while at < len(data):
            end = self._end(data, at)
            if self.opaque or self._body:
                ready += data[at:end]
                self._body = max(0, self._body - (end - at))
            else:
                self._hold(data[at:end])
                ready += self._released()
            at = end
        return bytes(ready)

    def answered(self, data: bytes) -> bytes:
        """Takes the server's bytes, which are forwarded as they are; returns the client's that may go now.

        Raises as feed() does: what the client sent behind a refused Upgrade is a request again.
        """
        self._status += data[: _SWITCHED_SIZE - len(self._status)]
        if not self.waiting or len(self._status) < _SWITCHED_SIZE:
            return b""
        self.waiting = False
        self.opaque = bool(_SWITCHED.match(self._status))
        early = bytes(self._held)
        self._held.clear()
        return self.feed(early)

    def _end(self, data: bytes, at: int) -> int:
        """Where the piece of data ends that begins at an offset and is all of one kind."""
        if self.opaque or self.waiting:
            return len(data)
        if self._body:
            return min(len(data), at + self._body)
        return data.find(b"\n", at) + 1 or len(data)

    def _hold(self, piece: bytes) -> None:
        self._held += piece
        if self._judge == self._request and not (self.waiting or _TOKEN.match(self._held[:1])):
            raise _refused("this is no request of HTTP/1")
        if len(self._held) > (_EARLY if self.waiting else _HEAD):
            raise _refused("it is too long")
        if self.waiting or not piece.endswith(b"\n"):
            return
        line = bytes(self._held[self._line : -2])
        if not self._held.endswith(b"\r\n") or _CONTROL.search(line):
            raise _refused("it has a control character, or a line that does not end in CR LF")
        self._line = len(self._held)
        self._judge(line)

    def _released(self) -> bytes:
        """What is held, if all of it was judged: no head is half forwarded."""
        if self.waiting and self._line == 0:
            return b""
        if self._line != len(self._held) or self._judge == self._field:
            return b""
        self._line = 0
        ready = bytes(self._held)
        self._held.clear()
        return ready

    def _request(self, line: bytes) -> None:
        match = _REQUEST.fullmatch(line)
        if not match:
            raise _refused("this is no request of HTTP/1")
        self._method, target, self._version = match.groups()
        if self._method.upper() == b"CONNECT":
            raise _refused("it asks for a tunnel")
        self._fields = {}
        self._judge = self._field
        absolute = _ABSOLUTE.fullmatch(target)
        if absolute:
            self._host(absolute[1])
        elif not target.startswith(b"/") and (self._method, target) != (b"OPTIONS", b"*"):
            raise _refused("its target is neither a path nor a URL of http")

    def _field(self, line: bytes) -> None:
        if not line:
            self._headed()
            return
        name, value = _named(line)
        if name in self._fields:
            raise _refused(f"two fields {name.decode()}")
        if name in _WATCHED:
            self._fields[name] = value
        if name == b"host":
            self._host(value)

    def _host(self, value: bytes) -> None:
        if value.lower() not in self._hosts:
            raise _refused(f"it is for {value[:253].decode('latin-1')!a}")

    def _headed(self) -> None:
        """The head is whole: what comes next?"""
        if b"host" not in self._fields:
            raise _refused("it has no Host")
        listed = {token.strip().lower() for token in self._fields.get(b"connection", b"").split(b",")}
        if listed & _FRAMING:
            raise _refused("its Connection lists what every server must see")
        self._judge = self._request
        if b"transfer-encoding" in self._fields:
            self._chunked()
        else:
            self._counted(self._fields.get(b"content-length", b"0"))
        if self._fields.keys() & {b"upgrade", b"http2-settings"}:
            self._upgrade()
        self._first = False

    def _counted(self, length: bytes) -> None:
        if not _LENGTH.fullmatch(length):
            raise _refused("its Content-Length is no number")
        self._body = int(length)
        if self._body and self._method.upper() in _BODILESS:
            raise _refused("its method has no body")

    def _chunked(self) -> None:
        alone = b"content-length" not in self._fields and self._version == b"1"
        if not alone or self._fields[b"transfer-encoding"].lower() != b"chunked":
            raise _refused("its body can be framed in two ways")
        if self._method.upper() in _BODILESS:
            raise _refused("its method has no body")
        self._judge = self._size

    def _upgrade(self) -> None:
        websocket = self._fields.get(b"upgrade", b"").lower() == b"websocket" and b"http2-settings" not in self._fields
        if not websocket or (self._method, self._version) != (b"GET", b"1"):
            raise _refused("it asks for another protocol than WebSocket")
        if not self._first:
            raise _refused("a WebSocket begins with a connection's first request")
        self.waiting = True

    def _size(self, line: bytes) -> None:
        if not _CHUNK.fullmatch(line):
            raise _refused("a chunk's size is no number, or has an extension")
        self._body = int(line, 16)
        self._judge = self._gap if self._body else self._trailer

    def _gap(self, line: bytes) -> None:
        if line:
            raise _refused("a chunk is longer than its size")
        self._judge = self._size

    def _trailer(self, line: bytes) -> None:
        if not line:
            self._judge = self._request
        elif _named(line)[0] in _WATCHED:
            raise _refused("a trailer says what only a head may say")


def _named(line: bytes) -> tuple[bytes, bytes]:
    """A field's name in lower case, and its value. A folded line has no name: it begins with a space."""
    name, colon, value = line.partition(b":")
    if not colon or not _TOKEN.fullmatch(name):
        raise _refused("a field has no name, or a space before its colon")
    name = name.lower()
    # Content_Length is Content-Length to a server that makes variables of both.
    if b"_" in name and name.replace(b"_", b"-") in _WATCHED:
        raise _refused(f"a field {name.decode()} can be taken for another")
    return name, value.strip(b" \t")


def _refused(why: str) -> DeniedError:
    return DeniedError("an HTTP request was refused", why=why, reason="host")
