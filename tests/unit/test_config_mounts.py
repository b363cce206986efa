"""Which folders a sandbox never gets, and that no policy file lies where a sandbox writes."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulkhead.config import Flags, load_profile, writable
from bulkhead.errors import ProfileError
from bulkhead.grammar import RESERVED_TARGETS, target
from tests.unit.config_cases import mount, write

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("home")


def refusal(tmp_path: Path, source: object, *, to: str = "/notes", writes: bool = False) -> ProfileError:
    """Why a mount is refused; the line is that of its source or target."""
    path = write(tmp_path, mount(source, to, write=writes))
    with pytest.raises(ProfileError) as caught:
        load_profile(path)
    assert caught.value.what.startswith((f"{path}:4: mounts[0].source is", f"{path}:5: mounts[0].target is"))
    return caught.value


@pytest.mark.parametrize(
    "source",
    ["/", "//", "/.", "/proc", "/proc/1", "/sys", "/dev", "/dev/pts", "/etc", "/etc/ssl", "/boot", "/run", "/var"],
)
def test_the_systems_own(source: str, tmp_path: Path) -> None:
    reason = "holds, the home folder" if source.startswith(("//", "/.")) or source == "/" else "of the system"
    assert reason in refusal(tmp_path, source).why


def test_a_daemons_socket_and_its_folder(tmp_path: Path) -> None:
    assert Path("/var/run/docker.sock").is_socket(), "these tests run beside a container engine"
    for source in ("/var/run/docker.sock", "/var/run", "/run/docker.sock", "/var/lib/docker"):
        assert "of the system" in refusal(tmp_path, source).why


def test_home_and_what_holds_it(home: Path, tmp_path: Path) -> None:
    for source in ("~", "~/", "${HOME}", home, home.parent):
        assert "holds, the home folder" in refusal(tmp_path, source).why


def test_our_own_folders_what_holds_and_what_is_in_them(home: Path, tmp_path: Path) -> None:
    for ours in (".config/bulkhead", ".local/state/bulkhead"):
        (home / ours / "servers").mkdir(parents=True)
        for source in (home / ours, home / ours / "servers", (home / ours).parent):
            assert "where bulkhead keeps" in refusal(tmp_path, source).why


def test_a_symlink_is_refused_and_its_end_named(home: Path, tmp_path: Path) -> None:
    (home / "real").mkdir()
    (tmp_path / "link").symlink_to(home / "real")
    error = refusal(tmp_path, tmp_path / "link")
    assert "goes through a symlink" in error.why
    assert str(home / "real") in error.hint
    (home / "real/inner").mkdir()
    assert "goes through a symlink" in refusal(tmp_path, tmp_path / "link/inner").why


def test_a_symlink_to_what_is_never_mounted_is_refused_for_that(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc")
    assert "/etc of the system" in refusal(tmp_path, tmp_path / "link").why


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


@pytest.mark.parametrize("make", [_fifo, _socket])
def test_neither_pipe_nor_socket(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "x")
    assert "neither a folder nor a regular file" in refusal(tmp_path, tmp_path / "x").why


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("notes", "not absolute"),
        ("~root/x", "only ~ and ${VAR}"),
        ("$HOME/x", "only ~ and ${VAR}"),
        ("${NO_SUCH_VARIABLE}/x", "NO_SUCH_VARIABLE is not set"),
        ("~/../x", "holds '..'"),
        ("/opt/../etc", "holds '..'"),
        ("/opt/a:/etc", "a ':'"),
        ("/opt/a\\nb", "cannot be printed"),
        ("/opt/a\\u0000", "cannot be printed"),
        ("/opt/a\\u202Eb", "cannot be printed"),
        ("~/missing", "no such file"),
    ],
)
def test_sources_that_are_not_read(source: str, why: str, tmp_path: Path) -> None:
    assert why in refusal(tmp_path, source).why


def test_a_variable_is_judged_by_its_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA", "/etc")
    assert "/etc of the system" in refusal(tmp_path, "${DATA}").why
    monkeypatch.setenv("DATA", "/opt/../etc")
    assert "'..'" in refusal(tmp_path, "${DATA}").why
    monkeypatch.setenv("DATA", "~/x")
    assert "only ~ and ${VAR}" in refusal(tmp_path, "${DATA}").why


def test_what_is_fine(home: Path, tmp_path: Path) -> None:
    (home / "notes").mkdir()
    (home / "a file").touch()
    text = mount("~/notes", "/notes", write=True) + mount("${HOME}/a file", "/work/file")
    spec = load_profile(write(tmp_path, text))
    assert [(m.source, m.write) for m in spec.mounts] == [(f"{home}/notes", True), (f"{home}/a file", False)]


TARGETS = [
    "",
    "/",
    "notes",
    "/a/../b",
    "/a/",
    "//a",
    "/a//b",
    "/a/.",
    "/a:b",
    "/a\n",
    "/a\u200b",
    "/home",
    "/run",
    "/opt",
]


@pytest.mark.parametrize("text", [*TARGETS, *RESERVED_TARGETS, *(f"{path}/below" for path in RESERVED_TARGETS)])
def test_targets(text: str) -> None:
    with pytest.raises(ValueError, match="target"):
        target(text)


def test_a_target_is_refused_with_its_line(home: Path, tmp_path: Path) -> None:
    (home / "x").mkdir()
    assert "/run/secrets" in refusal(tmp_path, "~/x", to="/run/secrets/TOKEN").why
    path = write(tmp_path, mount("~/x", "/a") + mount("~/x", "/a/b"))
    with pytest.raises(ProfileError, match=r":9: mounts\[1\]\.target is not valid") as caught:
        load_profile(path)
    assert "overlaps" in caught.value.why


@given(st.text(alphabet=st.sampled_from("/.:~ abceorptu\0\n\u202e"), max_size=24))
@settings(deadline=None)
def test_no_target_gets_over_the_sandboxs_own(text: str) -> None:
    try:
        accepted = target(text)
    except ValueError:
        return
    assert os.path.normpath(accepted) == accepted
    assert not any(f"{accepted}/".startswith(f"{reserved}/") for reserved in RESERVED_TARGETS)


class TestPolicyFiles:
    """What says what sandboxes may do never lies where one writes."""

    def test_the_profile_itself(self, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir()
        path = write(tmp_path / "data", mount(tmp_path / "data", write=True))
        with pytest.raises(ProfileError) as caught:
            load_profile(path)
        assert "the sandbox could write to" in caught.value.why
        assert load_profile(write(tmp_path / "data", mount(tmp_path / "data"))).mounts

    def test_the_projects_folder(self, project: Path, tmp_path: Path) -> None:
        (project / ".bulkhead").mkdir()
        for source in (project, project / ".bulkhead"):
            assert ".bulkhead, which says" in refusal(tmp_path, source, writes=True).why

    def test_another_projects_folder(self, tmp_path: Path) -> None:
        (tmp_path / "other/.bulkhead").mkdir(parents=True)
        assert ".bulkhead, which says" in refusal(tmp_path, tmp_path / "other", writes=True).why

    def test_a_project_gives_away_nothing_but_itself(self, project: Path, home: Path) -> None:
        (project / ".bulkhead").mkdir()
        (project / "data").mkdir()
        (home / "notes").mkdir()
        inner = write(project / ".bulkhead", mount(project / "data", write=True))
        assert load_profile(inner).mounts
        outer = write(project / ".bulkhead", mount("~/notes"))
        with pytest.raises(ProfileError) as caught:
            load_profile(outer)
        assert "mounts nothing from outside" in caught.value.why

    def test_a_profile_that_a_sandbox_planted_is_not_believed(self, project: Path, tmp_path: Path) -> None:
        spec = load_profile(write(tmp_path, ""), flags=Flags([f"{project}:/work:rw"]))
        writable.remember(spec)
        writable.remember(spec)
        (project / ".bulkhead").mkdir()
        planted = write(project / ".bulkhead", "")
        with pytest.raises(ProfileError, match="is not used") as caught:
            load_profile(planted)
        assert "may have written" in caught.value.why

    def test_a_link_from_elsewhere_to_it_is_not_believed(self, project: Path, tmp_path: Path) -> None:
        writable.remember(load_profile(write(tmp_path, ""), flags=Flags([f"{project}:/work:rw"])))
        planted = write(project, "")
        (tmp_path / "link.toml").symlink_to(planted)
        with pytest.raises(ProfileError, match="is not used"):
            load_profile(tmp_path / "link.toml")

    def test_a_folder_that_is_only_read_stays_believed(self, project: Path, tmp_path: Path) -> None:
        writable.remember(load_profile(write(tmp_path, ""), flags=Flags([f"{project}:/work"])))
        assert load_profile(write(project, "")).name == "server"


@given(text=st.text(alphabet=st.sampled_from("/.~${}HOMEetcprsv\n\u202e"), max_size=20))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_whatever_is_written_as_a_source_nothing_forbidden_is_mounted(text: str, home: Path, tmp_path: Path) -> None:
    import json

    path = tmp_path / "server.toml"
    written = json.dumps(text).replace("\x7f", "")
    path.write_text(f'[server]\npackage = "npm:a@1"\n[[mounts]]\nsource = {written}\ntarget = "/x"\n')
    try:
        spec = load_profile(path)
    except ProfileError:
        return
    source = spec.mounts[0].source
    assert source == os.path.realpath(source)
    assert not f"{home}/".startswith(f"{source}/")
    assert not source.startswith(("/etc", "/proc", "/sys", "/dev", "/run", "/boot"))
