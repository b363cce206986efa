"""What a host passes on to its builds, read from its own clients' configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bulkhead.supply import apt, host

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

Answers = dict[str, list[str]]


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answers], None]:
    """Answers of the host's clients, by a word of their command line."""

    def answer(answers: Answers) -> None:
        def lines_of(*command: str) -> Sequence[str]:
            return next((lines for word, lines in answers.items() if word in command), [])

        monkeypatch.setattr(host, "lines_of", lines_of)
        monkeypatch.setattr(apt, "lines_of", lines_of)

    return answer


def test_pip_gets_indexes_but_no_folder_of_the_host(clients: Callable[[Answers], None]) -> None:
    lines = [
        ":env:.find-links='/opt/wheels'",
        "global.cert='/etc/ssl/certs/x.crt'",
        "global.extra-index-url='file:///opt/simple https://two.invalid/simple'",
        "global.index-url='https://one.invalid/simple'",
    ]
    clients({"pip": lines})
    assert host.pip().env == {
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_INDEX_URL": "https://one.invalid/simple",
        "PIP_EXTRA_INDEX_URL": "https://two.invalid/simple",
    }


def test_the_proxies_of_pip_are_known(clients: Callable[[Answers], None]) -> None:
    clients({"pip": ["global.proxy='http://proxy.invalid:3128'"]})
    assert host.pip().proxies == ("http://proxy.invalid:3128",)
    assert host.pip().env["PIP_PROXY"] == "http://proxy.invalid:3128"


def test_a_pip_without_configuration_keeps_its_own_index(clients: Callable[[Answers], None]) -> None:
    clients({"pip": ["global.extra-index-url='file:///opt/simple'"]})
    assert host.pip().env.keys() == {"PIP_DISABLE_PIP_VERSION_CHECK"}


def test_npm_gets_the_registry(clients: Callable[[Answers], None]) -> None:
    clients({"npm": ["https://npm.invalid/"]})
    assert host.npm().env["npm_config_registry"] == "https://npm.invalid/"
    clients({"npm": ["undefined"]})
    assert "npm_config_registry" not in host.npm().env


def test_certificates_and_proxies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_bytes(b"certificates")
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.invalid:3128")
    passed = host.network()
    assert passed.files == {"ca.crt": b"certificates"}
    assert passed.proxies == ("http://proxy.invalid:3128",)
    assert passed.env["https_proxy"] == passed.env["HTTPS_PROXY"] == "http://proxy.invalid:3128"
    assert {passed.env[name] for name in ("PIP_CERT", "NODE_EXTRA_CA_CERTS", "npm_config_cafile")} == {"/mnt/ca.crt"}


TARGETS = [
    "http://one.invalid/debian/ bookworm main Debian",
    "http://one.invalid/debian/ bookworm contrib Debian",
    "http://one.invalid/debian/ bookworm-updates main Debian",
    "http://one.invalid/debian/ bookworm-backports main Debian",
    "http://two.invalid/debian-security/ bookworm-security main",
    "https://vendor.invalid/node nodistro main vendor",
    "https://vendor.invalid/apt bookworm main Vendor",
]


def test_apt_gets_the_mirrors_of_the_distribution(
    clients: Callable[[Answers], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    dump = [
        'Acquire::http::Proxy "http://proxy.invalid:8000";',
        'Acquire::Check-Date "false";',
        'APT::Architecture "x";',
    ]
    clients({"indextargets": TARGETS, "dump": dump})
    monkeypatch.setattr(apt, "host_release", lambda: ("debian", "bookworm"))
    assert apt.sources() == [
        "deb http://one.invalid/debian/ bookworm main",
        "deb http://one.invalid/debian/ bookworm-updates main",
        "deb http://two.invalid/debian-security/ bookworm-security main",
    ]
    passed = apt.passed("bookworm")
    assert passed.files["sources.list"].decode().splitlines() == apt.sources()
    assert set(dump[:2]) <= set(passed.files["apt.conf"].decode().splitlines())
    assert passed.proxies == ("http://proxy.invalid:8000",)
    assert "APT::Architecture" not in passed.files["apt.conf"].decode()


def test_an_image_of_another_release_uses_its_own_mirrors(
    clients: Callable[[Answers], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    clients({"indextargets": TARGETS})
    monkeypatch.setattr(apt, "host_release", lambda: ("debian", "trixie"))
    passed = apt.passed("bookworm")
    assert passed.files.keys() == {"apt.conf"}
    assert "sourcelist" not in passed.files["apt.conf"].decode()
