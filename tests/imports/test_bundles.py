"""MCPB bundles: what a stranger put into the zip is looked through before any of it is written; a good one runs."""

from __future__ import annotations

import io
import json
import stat
import struct
import subprocess
import tomllib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bulkhead.cli import main
from bulkhead.errors import DeniedError
from bulkhead.imports import bundle
from bulkhead.imports.bundle import Bundle
from tests.conftest import BULKHEAD
from tests.imports.conftest import Import, told, written

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVERS = Path(__file__).resolve().parents[1] / "servers"
MANIFEST: dict[str, Any] = {
    "manifest_version": "0.3",
    "name": "Clock",
    "version": "1.0.0",
    "description": "Tells the time",
    "author": {"name": "Ada"},
    "server": {
        "type": "python",
        "entry_point": "server/main.py",
        "mcp_config": {
            "command": "python",
            "args": ["${__dirname}/server/main.py", "--level=${user_config.level}", "${user_config.folder}"],
            "env": {
                "PYTHONPATH": "${__dirname}/lib",
                "API_KEY": "${user_config.key}",
                "HEADER": "Bearer ${user_config.key}",
                "PLACE": "${HOME}/x",
            },
            "platform_overrides": {"win32": {"command": "python.exe"}, "linux": {"command": "python3"}},
        },
    },
    "user_config": {
        "level": {"type": "number", "default": 3},
        "folder": {"type": "directory", "required": True, "multiple": True, "default": ["${HOME}/Desktop"]},
        "key": {"type": "string", "sensitive": True, "default": "x"},
    },
    "tools": [{"name": "now", "description": "the time"}],
    "colour": "red",
}


def zipped(files: Mapping[str, bytes | str], *, modes: Mapping[str, int] | None = None) -> bytes:
    """A zip of these files; a mode of its own for some."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (modes or {}).get(name, stat.S_IFREG | 0o644) << 16
            file.writestr(info, data)
    return out.getvalue()


def good(**changes: Any) -> dict[str, bytes | str]:
    return {"manifest.json": json.dumps(MANIFEST | changes), "server/main.py": "print()", "lib/x.py": ""}


def data_folder(home: Path) -> Path:
    return home / ".local/share/bulkhead/bundles"


def test_a_bundle_becomes_a_profile(imported: Import, home: Path) -> None:
    found = imported(zipped(good(), modes={"lib/x.py": stat.S_IFREG | 0o4777}), yes=True)
    [folder] = data_folder(home).iterdir()
    assert tomllib.loads(found["profile"]) == {
        "description": "Tells the time",
        "server": {
            "image": "bulkhead/python",
            "command": ["python3"],
            "args": ["/srv/bundle/server/main.py", "--level=3"],
            "env": {"PYTHONPATH": "/srv/bundle/lib"},
        },
        "tools": {"allow": ["now"]},
        "mounts": [{"source": str(folder), "target": "/srv/bundle", "write": False}],
        "secrets": [
            {"name": "API_KEY", "from": "keyring:clock/API_KEY", "use": "env"},
            {"name": "HEADER", "from": "keyring:clock/HEADER", "use": "env"},
        ],
    }
    left = told(found, "left out")
    assert {at.removeprefix("server.mcp_config."): why.partition(":")[0] for at, why in left.items()} == {
        "args[2]": "its user_config is yours to say",
        "env.PLACE": "the host fills in a folder of yours",
        "colour": "this key is not known",
    }
    modes = {str(path.relative_to(folder)): stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}
    assert modes == {
        "manifest.json": 0o644, "server": 0o755, "server/main.py": 0o644, "lib": 0o755, "lib/x.py": 0o755,
    }  # fmt: skip


def test_nothing_is_unpacked_before_the_word(imported: Import, home: Path) -> None:
    assert imported(zipped(good()))["written"] is False
    assert not data_folder(home).exists()


@pytest.mark.parametrize(
    "case",
    [
        ({"../evil": ""}, {}, "its name is no plain path below the bundle"),
        ({"a/../../evil": ""}, {}, "its name is no plain path below the bundle"),
        ({"/etc/evil": ""}, {}, "its name is no plain path below the bundle"),
        ({"./evil": ""}, {}, "its name is no plain path below the bundle"),
        ({"a//evil": ""}, {}, "its name is no plain path below the bundle"),
        ({"a\nb": ""}, {}, "its name is no plain path below the bundle"),
        ({"a\u202eb": ""}, {}, "its name is no plain path below the bundle"),
        ({"x" * 250: ""}, {}, "its name is no plain path below the bundle"),
        ({"..\\evil": ""}, {}, "its name is another one on another system"),
        ({"C:evil": ""}, {}, "its name is another one on another system"),
        ({"link": "/etc/passwd"}, {"link": stat.S_IFLNK | 0o777}, "it is neither a file nor a folder"),
        ({"pipe": ""}, {"pipe": stat.S_IFIFO | 0o644}, "it is neither a file nor a folder"),
        ({"device": ""}, {"device": stat.S_IFCHR | 0o644}, "it is neither a file nor a folder"),
        ({"Server/Main.py": ""}, {}, "is there twice"),
        ({"server": ""}, {}, "is a file and a folder"),
        ({"lib/x.py/y": ""}, {}, "is a file and a folder"),
    ],
)
def test_a_hostile_zip_is_refused(
    case: tuple[dict[str, str], dict[str, int], str], tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files, modes, reason = case
    path = written(tmp_path, zipped(good() | files, modes=modes))
    assert main(["import", str(path), "--yes"]) == 3
    assert reason in capsys.readouterr().err
    assert not (home / ".local/share").exists()
    assert not (home / ".config").exists()


def test_a_nul_in_a_name_is_seen() -> None:
    data = zipped(good() | {"aXevil": ""}).replace(b"aXevil", b"a\0evil")
    with pytest.raises(DeniedError) as caught:
        Bundle("x", data)
    assert "another one on another system" in caught.value.why


def test_what_comes_out_counts_and_not_what_the_zip_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The central directory says one byte each, and zipfile stops there; without its word the bound holds too."""
    monkeypatch.setattr(bundle, "MOST_BYTES", 10_000)
    with pytest.raises(DeniedError) as caught:
        Bundle("x", zipped({"bomb": b"\0" * 20_000}))
    assert "unpacked it has more than" in caught.value.why
    small = Bundle("x", zipped({"a": b"\0" * 6_000, "b": b"\0" * 3_000}))
    monkeypatch.setattr(bundle, "MOST_BYTES", 8_000)
    with pytest.raises(DeniedError) as caught:
        small.unpack(tmp_path / "bundles" / "here")
    assert "unpacked it has more than" in caught.value.why
    assert list((tmp_path / "bundles").iterdir()) == []


def test_a_size_that_lies_is_refused(tmp_path: Path) -> None:
    data = zipped({"bomb": b"\0" * 20_000})
    lying = data.replace(struct.pack("<L", 20_000), struct.pack("<L", 10))
    assert lying != data
    with pytest.raises(DeniedError):
        Bundle("x", lying).unpack(tmp_path / "bundles" / "here")
    assert list((tmp_path / "bundles").iterdir()) == []


def test_too_many_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "MOST_FILES", 2)
    with pytest.raises(DeniedError) as caught:
        Bundle("x", zipped(good()))
    assert caught.value.why == "it has more than 2 files"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"type": "uv"}, "only node, python and binary have all that they need in the bundle"),
        ({"entry_point": "server/other.py"}, "this file is not in the bundle"),
        ({"mcp_config": {"command": "uvx", "args": ["x"]}}, "another would fetch more"),
        ({"type": "node", "mcp_config": {"command": "npx"}}, "another would fetch more"),
        ({"type": "binary", "mcp_config": {"command": "${__dirname}/server/main.py"}}, "no program of the bundle's"),
        ({"type": "binary", "mcp_config": {"command": "/bin/sh"}}, "no program of the bundle's"),
    ],
)
def test_what_does_not_run_here(
    change: dict[str, Any], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, zipped(good(server=MANIFEST["server"] | change)))
    assert main(["import", str(path), "--yes"]) == 2
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize(
    ("data", "code", "reason"),
    [
        (zipped({"x": ""}), 2, "no manifest.json is in the zip"),
        (zipped({"manifest.json": "{"}), 2, "manifest.json:1"),
        (zipped({"manifest.json": b"\xff"}), 2, "it is no UTF-8"),
        (zipped({"manifest.json": "[]" + " " * 2**20}), 2, "it is larger than 1 MiB"),
        (zipped(good())[:200], 3, "the bundle is not used"),
    ],
)
def test_what_is_no_bundle(
    data: bytes, code: int, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", str(written(tmp_path, data)), "--yes"]) == code
    assert reason in capsys.readouterr().err


def test_a_bundle_in_the_state_folder_leaves_nothing(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its mount would be refused at each start, so it is refused now."""
    monkeypatch.setenv("XDG_DATA_HOME", str(home / ".local/state"))
    assert main(["import", str(written(tmp_path, zipped(good()))), "--yes"]) == 2
    assert "where bulkhead keeps what is allowed" in capsys.readouterr().err
    assert list((home / ".local/state/bulkhead/bundles").iterdir()) == []


@pytest.mark.engine
def test_a_bundle_runs(imported: Import) -> None:
    files = {f"lib/tests/servers/{path.name}": path.read_text() for path in SERVERS.glob("*.py")}
    server = {
        "type": "python",
        "entry_point": "server/main.py",
        "mcp_config": {
            "command": "python3",
            "args": ["${__dirname}/server/main.py"],
            "env": {"PYTHONPATH": "${__dirname}/lib"},
        },
    }
    start = "import runpy\nrunpy.run_module('tests.servers.hostile', run_name='__main__')\n"
    document = zipped(good(server=server, tools=[]) | files | {"server/main.py": start})
    imported(document, "--name", "bundled", yes=True)
    done = subprocess.run([*BULKHEAD, "tools", "bundled"], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "echo" in done.stdout


def test_another_system_is_told(imported: Import) -> None:
    found = imported(zipped(good(compatibility={"platforms": ["darwin"]})))
    assert told(found, "changed")["compatibility.platforms[0]"] == (
        "it is not said to run on Linux, and here it has to"
    )
