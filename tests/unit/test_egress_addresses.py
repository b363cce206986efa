"""addresses.py: every kind of address that is not of the internet, and that private = true opens only some."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.egress.addresses import parse, vet

# What may be dialled: always, with private = true only, or never.
ALWAYS = ["1.1.1.1", "8.8.8.8", "9.255.255.255", "172.32.0.1", "100.128.0.1", "223.255.255.255", "2606:4700::1111",
          "2a00::1", "64:ff9b::808:808"]  # fmt: skip
PRIVATE = {
    "loopback": ["127.0.0.1", "127.255.255.254", "::1"],
    "private": ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fd00::1", "fc00::1", "64:ff9b::a00:1"],
    "shared": ["100.64.0.1", "100.127.255.255"],
    "benchmark": ["198.18.0.1", "198.19.255.255", "2001:2::1"],
    "documentation": ["198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"],
}
NEVER = {
    "metadata": ["169.254.169.254", "100.100.100.200", "168.63.129.16", "fd00:ec2::254", "fd20:ce::254",
                 "64:ff9b::a9fe:a9fe"],
    "link-local": ["169.254.0.1", "169.254.170.2", "fe80::1", "fe80::1%eth0", "fd00::1%eth0", "febf::1"],
    "unspecified": ["0.0.0.0", "0.1.2.3", "::"],  # noqa: S104
    "multicast": ["224.0.0.1", "239.255.255.255", "ff02::1"],
    "broadcast": ["255.255.255.255"],
    "reserved": ["240.0.0.1", "192.88.99.1", "192.0.0.1", "fec0::1", "100::1", "2001:10::1"],
    "embedded": ["::ffff:127.0.0.1", "::ffff:8.8.8.8", "2002:7f00:1::", "2001::1", "64:ff9b:1::a00:1"],
    "unassigned": ["::127.0.0.1", "::8.8.8.8", "4000::1", "1::1"],
    "no address": ["", "localhost", "010.0.0.1", "0x7f.0.0.1", "2130706433", "127.1", "1.1.1.1/32", "1.1.1.1\0"],
}  # fmt: skip


@pytest.mark.parametrize("address", ALWAYS)
def test_of_the_internet(address: str) -> None:
    assert (vet(address, private=False), vet(address, private=True)) == ("", "")


@pytest.mark.parametrize(("kind", "address"), [(kind, each) for kind, all_ in PRIVATE.items() for each in all_])
def test_private(kind: str, address: str) -> None:
    assert (vet(address, private=False), vet(address, private=True)) == (kind, "")


@pytest.mark.parametrize(("kind", "address"), [(kind, each) for kind, all_ in NEVER.items() for each in all_])
def test_never(kind: str, address: str) -> None:
    assert (vet(address, private=False), vet(address, private=True)) == (kind, kind)


@given(st.ip_addresses())
def test_what_the_standard_library_calls_private_is_never_dialled(address: object) -> None:
    ip = ip_address(str(address))
    if vet(str(ip), private=False) == "" and not str(ip).startswith("64:ff9b::"):
        assert ip.is_global
        assert not ip.is_multicast


@given(st.text(max_size=30) | st.text("0123456789abcdef:.%/x", max_size=30))
def test_any_text_has_an_answer(text: str) -> None:
    kind = vet(text, private=True)
    assert kind or parse(text) is not None


def test_a_mapped_address_is_the_one_that_it_maps() -> None:
    assert str(parse("::ffff:198.18.0.1")) == "198.18.0.1"
    assert str(parse("fd00::1")) == "fd00::1"
    assert parse("fe80::1%lo") is None
