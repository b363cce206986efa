"""One long session for the faults that a sandbox must survive; those that end it open their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import OpenHost
    from tests.faults.client import Host


@pytest.fixture(scope="module")
def hosts() -> list[Host]:
    """The module's one host, or nobody yet."""
    return []


@pytest.fixture
def host(hosts: list[Host], open_shared: OpenHost) -> Iterator[Host]:
    """The module's host; after each test it must still answer rightly, with no answer that nobody asked for."""
    if not hosts:
        # A deadline that no busy machine reaches: what fails at once must be told apart from what ran out of time.
        hosts.append(open_shared(call="15s"))
    shared = hosts[0]
    yield shared
    hosts.clear()  # A test that failed gets no successors: they would fail for its reason.
    assert shared.text("add", a=20, b=22) == "42"
    assert shared.strays() == []
    hosts.append(shared)
