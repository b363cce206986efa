"""What a profile mounts, and nothing through it. Takes root, to put a setuid program, a device and a mount there."""

from __future__ import annotations

import os
import stat
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from bulkhead.spec import Mount
from tests.security import inside, probing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.security.guest import Guest, Inn

pytestmark = pytest.mark.engine

OWNER = 0x6F00_0000  # of the folder that is written to: the sandbox runs as this one
SECRET = "a file of the host's"  # noqa: S105
MEMORY = os.makedev(1, 1)  # /dev/mem


@dataclass(frozen=True)
class Mounted:
    """A guest with a folder to read and a folder to write, and where these are on the host."""

    guest: Guest
    read: Path
    write: Path


@contextmanager
def _mount(target: Path, *options: str) -> Iterator[None]:
    """A small file system of the host's at target, with neither nosuid nor nodev."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=755", "tests", str(target)], check=True)
    try:
        if options:
            subprocess.run(["mount", *options, str(target)], check=True)
        yield
    finally:
        subprocess.run(["umount", str(target)], check=True)


@pytest.fixture(scope="module")
def mounted(inn: Inn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    root = tmp_path_factory.mktemp("mounts")
    read, write = root / "read", root / "write"
    mounts = (Mount(str(read), "/read"), Mount(str(write), "/write", write=True))
    with _mount(root, "--make-shared"):  # what is mounted below a shared mount spreads to its copies
        _folder_of_traps(root, read)
        write.mkdir()
        os.chown(write, OWNER, OWNER)
        with _mount(read / "below"):
            (read / "below" / "secret").write_text(SECRET, encoding="ascii")
            with inn.guest("mounts", mounts=mounts) as guest:
                yield Mounted(guest, read, write)


def _folder_of_traps(root: Path, read: Path) -> None:
    """Links out of it, a program that is root's and setuid, and a device that everybody may open."""
    (read / "below").mkdir(parents=True)
    (root / "secret").write_text(SECRET, encoding="ascii")
    (read / "absolute").symlink_to(root / "secret")
    (read / "relative").symlink_to("../secret")
    (read / "file").write_text("to be read", encoding="ascii")
    probing.compiled(read).chmod(0o4755)
    os.mknod(read / "device", stat.S_IFCHR | 0o666, MEMORY)
    (read / "device").chmod(0o666)


def test_what_the_profile_says_works(mounted: Mounted) -> None:
    assert mounted.guest.ask(inside.text_of, "/read/file") == "to be read"
    mounted.guest.ask(inside.written, "/write/file", "written")
    assert (mounted.write / "file").read_text(encoding="ascii") == "written"
    assert (mounted.write / "file").stat().st_uid == OWNER == mounted.guest.plan.uid


def test_nothing_else_is_mounted(mounted: Mounted, guest: Guest) -> None:
    with_mounts, without = (
        {mount["target"] for mount in other.ask(inside.mount_points)} for other in (mounted.guest, guest)
    )
    assert with_mounts - without == {"/read", "/write"}
    assert set(mounted.guest.ask(inside.names_in, "/read/..")) == set(guest.ask(inside.names_in, "/")) | {
        "read", "write",
    }  # fmt: skip


def test_a_read_only_mount_is_one(mounted: Mounted) -> None:
    assert mounted.guest.refused(inside.written, "/read/new", "x") == "EROFS"
    assert mounted.guest.refused(inside.written, "/read/file", "x") in ("EROFS", "EACCES")
    assert mounted.guest.ask(inside.is_read_only, "/read")
    assert mounted.guest.refused(inside.remounted, "/read") == "EPERM"
    assert (mounted.read / "file").read_text(encoding="ascii") == "to be read"


@pytest.mark.parametrize("link", ["/read/absolute", "/read/relative"])
def test_a_symlink_leads_nowhere(mounted: Mounted, link: str) -> None:
    assert (mounted.read / link.rpartition("/")[2]).read_text(encoding="ascii") == SECRET
    assert mounted.guest.refused(inside.text_of, link) == "ENOENT"


def test_a_symlink_of_the_servers_own_leads_nowhere(mounted: Mounted) -> None:
    mounted.guest.ask(inside.linked, "../secret", "/write/link")
    assert mounted.guest.refused(inside.text_of, "/write/link") == "ENOENT"


def test_what_is_mounted_below_stays_outside(mounted: Mounted) -> None:
    """Neither what was there before the start, nor what comes later."""
    assert mounted.guest.ask(inside.names_in, "/read/below") == []
    (mounted.write / "late").mkdir()
    with _mount(mounted.write / "late"):
        (mounted.write / "late" / "secret").write_text(SECRET, encoding="ascii")
        assert mounted.guest.ask(inside.names_in, "/write/late") == []


def test_a_setuid_program_makes_nobody_root(mounted: Mounted) -> None:
    """The mount is not nosuid, for which Docker has no word: no-new-privileges does it."""
    assert (mounted.read / "probe").stat().st_mode & stat.S_ISUID
    said = mounted.guest.ask(inside.program_said, "/read/probe", "uid_root")
    assert '"outcome": "refused"' in said, said


def test_a_device_cannot_be_opened(mounted: Mounted) -> None:
    """The mount is not nodev either: the device cgroup does it. A nodev mount would say EACCES."""
    assert mounted.guest.refused(inside.opened, "/read/device", os.O_RDONLY) == "EPERM"


def test_no_file_with_rights_of_its_own_is_left_on_the_host(mounted: Mounted) -> None:
    mounted.guest.ask(inside.written, "/write/program", "x")
    assert mounted.guest.refused(inside.with_mode, "/write/program", 0o4755) == "EPERM"
    assert mounted.guest.refused(inside.with_mode, "/write/program", 0o2755) == "EPERM"
    assert mounted.guest.refused(inside.device_made, "/write/device") == "EPERM"
