"""Package managers against a registry of one package each, with integrity checks of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.clients.servers.packages import NAME

if TYPE_CHECKING:
    from tests.clients.box import Box
    from tests.clients.servers.web import Web

_SAID = "import bulkhead_hello; print(bulkhead_hello.said)"


def test_pip(box: Box, web: Web) -> None:
    box.run("python3", "-m", "pip", "install", "-q", f"--index-url={web.url('/simple/')}", "--target=pip", NAME)
    assert box.run("python3", "-c", _SAID, env={"PYTHONPATH": "pip"}) == "hello from pip\n"


def test_npm(box: Box, web: Web) -> None:
    box.run("npm", "install", f"--registry={web.url('/npm/')}", "--prefix=npm", NAME)
    said = box.run("node", "-p", f"require('{NAME}')", env={"NODE_PATH": "npm/node_modules"})
    assert said == "hello from npm\n"
