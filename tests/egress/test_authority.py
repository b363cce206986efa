"""The sandbox's own certificate authority: what it vouches for, for how long, and where its key is."""

from __future__ import annotations

import os
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from bulkhead.egress import authority as module
from bulkhead.egress.authority import Authority
from bulkhead.egress.watch import covers

if TYPE_CHECKING:
    from collections.abc import Sequence

HOSTS = ("api.example.org", "*.example.com")


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority(HOSTS)


def talk(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Both ends of a TLS connection in memory. Raises ssl.SSLError."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(down, up, server_hostname=name),
        server.wrap_bio(up, down, server_side=True),
    )
    for _ in range(3):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return ends


def client_of(pem: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=pem.decode())
    # What Python demands from 3.13 on.
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    return context


def test_who_trusts_the_authority_alone_accepts_what_it_vouches_for(authority: Authority) -> None:
    for name in ("api.example.org", "a.example.com", "a.b.example.com"):
        client, _ = talk(authority.context_for(name), client_of(authority.pem), name)
        found = client.getpeercert()
        assert found is not None
        assert found["subjectAltName"] == (("DNS", name),)
        assert client.version() in ("TLSv1.3", "TLSv1.2")


@pytest.mark.parametrize("name", ["example.com", "other.example.org", "api.example.org.evil.net", "xexample.com"])
def test_it_vouches_for_no_other_name(authority: Authority, name: str) -> None:
    with pytest.raises(ValueError, match="does not vouch"):
        authority.context_for(name)


def test_the_leaf_of_one_name_is_none_for_another(authority: Authority) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        talk(authority.context_for("a.example.com"), client_of(authority.pem), "b.example.com")


@pytest.mark.parametrize("name", ["evil.net", "example.net", "127.0.0.1"])
def test_what_its_key_signs_for_another_host_is_not_believed(authority: Authority, name: str) -> None:
    """The constraint is in the certificate, so whoever had the key could use it for no other host."""
    context = _signed_anyhow(authority, name)
    with pytest.raises(ssl.SSLCertVerificationError, match=r"permitted subtree violation|excluded subtree violation"):
        talk(context, client_of(authority.pem), name)


def _signed_anyhow(authority: Authority, name: str) -> ssl.SSLContext:
    made = Authority.__new__(Authority)
    made.__dict__.update(authority.__dict__, _hosts=(name,), _contexts={})
    if not name[0].isdigit():
        return made.context_for(name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(x509, "DNSName", lambda _: x509.IPAddress(ip_address(name)))
        return made.context_for(name)


def test_tls_1_2_or_later_and_http_1_1(authority: Authority) -> None:
    context = authority.context_for("api.example.org")
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    asked = client_of(authority.pem)
    asked.set_alpn_protocols(["h2", "http/1.1"])
    _, server = talk(context, asked, "api.example.org")
    assert server.selected_alpn_protocol() == "http/1.1"


def test_its_leaves_are_short_lived(authority: Authority) -> None:
    own = x509.load_pem_x509_certificate(authority.pem)
    server, _ = talk(authority.context_for("api.example.org"), client_of(authority.pem), "api.example.org")
    leaf = x509.load_der_x509_certificate(server.getpeercert(binary_form=True) or b"")
    now = datetime.now(UTC)
    assert own.not_valid_before_utc < now < own.not_valid_after_utc <= now + timedelta(days=365)
    assert leaf.not_valid_before_utc < now < leaf.not_valid_after_utc < own.not_valid_after_utc
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc <= timedelta(hours=24)


def test_its_certificate_says_what_it_may(authority: Authority) -> None:
    extensions = x509.load_pem_x509_certificate(authority.pem).extensions
    basic = extensions.get_extension_for_class(x509.BasicConstraints)
    names = extensions.get_extension_for_class(x509.NameConstraints)
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, 0)
    assert (names.critical, usage.critical, usage.value.key_cert_sign) == (True, True, True)
    assert names.value.permitted_subtrees == [x509.DNSName("api.example.org"), x509.DNSName("example.com")]


def test_no_key_leaves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    load = ssl.SSLContext.load_cert_chain

    def watched(self: ssl.SSLContext, *paths: str) -> None:
        opened.extend(str(Path(path).resolve()) for path in paths)
        load(self, *paths)

    before = os.listdir("/proc/self/fd")  # noqa: PTH208 - the very listing opens one
    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", watched)
    made = Authority(HOSTS)
    made.context_for("api.example.org")
    assert b"PRIVATE" not in made.pem
    assert made.pem.count(b"BEGIN") == 1
    assert ["pipe:" in path for path in opened] == [True, True]
    assert len(os.listdir("/proc/self/fd")) == len(before)  # noqa: PTH208 - see above


def test_a_context_is_made_once_a_name_and_few_are_kept(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    first = authority.context_for("api.example.org")
    assert authority.context_for("api.example.org") is first
    monkeypatch.setattr(module, "_NAMES", 3)
    for number in range(6):
        authority.context_for(f"n{number}.example.com")
    assert len(authority._contexts) <= 4
    assert authority.context_for("api.example.org") is not first


def test_a_context_is_made_anew_before_its_leaf_ends(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    first = authority.context_for("api.example.org")
    monkeypatch.setattr(module, "_ANEW", -1.0)
    assert authority.context_for("api.example.org") is not first


def test_two_authorities_do_not_vouch_for_each_other(authority: Authority) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        talk(Authority(HOSTS).context_for("api.example.org"), client_of(authority.pem), "api.example.org")


def test_there_is_none_for_no_host() -> None:
    with pytest.raises(ValueError, match="needs a host"):
        Authority(())


@pytest.mark.parametrize(
    ("hosts", "name", "covered"),
    [
        (["api.example.org"], "api.example.org", True),
        (["api.example.org"], "www.api.example.org", False),
        (["*.example.org"], "api.example.org", True),
        (["*.example.org"], "a.b.example.org", True),
        (["*.example.org"], "example.org", False),
        (["*.example.org"], "evilexample.org", False),
        (["a.example.org", "*.example.com"], "b.example.com", True),
        ([], "example.org", False),
    ],
)
def test_which_names_hosts_cover(hosts: Sequence[str], name: str, covered: bool) -> None:
    assert covers(hosts, name) is covered


def test_the_key_is_of_the_curve_that_all_clients_know(authority: Authority) -> None:
    own = x509.load_pem_x509_certificate(authority.pem)
    key = own.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert (key.curve.name, type(own.signature_hash_algorithm)) == ("secp256r1", SHA256)
