"""What `run`, `call` and `tools` share, before a server starts."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from tests.conftest import BULKHEAD

if TYPE_CHECKING:
    from pathlib import Path


def test_an_engine_that_is_not_there_is_not_replaced(tmp_path: Path) -> None:
    profile = tmp_path / "server.toml"
    profile.write_text('[server]\nimage = "bulkhead/python"\ncommand = ["true"]\n[sandbox]\nengine = "oci"\n')
    command = [*BULKHEAD, "call", "--profile", str(profile), "tool"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 4
    assert "the engine 'oci' is not part of this version" in done.stderr
