"""A certificate authority for one sandbox: with it the proxy ends TLS for the hosts of the sandbox's secrets.

Rules: keys are made here, in memory, and never leave the process; the authority's own certificate says that it vouches
for these hosts and nothing else, so a program that trusts it trusts it for no other host; what it vouches for ends
after 24 hours at most, and it ends with its session, of which a host may keep one for months.
"""

from __future__ import annotations

import os
import ssl
import time
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import TYPE_CHECKING

from bulkhead.egress.watch import covers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate, CertificateBuilder, ExtensionType

_EARLIER = timedelta(minutes=5)  # clocks differ
_OWN = timedelta(days=365)
_LEAF = timedelta(hours=23, minutes=55)
_ANEW = 12 * 3600.0  # seconds
# Below a wildcard a program may ask for any name.
_NAMES = 64


class Authority:
    """hosts: names and ``*.`` patterns. pem: the certificate, which is public. Raises ValueError without a host."""

    def __init__(self, hosts: Sequence[str]) -> None:
        from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415 - 0.1 s, for secrets alone

        if not hosts:
            raise ValueError("an authority needs a host to vouch for")
        self._hosts = tuple(hosts)
        self._key = _new_key()
        self._own = self._signed("Bulkhead sandbox", self._key, _OWN, _own_extensions(self._hosts))
        self._contexts: dict[str, tuple[float, ssl.SSLContext]] = {}
        self.pem: bytes = self._own.public_bytes(Encoding.PEM)

    def context_for(self, name: str) -> ssl.SSLContext:
        """A server's, for exactly name: TLS 1.2 or later, HTTP/1.1. Raises ValueError for a name of another host."""
        if not covers(self._hosts, name):
            raise ValueError("the authority does not vouch for this name")
        made, context = self._contexts.get(name, (0.0, None))
        if context is None or time.monotonic() > made + _ANEW:
            context = self._new_context(name)
            self._contexts.pop(name, None)
            self._contexts[name] = time.monotonic(), context
            if len(self._contexts) > _NAMES:
                del self._contexts[next(iter(self._contexts))]
        return context

    def _new_context(self, name: str) -> ssl.SSLContext:
        from cryptography.hazmat.primitives import serialization as form  # noqa: PLC0415 - see above

        key = _new_key()
        leaf = self._signed("Bulkhead", key, _LEAF, _leaf_extensions(name))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols(["http/1.1"])
        secret = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
        _load(context, leaf.public_bytes(form.Encoding.PEM), secret)
        return context

    def _signed(
        self, name: str, key: EllipticCurvePrivateKey, lasting: timedelta, extensions: Sequence[ExtensionType]
    ) -> Certificate:
        """Signed with the authority's key. All extensions but the name's are critical: no client may look past them."""
        from cryptography import x509  # noqa: PLC0415 - see above
        from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415 - see above

        builder = _begun(name, key, lasting)
        for extension in extensions:
            critical = not isinstance(extension, x509.SubjectAlternativeName | x509.ExtendedKeyUsage)
            builder = builder.add_extension(extension, critical=critical)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return builder.add_extension(issuer, critical=False).sign(self._key, SHA256())


def _begun(name: str, key: EllipticCurvePrivateKey, lasting: timedelta) -> CertificateBuilder:
    from cryptography import x509  # noqa: PLC0415 - see above

    now = datetime.now(UTC)
    subject, issuer = (x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, n)]) for n in (name, "Bulkhead sandbox"))
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - _EARLIER).not_valid_after(now + lasting)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)


def _new_key() -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - see above

    return ec.generate_private_key(ec.SECP256R1())


def _own_extensions(hosts: Sequence[str]) -> list[ExtensionType]:
    """A name that is permitted permits those below it too: X.509 knows no other way to name a host."""
    from cryptography import x509  # noqa: PLC0415 - see above

    permitted = [x509.DNSName(host.removeprefix("*.")) for host in hosts]
    addresses = [x509.IPAddress(ip_network(every)) for every in ("0.0.0.0/0", "::/0")]
    return [
        x509.BasicConstraints(ca=True, path_length=0),
        _usage("key_cert_sign"),
        x509.NameConstraints(permitted_subtrees=permitted, excluded_subtrees=addresses),
    ]


def _leaf_extensions(name: str) -> list[ExtensionType]:
    from cryptography import x509  # noqa: PLC0415 - see above

    return [
        x509.BasicConstraints(ca=False, path_length=None),
        _usage("digital_signature"),
        x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]),
        x509.SubjectAlternativeName([x509.DNSName(name)]),
    ]


def _usage(only: str) -> ExtensionType:
    from cryptography.x509 import KeyUsage  # noqa: PLC0415 - see above

    uses = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return KeyUsage(**{use: use == only for use in uses})


def _load(context: ssl.SSLContext, chain: bytes, key: bytes) -> None:
    """ssl takes files only. Pipes are files that are on no disk and in no swap, and which nobody else can open."""
    ends = [_piped(chain), _piped(key)]
    try:
        context.load_cert_chain(*(f"/dev/fd/{end}" for end in ends))
    finally:
        for end in ends:
            os.close(end)


def _piped(text: bytes) -> int:
    """The end of a pipe that is to be read: a certificate or a key is less than what a pipe holds."""
    reading, writing = os.pipe()
    with open(writing, "wb") as pipe:  # noqa: PTH123 - a descriptor
        pipe.write(text)
    return reading
