"""Sessions of a server whose pins are in a folder of the test's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bulkhead.pins import PinBook, Store
from bulkhead.policy.declared import LISTS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bulkhead.pins import Judged

KEY = "weather"


class Session:
    """One runner's session, and what its host does."""

    def __init__(self, book: PinBook) -> None:
        self.book = book

    def list(self, method: str, *values: Any, cursor: str | None = None, following: str | None = None) -> Judged:
        """What becomes of a list of these values."""
        result: dict[str, Any] = {LISTS[method].member: list(values)}
        if following is not None:
            result["nextCursor"] = following
        return self.book.listed(method, {} if cursor is None else {"cursor": cursor}, result)

    def tools(self, *values: Any, **page: Any) -> Judged:
        """As list()."""
        return self.list("tools/list", *values, **page)

    def why(self, name: str, method: str = "tools/call") -> str:
        """Why a call is refused; "" if it is not."""
        member = "uri" if method.startswith("resources/") else "name"
        error = self.book.refusal(method, {member: name})
        return f"{error.what}: {error.why}" if error is not None else ""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """The files of the server."""
    return Store(tmp_path, KEY)


@pytest.fixture
def session(tmp_path: Path) -> Callable[..., Session]:
    """Opens one; others are the tools of other servers."""

    def open_session(mode: Any = "first-use", key: str = KEY, **others: tuple[str, ...]) -> Session:
        return Session(PinBook(tmp_path, key, mode=mode, others=lambda: others))

    return open_session


def tool(name: str = "weather", description: str = "The weather", **others: Any) -> dict[str, Any]:
    """A small definition."""
    return {"name": name, "description": description, "inputSchema": {"type": "object"}} | others
