"""What a TLS client says in the clear: each ClientHello of a connection must name the host that was asked for. PURE.

``Hellos(name).feed(data)`` gives the bytes that may be forwarded; http1.Requests has the same shape.

Rules, after RFC 8446 and RFC 6066: a connection begins with a ClientHello of at most 16 KiB, in at most 64 records, and
nothing else stands in these; it has exactly one server name, of type host_name; no extension stands twice. Encrypted
Client Hello is refused: the name that one reads is not the one that is meant, and a client that only pretends (GREASE)
looks the same. A server can ask for a second hello in the clear (HelloRetryRequest), and few compare its name with the
first one's: so records are followed until one comes that can be no hello.

What is encrypted, a Host that is not the SNI among it, cannot be seen here.
"""

from __future__ import annotations

from dataclasses import dataclass

from bulkhead.errors import DeniedError

_CHANGE_CIPHER, _ALERT, _HANDSHAKE, _DATA = 20, 21, 22, 23
_CLIENT_HELLO = 1
_SERVER_NAME, _EARLY_DATA = 0, 42
# ECH as published, and the draft before it that encrypted only the name.
_ENCRYPTED = (0xFE0D, 0xFFCE)
_RECORD_HEAD = 5
_MESSAGE_HEAD = 4
_RECORD = 2**14
_HELLO = 2**14
_RECORDS = 64


@dataclass(frozen=True, slots=True)
class Hello:
    """What of a ClientHello matters. sni: as it was sent; early: whether data of TLS 1.3 may follow it at once."""

    sni: bytes
    early: bool


class Hellos:
    """Checks the client's bytes of one connection.

    opaque: True once nothing more can be checked; whatever comes then may be forwarded without feed().
    waiting: always False; http1.Requests says what it is for.
    """

    def __init__(self, name: str) -> None:
        self._name = name.encode()
        self.opaque = False
        self.waiting = False
        self._held = bytearray()
        # Of what is held: how much was read, and how much may be forwarded.
        self._read = 0
        self._judged = 0
        # Bytes of a record that is no hello and is let through, still to come.
        self._passing = 0
        self._message = bytearray()
        self._records = 0
        self._hello: Hello | None = None

    def feed(self, data: bytes) -> bytes:
        """The bytes that may be forwarded now, those that were held back before included; b"" while there are none.

        Raises DeniedError, and then nothing of data may be forwarded. Its reason: "sni" (none, or another name),
        "ech" (the true name is hidden) or "plaintext" (this is no TLS).
        """
        if self.opaque:
            return data
        self._held += data
        while self._step():
            pass
        end = self._judged
        ready = bytes(self._held[:end])
        del self._held[:end]
        self._read -= end
        self._judged = 0
        return ready

    def _step(self) -> bool:
        """Reads one record, or what there is of one that is let through. False: more bytes are needed."""
        if self._passing:
            passed = min(self._passing, len(self._held) - self._read)
            self._passing -= passed
            self._let_through(passed)
            return passed > 0
        head = self._held[self._read : self._read + _RECORD_HEAD]
        if self._hello is None and not self._message:
            _must_be_tls(head)
        if len(head) < _RECORD_HEAD:
            return False
        kind, size = head[0], int.from_bytes(head[3:], "big")
        if kind == _HANDSHAKE:
            return self._handshake(size)
        return self._other(kind, size)

    def _let_through(self, size: int) -> None:
        self._read += size
        self._judged = self._read

    def _end(self) -> bool:
        """No hello in the clear can come any more."""
        self.opaque = True
        self._let_through(len(self._held) - self._read)
        return False

    def _other(self, kind: int, size: int) -> bool:
        """A record that is no handshake message. Data ends what is in the clear, if it is not sent ahead of that."""
        ahead = kind == _DATA and self._hello is not None and self._hello.early
        if self._message:
            raise _refused("another record stands inside a TLS hello")
        if kind not in (_CHANGE_CIPHER, _ALERT) and not ahead:
            return self._end()
        self._passing = size
        self._let_through(_RECORD_HEAD)
        return True

    def _handshake(self, size: int) -> bool:
        begun, end = self._read + _RECORD_HEAD, self._read + _RECORD_HEAD + size
        later = self._hello is not None and not self._message
        if later and size > _RECORD:
            return self._end()  # an encrypted record may be that long
        if not 0 < size <= _RECORD:
            raise _refused("a TLS record of a hello is empty or too long")
        if len(self._held) < end:
            return False
        fragment = self._held[begun:end]
        if later and not _like_a_hello(fragment):
            return self._end()
        self._read = end
        self._gather(fragment)
        return True

    def _gather(self, fragment: bytearray) -> None:
        self._message += fragment
        self._records += 1
        if self._message[0] != _CLIENT_HELLO:
            raise _refused("TLS does not begin with a ClientHello")
        if len(self._message) < _MESSAGE_HEAD and self._records <= _RECORDS:
            return
        size = int.from_bytes(self._message[1:_MESSAGE_HEAD], "big")
        if size > _HELLO or self._records > _RECORDS or len(self._message) > _MESSAGE_HEAD + size:
            raise _refused("a TLS hello is too long, in too many records, or followed by something")
        if len(self._message) == _MESSAGE_HEAD + size:
            self._hello = read(bytes(self._message[_MESSAGE_HEAD:]))
            if self._hello.sni.lower() != self._name:
                raise _refused(f"the TLS hello is for {self._hello.sni[:253].decode('latin-1')!a}")
            self._message.clear()
            self._records = 0
            self._let_through(0)


def read(body: bytes) -> Hello:
    """A ClientHello without the handshake message's head. Raises DeniedError, as Hellos.feed() does."""
    try:
        extensions = _extensions(body)
    except _TooShortError:
        raise _refused("a TLS hello is malformed") from None
    if any(kind in extensions for kind in _ENCRYPTED):
        raise DeniedError("the TLS hello is encrypted, so its true name cannot be seen", reason="ech")
    if _SERVER_NAME not in extensions:
        raise _refused("the TLS hello names no host")
    return Hello(_server_name(extensions[_SERVER_NAME]), _EARLY_DATA in extensions)


class _TooShortError(Exception):
    """A length says more than there is."""


def _vector(data: bytes, at: int, width: int) -> tuple[bytes, int]:
    """The bytes that a length of so many bytes announces, and the offset behind them."""
    begun = at + width
    end = begun + int.from_bytes(data[at:begun], "big")
    if begun > len(data) or end > len(data):
        raise _TooShortError
    return data[begun:end], end


def _extensions(body: bytes) -> dict[int, bytes]:
    version_and_random = 34
    if len(body) < version_and_random or body[0] != 3:
        raise _TooShortError
    session, at = _vector(body, version_and_random, 1)
    ciphers, at = _vector(body, at, 2)
    compressions, at = _vector(body, at, 1)
    if len(session) > 32 or not ciphers or len(ciphers) % 2 or not compressions:
        raise _TooShortError
    block, end = _vector(body, at, 2) if at < len(body) else (b"", at)
    if end != len(body):
        raise _refused("a TLS hello has more than it says")
    extensions: dict[int, bytes] = {}
    at = 0
    while at < len(block):
        kind = int.from_bytes(block[at : at + 2], "big")
        value, at = _vector(block, at + 2, 2)
        if kind in extensions:
            raise _refused("an extension stands twice in a TLS hello")
        extensions[kind] = value
    return extensions


def _server_name(extension: bytes) -> bytes:
    """The only name of a server_name extension: a list of one entry, of type 0."""
    size = len(extension) - _MESSAGE_HEAD - 1
    if size < 1 or extension != (size + 3).to_bytes(2, "big") + b"\0" + size.to_bytes(2, "big") + extension[5:]:
        raise _refused("the TLS hello does not name exactly one host")
    return extension[5:]


def _must_be_tls(head: bytearray) -> None:
    if head and head[0] & 0x80:
        raise _refused("a hello of SSL 2 names no host")
    if (head and head[0] != _HANDSHAKE) or (len(head) > 1 and head[1] != 3):
        raise DeniedError("this is not TLS", reason="plaintext")


def _like_a_hello(fragment: bytearray) -> bool:
    """Whether a later record of a handshake may begin a hello that a server would read.

    After a resumption of TLS 1.2 it is encrypted, at least 16 bytes, and any: so as much is compared as must be so.
    """
    if fragment[0] != _CLIENT_HELLO or len(fragment) < 6:
        return fragment[0] == _CLIENT_HELLO
    return fragment[1] <= 2 and fragment[4] == 3


def _refused(what: str) -> DeniedError:
    return DeniedError(what, reason="sni")
