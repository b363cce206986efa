"""Clients that send a placeholder as their key, unchanged: the host gets the key, whatever they are made with."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from tests.clients.box import SHARED, Secret
from tests.clients.servers.packages import NAME

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.clients.box import Box, Boxes
    from tests.clients.servers.web import Web

REAL, PLACEHOLDER = b"correct-horse-battery", b"placehr-lders-zzzzzzz"


@pytest.fixture(scope="module")
def box(boxes: Boxes, web: Web) -> Iterator[Box]:
    secret = Secret("TOKEN", PLACEHOLDER, REAL, (web.place.name,))
    with boxes.box(web.place, secret=secret, ca=web.authority.cert_pem.bytes()) as box:
        yield box


def came(web: Web) -> str:
    """The key of the last request that brought one."""
    return next(request.key for request in reversed(web.arrived) if request.key)


@pytest.fixture(autouse=True)
def none_yet(web: Web) -> None:
    web.arrived.clear()


def test_curl(box: Box, web: Web) -> None:
    said = box.run("sh", "-c", 'curl -sS -H "Authorization: Bearer $TOKEN" "$1"', "-", web.url("/hello/curl"))
    assert said == "hello curl"
    assert came(web) == f"Bearer {REAL.decode()}"


def test_node(box: Box, web: Web) -> None:
    said = box.node(
        """
        const headers = {Authorization: `Bearer ${process.env.TOKEN}`};
        const answer = await fetch(process.argv[1], {headers});
        console.log(await answer.text());
        """,
        web.url("/hello/node"),
    )
    assert said == "hello node\n"
    assert came(web) == f"Bearer {REAL.decode()}"


@pytest.mark.parametrize("library", ["httpx", "urllib"])
def test_python(box: Box, web: Web, library: str) -> None:
    said = box.python(
        """
        import os, sys, urllib.request
        headers = {"Authorization": f"Bearer {os.environ['TOKEN']}"}
        if sys.argv[1] == "httpx":
            import httpx
            print(httpx.get(sys.argv[2], headers=headers).text)
        else:
            asked = urllib.request.Request(sys.argv[2], headers=headers)
            print(urllib.request.urlopen(asked).read().decode())
        """,
        library,
        web.url(f"/hello/{library}"),
    )
    assert said == f"hello {library}\n"
    assert came(web) == f"Bearer {REAL.decode()}"


def test_git(box: Box, web: Web, commit: str) -> None:
    script = 'rm -rf /tmp/headed; git -c "http.extraHeader=X-Key: $TOKEN" clone -q "$1" /tmp/headed; cd /tmp/headed; '
    assert box.run("sh", "-ec", script + "git rev-parse HEAD", "-", web.url("/git/project.git")).strip() == commit
    assert came(web) == REAL.decode()


def test_pip_with_a_password(box: Box, web: Web) -> None:
    index = web.url("/simple/").replace("https://", "https://me:$TOKEN@")
    script = f'pip install -q --disable-pip-version-check --index-url "{index}" --target /tmp/pip {NAME}'
    box.run("sh", "-ec", script)
    assert came(web) == f"Basic {base64.b64encode(b'me:' + REAL).decode()}"


def test_go(box: Box, web: Web) -> None:
    script = f'{SHARED}/python/bin/rclone copyurl --header "X-Key: $TOKEN" --stdout "$1"'
    assert box.run("sh", "-ec", script, "-", web.url("/hello/go")) == "hello go"
    assert came(web) == REAL.decode()


def test_openssl_accepts_the_certificate(box: Box, web: Web) -> None:
    name, port = web.place.name, web.place.ports[-1]
    script = 'openssl s_client -connect "$1:$2" -servername "$1" -verify_return_error -verify_hostname "$1" </dev/null'
    assert "Verification: OK" in box.run("sh", "-c", f"{script} 2>&1", "-", name, str(port))
