"""The tools of others that judge us: installed once, told on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.protocol.npm import install

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="session")
def npm(pytestconfig: pytest.Config) -> Callable[[str], Path]:
    """The node_modules of a set of npm.py."""
    terminal = pytestconfig.pluginmanager.getplugin("terminalreporter")
    return lambda name: install(name, terminal.write_line if terminal else lambda _: None)
