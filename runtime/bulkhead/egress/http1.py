"""HTTP/1 requests: each one of a connection must be for the host that was asked for. PURE."""

from __future__ import annotations


class Requests:
    """Checks the client's bytes of one connection.

    opaque: True once the connection speaks WebSocket; whatever comes then may be forwarded without feed().
    waiting: True while the server has not answered an Upgrade: its bytes must be shown to answered().
    """

    def __init__(self, name: str, port: int = 80) -> None:
        self._name = name
        self._port = port
        self.opaque = False
        self.waiting = False

    def feed(self, data: bytes) -> bytes:
        """The bytes that may be forwarded now, those that were held back before included; b"" while there are none.

        Raises DeniedError with reason "host", and then nothing of data may be forwarded.
        """
        raise NotImplementedError

    def answered(self, data: bytes) -> bytes:
        """Takes the server's bytes, which are forwarded as they are; returns the client's that may go now, as feed()."""
        raise NotImplementedError
