"""The Plan of a spec: nothing that the profile does not say, never root, and what cannot be done stops the start."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from bulkhead.config import schema
from bulkhead.credentials.leases import Handed
from bulkhead.engines.hardening import (
    FIRST_UID,
    GATE_SOCKET,
    HOME,
    MASKED_PATHS,
    READONLY_PATHS,
    TRUSTED,
    UIDS,
    WORK,
    Bind,
    Plan,
    Tmpfs,
    gate_plan,
    plan_for,
    tmpfs_inodes,
)
from bulkhead.errors import ProfileError

if TYPE_CHECKING:
    from bulkhead.spec import ServerSpec

# Folders of the sandbox, not of this machine.
TMP, SHM = "/tmp", "/dev/shm"  # noqa: S108
SERVER = {"package": "npm:p@1.0.0"}
DATA = {"source": "/data", "target": "/notes"}
DIGEST = "sha256:" + "0" * 64


def spec(**tables: Any) -> ServerSpec:
    """A spec with these tables."""
    return schema.to_spec(schema.ServerSpec.model_validate({"name": "p", "server": SERVER} | tables))


def plan(
    of: ServerSpec,
    *,
    sandbox_id: str = "p-1",
    handed: Handed | None = None,
    trusted: bytes = b"",
    **owners: tuple[int, int],
) -> Plan:
    """Its Plan; owners by the last part of a source."""
    known = {f"/{name}": owner for name, owner in owners.items()}
    return plan_for(
        of,
        sandbox_id=sandbox_id,
        image_digest=DIGEST,
        image_command=("entry",),
        seccomp="{}",
        owners=known,
        handed=handed,
        trusted=trusted,
    )


def test_the_least_by_default() -> None:
    made = plan(spec())
    assert (made.image, made.command, made.seccomp) == (DIGEST, ("entry",), "{}")
    assert (made.network, made.capabilities, made.read_only, made.binds) == ("none", (), True, ())
    assert (made.cpus, made.memory, made.pids, made.open_files) == (1.0, 512 * 2**20, 128, 1024)
    assert made.masked_paths == MASKED_PATHS
    assert set(made.env) == {
        "HOME", "PATH", "LANG", "TMPDIR", "XDG_CACHE_HOME", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE",
        "NO_UPDATE_NOTIFIER", "npm_config_update_notifier",
    }  # fmt: skip


def test_limits_reach_the_plan() -> None:
    made = plan(spec(limits={"cpus": 0.5, "memory": "1GiB", "pids": 7, "open_files": 99, "tmp": "1MiB"}))
    assert (made.cpus, made.memory, made.pids, made.open_files) == (0.5, 2**30, 7, 99)
    assert {tmpfs.size for tmpfs in made.tmpfs} == {2**20}
    assert {tmpfs.inodes for tmpfs in made.tmpfs} == {tmpfs_inodes(2**20)}


def test_command_and_environment_are_the_profiles() -> None:
    server = SERVER | {"command": ["cmd"], "args": ["-a"], "env": {"LANG": "de_DE", "X": "1"}, "working_dir": "/srv"}
    made = plan(spec(server=server))
    assert (made.command, made.working_dir) == (("cmd", "-a"), "/srv")
    assert (made.env["LANG"], made.env["X"], made.env["HOME"]) == ("de_DE", "1", HOME)


def test_a_package_without_entry_and_command_is_refused() -> None:
    with pytest.raises(ProfileError, match="nothing to start"):
        plan_for(spec(), sandbox_id="x", image_digest=DIGEST, image_command=(), seccomp="{}", owners={})


class TestUser:
    """Never root, and a user of the host only where the profile mounts what is theirs."""

    def test_of_its_own(self) -> None:
        one, other = plan(spec()), plan(spec(), sandbox_id="p-2")
        assert one.uid == one.gid != other.uid
        assert all(FIRST_UID <= made.uid < FIRST_UID + UIDS for made in (one, other))

    def test_the_profiles(self) -> None:
        made = plan(spec(sandbox={"user": "1234"}, mounts=[DATA | {"write": True}]), data=(0, 0))
        assert (made.uid, made.gid) == (1234, 1234)
        made = plan(spec(sandbox={"user": "1234:99"}))
        assert (made.uid, made.gid) == (1234, 99)

    def test_the_owner_of_the_first_writable_mount(self) -> None:
        mounts = [DATA, {"source": "/more", "target": "/more", "write": True}]
        made = plan(spec(mounts=mounts), data=(1000, 1000), more=(1001, 1002))
        assert (made.uid, made.gid) == (1001, 1002)

    def test_else_of_the_first_that_is_not_roots(self) -> None:
        mounts = [DATA, {"source": "/more", "target": "/more"}]
        assert plan(spec(mounts=mounts), data=(0, 0), more=(1001, 1001)).uid == 1001
        assert plan(spec(mounts=mounts), data=(0, 0), more=(0, 0)).uid >= FIRST_UID

    def test_never_the_root_group(self) -> None:
        assert plan(spec(mounts=[DATA]), data=(1000, 0)).gid == 1000

    def test_roots_folder_is_not_written_to(self) -> None:
        mounts = [{"source": "/more", "target": "/more", "write": True}, DATA | {"write": True}]
        with pytest.raises(ProfileError, match="/data could not be written to") as caught:
            plan(spec(mounts=mounts), more=(1000, 1000), data=(0, 0))
        assert "never runs as root" in caught.value.why


class TestFolders:
    """What can be written is in memory, or a mount that the profile names."""

    def test_in_memory(self) -> None:
        made = {tmpfs.target: tmpfs for tmpfs in plan(spec()).tmpfs}
        assert set(made) == {TMP, HOME, WORK, SHM}
        assert {target: tmpfs.mode for target, tmpfs in made.items()} == {
            TMP: 0o1777, HOME: 0o700, WORK: 0o700, SHM: 0o1777,
        }  # fmt: skip
        assert not any(tmpfs.exec for tmpfs in made.values())
        assert all(tmpfs.inodes for tmpfs in made.values())

    def test_shared_memory_is_small(self) -> None:
        made = {tmpfs.target: tmpfs.size for tmpfs in plan(spec(limits={"tmp": "1GiB"})).tmpfs}
        assert (made[SHM], made[TMP]) == (64 * 2**20, 2**30)

    def test_executable_only_where_it_is_said(self) -> None:
        assert all(tmpfs.exec for tmpfs in plan(spec(sandbox={"exec_tmp": True})).tmpfs)

    def test_a_mount_takes_the_place(self) -> None:
        made = plan(spec(mounts=[DATA | {"target": WORK}]), data=(1000, 1000))
        assert WORK not in {tmpfs.target for tmpfs in made.tmpfs}
        assert made.binds == (Bind("/data", WORK, write=False),)

    def test_mounts_in_order_of_their_targets(self) -> None:
        mounts = [DATA | {"target": "/z"}, DATA | {"target": "/b"}]
        assert [bind.target for bind in plan(spec(mounts=mounts), data=(1, 1)).binds] == ["/b", "/z"]


def test_a_file_has_a_folder_in_memory_that_its_user_alone_reads() -> None:
    made = plan(spec(secrets=[{"name": "TOKEN", "from": "env:TOKEN", "use": "file"}]))
    assert Tmpfs("/run/secrets", 2**20, 64, mode=0o700) in made.tmpfs
    assert "/run/secrets" not in {tmpfs.target for tmpfs in plan(spec()).tmpfs}


def test_what_is_handed_is_in_no_repr() -> None:
    handed = Handed({"A": "ghp_placeholder"}, {"B": b"of a variable"}, {"C": b"of a file"})
    made = plan(spec(), handed=handed)
    assert (made.env["A"], made.variables, made.files) == ("ghp_placeholder", handed.variables, handed.files)
    assert "of a" not in f"{made!r}{handed!r}"


def test_an_authority_is_trusted_by_all_who_ask() -> None:
    made = plan(spec(), trusted=b"pem")
    assert {made.env[name] for name in ("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE")} == {TRUSTED}
    assert made.trusted == b"pem"
    assert "SSL_CERT_FILE" not in plan(spec()).env


def test_egress_is_no_network_without_a_gate() -> None:
    made = plan(spec(egress=[{"host": "a.example", "ports": [443]}]))
    assert (made.network, made.joins) == ("none", "")


def test_a_server_joins_its_gate_without_a_capability() -> None:
    made = plan_for(
        spec(), sandbox_id="p-1", image_digest=DIGEST, image_command=("x",), seccomp="{}", owners={}, gate="p-1-gate"
    )
    assert (made.network, made.joins, made.capabilities) == ("none", "p-1-gate", ())


class TestGate:
    """Hardened as all are, but for what it needs until it is ready."""

    def test_all_of_it(self) -> None:
        made = gate_plan(
            gate_id="p-1-gate", server="p", image_digest=DIGEST, command=("x",), socket="/state/socket",
            seccomp='{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"}]}',
        )  # fmt: skip
        assert made == Plan(
            id="p-1-gate", server="p", image=DIGEST, command=("x",), env={"PATH": made.env["PATH"]}, working_dir="/",
            uid=0, gid=0, seccomp=made.seccomp, cpus=1.0, memory=64 * 2**20, pids=16, open_files=1024, tmpfs=(),
            binds=(Bind("/state/socket", GATE_SOCKET, write=False),), network="gate", joins="",
            capabilities=("NET_ADMIN", "SETGID", "SETUID"), read_only=True, runtime="",
            masked_paths=MASKED_PATHS, readonly_paths=READONLY_PATHS,
        )  # fmt: skip
        assert json.loads(made.seccomp) == {
            "defaultAction": "SCMP_ACT_ERRNO",
            "syscalls": [
                {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
                {"names": ["setgroups", "setresgid", "setresuid"], "action": "SCMP_ACT_ALLOW"},
            ],
        }

    def test_no_socket_is_no_mount(self) -> None:
        made = gate_plan(gate_id="g", server="p", image_digest=DIGEST, command=("x",), seccomp="{}")
        assert made.binds == ()
