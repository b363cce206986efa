"""What was judged once: taken as it was, without pydantic, and never in place of a look at the host."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from bulkhead.config import kept, load_profile, state_dir
from bulkhead.errors import ProfileError
from tests.unit.config_cases import mount, write

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("home")

_LOADS = """
import sys
from pathlib import Path
from bulkhead.config import load_profile
load_profile(Path(sys.argv[1]))
print("pydantic" in sys.modules)
"""


def _imports_pydantic(profile: Path) -> str:
    done = subprocess.run([sys.executable, "-c", _LOADS, profile], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_the_second_start_needs_no_pydantic(tmp_path: Path) -> None:
    profile = write(tmp_path, '[limits]\nmemory = "1GiB"\n')
    assert _imports_pydantic(profile) == "True"
    assert _imports_pydantic(profile) == "False"
    profile.write_text(profile.read_text() + "pids = 9\n")
    assert _imports_pydantic(profile) == "True"


def test_what_is_kept_is_what_was_judged(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    tables = """
[limits]
memory = "1GiB"
call = "2s"
[[egress]]
host = "example.org"
ports = [443, 8443]
[[secrets]]
name = "TOKEN"
from = "env:TOKEN"
use = "file"
[tools]
deny = ["delete_*"]
"""
    profile = write(tmp_path, tables + mount(tmp_path / "notes", write=True))
    first = load_profile(profile)
    assert list((state_dir() / "judged").iterdir())
    assert load_profile(profile) == first


def test_a_mount_is_looked_at_every_time(tmp_path: Path) -> None:
    source = tmp_path / "notes"
    source.mkdir()
    profile = write(tmp_path, mount(source))
    load_profile(profile)
    source.rmdir()
    source.symlink_to("/etc")
    with pytest.raises(ProfileError) as caught:
        load_profile(profile)
    assert "/etc" in caught.value.why


def test_what_is_wrong_is_not_kept(tmp_path: Path) -> None:
    profile = write(tmp_path, 'env = { TOKEN = "ghp_0123456789abcdefghijABCDEFGHIJ012345" }\n')
    for _ in range(2):
        with pytest.raises(ProfileError) as caught:
            load_profile(profile)
        assert "looks like" in caught.value.why


@pytest.mark.parametrize("content", ["", "{", "[]", '{"name": "x"}', '{"name": "x", "server": {"nothing": 1}}'])
def test_a_broken_file_is_as_if_it_were_not_there(content: str, tmp_path: Path) -> None:
    profile = write(tmp_path, "")
    first = load_profile(profile)
    (file,) = (state_dir() / "judged").iterdir()
    file.write_text(content)
    assert load_profile(profile) == first
    assert kept.recall(file.name) == first


def test_of_many_the_newest_are_kept(tmp_path: Path) -> None:
    spec = load_profile(write(tmp_path, ""))
    for number in range(300):
        kept.keep(f"{number:064x}", spec)
        os.utime(state_dir() / "judged" / f"{number:064x}", ns=(number, number))
    assert len(list((state_dir() / "judged").iterdir())) == 256
    assert kept.recall(f"{299:064x}") == spec
    assert kept.recall(f"{20:064x}") is None
