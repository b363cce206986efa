"""Who a server is, and which processes it sees: looked at from inside, and from the host."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bulkhead.engines.hardening import FIRST_UID, HOME, UIDS
from tests.security import inside

if TYPE_CHECKING:
    from tests.security.guest import Guest

pytestmark = pytest.mark.engine


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def test_no_process_is_root_on_the_host(guest: Guest) -> None:
    assert len(guest.pids) == 2
    for pid in guest.pids:
        for row in ("Uid", "Gid", "Groups"):
            assert set(_status(pid)[row].split()) == {str(guest.plan.uid)}, row
    assert FIRST_UID <= guest.plan.uid < FIRST_UID + UIDS


def test_each_sandbox_has_a_uid_of_its_own(guest: Guest, neighbour: Guest) -> None:
    assert _status(guest.pids[-1])["Uid"] != _status(neighbour.pids[-1])["Uid"]
    assert {guest.plan.uid, neighbour.plan.uid}.isdisjoint(account.pw_uid for account in pwd.getpwall())


def test_it_has_an_account_and_nobody_of_the_machine_has_one_there(guest: Guest) -> None:
    """OpenSSH and psql start for no uid without; the machine's accounts are none of its business."""
    lines = guest.ask(inside.text_of, "/etc/passwd").splitlines()
    assert [line.split(":")[0] for line in lines] == ["root", "bulkhead", "nobody"]
    assert lines[1].split(":")[2:6] == [str(guest.plan.uid), str(guest.plan.gid), "", HOME]
    assert guest.refused(inside.opened, "/etc/passwd", os.O_WRONLY) in ("EROFS", "EACCES")


def test_no_capability_in_any_set(guest: Guest) -> None:
    for pid in guest.pids:
        status = _status(pid)
        sets = {name: int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
        assert not any(sets.values()), sets


def test_no_new_privileges_and_a_filter(guest: Guest) -> None:
    for pid in guest.pids:
        status = _status(pid)
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


@pytest.mark.parametrize("kind", ["cgroup", "ipc", "mnt", "net", "pid", "uts"])
def test_namespaces_of_its_own(guest: Guest, neighbour: Guest, kind: str) -> None:
    processes = (guest.pids[-1], neighbour.pids[-1], "self")
    spaces = {Path(f"/proc/{process}/ns/{kind}").readlink() for process in processes}
    assert len(spaces) == 3


def test_only_its_own_processes_are_seen(guest: Guest, neighbour: Guest) -> None:
    for other in (guest, neighbour):
        seen = other.ask(inside.processes)
        assert len(seen) == 2
        assert seen["1"] != "python3"


def test_orphans_are_taken_by_the_init(guest: Guest) -> None:
    assert guest.ask(inside.orphan_reaped, 10)
    assert len(guest.ask(inside.processes)) == 2


def test_the_environment_is_the_plans(guest: Guest) -> None:
    """Of the init as of the server; HOSTNAME is the engine's, and the same in every sandbox."""
    expected = dict(guest.plan.env) | {"HOSTNAME": "bulkhead"}
    assert guest.ask(inside.environment_of, "1") == expected
    assert guest.ask(inside.environment_of, "self") == expected


def test_nothing_of_the_hosts_names_is_told(guest: Guest) -> None:
    assert guest.ask(inside.text_of, "/proc/sys/kernel/hostname") == "bulkhead\n"
    for path in ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf"):
        assert os.uname().nodename not in guest.ask(inside.text_of, path).split()


def test_only_three_files_are_open(guest: Guest) -> None:
    """A folder of the host that leaks through a descriptor is a way out (CVE-2024-21626): the folder is one of ours."""
    found = guest.ask(inside.descriptors)
    assert found.keys() == {"0", "1", "2", "cwd"}
    assert found["cwd"] == guest.plan.working_dir
    for pid in guest.pids:
        files = list(Path(f"/proc/{pid}/fd").iterdir())
        assert sorted(file.name for file in files) == ["0", "1", "2"]
        assert all(stat.S_ISFIFO(file.stat().st_mode) for file in files)
