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


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("http://localhost:3128", "http://127.0.0.1:3128"),
        ("localhost:3128", "127.0.0.1:3128"),
        ("https://user:word@localhost/simple", "https://user:word@127.0.0.1/simple"),
        ("https://one.invalid http://localhost", "https://one.invalid http://127.0.0.1"),
        ("http://localhost.example.org/x", "http://localhost.example.org/x"),
        ("http://one.invalid/localhost/debian", "http://one.invalid/localhost/debian"),
        ('Acquire::http::Proxy "http://localhost:3142";', 'Acquire::http::Proxy "http://127.0.0.1:3142";'),
        ("deb http://localhost/debian bookworm main", "deb http://127.0.0.1/debian bookworm main"),
    ],
)
def test_localhost_is_an_address_inside(text: str, inside: str) -> None:
    assert host.seen_inside(text) == inside


def test_what_is_called_localhost_is_passed_on_as_an_address(
    clients: Callable[[Answers], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    clients(
        {
            "pip": ["global.index-url='http://localhost:3141/simple'"],
            "npm": ["http://localhost:4873/"],
            "indextargets": ["http://localhost/debian/ bookworm main Debian"],
            "dump": ['Acquire::http::Proxy "http://localhost:3142";'],
        }
    )
    monkeypatch.setattr(apt, "host_release", lambda: ("debian", "bookworm"))
    monkeypatch.setenv("http_proxy", "http://localhost:3128")
    monkeypatch.setenv("no_proxy", "localhost")
    passed = [host.network(), host.pip(), host.npm(), apt.passed("bookworm")]
    files = [content.decode() for one in passed for name, content in one.files.items() if name != "ca.crt"]
    values = [value for one in passed for name, value in one.env.items() if name.lower() != "no_proxy"]
    assert not [text for text in [*files, *values] if "localhost" in text]
    assert passed[0].env["no_proxy"] == "localhost"
    assert [proxy for one in passed for proxy in one.proxies] == ["http://127.0.0.1:3128", "http://127.0.0.1:3142"]


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
