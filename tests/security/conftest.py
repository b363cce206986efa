"""Sandboxes for the whole suite: one to ask, and another beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from anyio.from_thread import start_blocking_portal

from bulkhead.engines.registry import find_endpoint
from tests.security.guest import Engine, Inn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import docker

    from tests.security.guest import Guest


@pytest.fixture(scope="session")
def inn(daemon: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inn]:
    """Opens guests, with an event loop and an engine of its own."""
    state = tmp_path_factory.mktemp("state")
    with start_blocking_portal() as portal:
        engine = portal.call(lambda: _opened(state))
        try:
            yield Inn(portal, engine, daemon, state)
        finally:
            portal.call(engine.close)


async def _opened(state: Path) -> Engine:
    return Engine(find_endpoint(), state=state)


@pytest.fixture(scope="session")
def guest(inn: Inn) -> Iterator[Guest]:
    """A server with nothing but the defaults. Tests leave no trace in it."""
    with inn.guest() as guest:
        yield guest


@pytest.fixture(scope="session")
def neighbour(inn: Inn) -> Iterator[Guest]:
    """The same again, at the same time."""
    with inn.guest() as guest:
        yield guest
