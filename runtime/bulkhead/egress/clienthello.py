"""What a TLS client says in the clear: each ClientHello of a connection must name the host that was asked for. PURE.

``Hellos(name).feed(data)`` gives the bytes that may be forwarded; http1.Requests has the same shape.
"""

from __future__ import annotations


class Hellos:
    """Checks the client's bytes of one connection.

    opaque: True once nothing more can be checked; whatever comes then may be forwarded without feed().
    waiting: always False; http1.Requests says what it is for.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.opaque = False
        self.waiting = False

    def feed(self, data: bytes) -> bytes:
        """The bytes that may be forwarded now, those that were held back before included; b"" while there are none.

        Raises DeniedError, and then nothing of data may be forwarded. Its reason: "sni" (none, or another name),
        "ech" (the true name is hidden) or "plaintext" (this is no TLS).
        """
        raise NotImplementedError
