"""The shipped profile, compiled with libseccomp, asked call by call for both architectures.

What is asserted here is asserted again by the kernel from inside a container (tests/security); here every rule is tried
both ways, and for arm64 and x32 too, which the machine at hand may not have.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.unit import bpf

ROOT = Path(__file__).parents[2]
PROFILE: dict[str, Any] = json.loads((ROOT / "profiles/seccomp/default.json").read_text())
RULES: list[dict[str, Any]] = PROFILE["syscalls"]
ARCHES = {"x86_64": bpf.X86_64, "aarch64": bpf.AARCH64}
FILTERS = {name: bpf.build(PROFILE, arch) for name, arch in ARCHES.items()}
HIGH = 1 << 32  # a bit that the kernel does not read of an int argument
LOW = 0xFFFF_FFFF

# Calls younger than libseccomp 2.5.4, which Debian 12 has: it leaves them out, and so would it a name mistyped.
YOUNG = {
    "mseal", "uprobe", "uretprobe", "statmount", "listmount", "open_tree_attr", "lsm_get_self_attr",
    "lsm_set_self_attr", "lsm_list_modules", "getxattrat", "setxattrat", "listxattrat", "removexattrat",
    "file_getattr", "file_setattr",
}  # fmt: skip

AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_ALG, AF_VSOCK = 1, 2, 10, 16, 17, 38, 40
STREAM, DGRAM, RAW, CLOEXEC, NONBLOCK = 1, 2, 3, 0o2000000, 0o4000
CREAT, TMPFILE = 0o100, 0o20000000
THREAD = 0x003D_0F00  # the flags of glibc's pthread_create
TIOCSTI, TIOCLINUX, TIOCSETD = 0x5412, 0x541C, 0x5423


# Every call with a condition, with arguments that are permitted and such that are not.
CASES: list[tuple[str, tuple[int, ...], str]] = [
    ("clone", (THREAD,), "ALLOW"),
    ("clone", (0x11,), "ALLOW"),
    ("clone", (0x4111,), "ALLOW"),
    *(("clone", (bit | 0x11,), "EPERM") for bit in (1 << 17, *(1 << n for n in range(25, 31)))),
    ("clone", (HIGH | 1 << 28,), "EPERM"),
    ("socket", (AF_UNIX, STREAM | CLOEXEC, 0), "ALLOW"),
    *(("socket", (family, kind | flags, protocol), "ALLOW") for family in (AF_INET, AF_INET6)
      for flags in (0, CLOEXEC, NONBLOCK, CLOEXEC | NONBLOCK)
      for kind, protocol in ((STREAM, 0), (STREAM, 6), (DGRAM, 0), (DGRAM, 17))),
    *(("socket", (family, kind, protocol), "EPERM") for family in (AF_INET, AF_INET6)
      for kind, protocol in ((RAW, 0), (RAW, 1), (DGRAM, 1), (DGRAM, 58), (STREAM, 262), (STREAM, 132), (DGRAM, 136),
                             (5, 132), (10, 0), (6, 33))),
    ("socket", (AF_NETLINK, RAW | CLOEXEC, 0), "ALLOW"),
    *(("socket", (AF_NETLINK, RAW, protocol), "EPERM") for protocol in range(1, 32)),
    ("socket", (AF_NETLINK, DGRAM, 0), "EPERM"),
    *(("socket", (family, kind, 0), "EPERM") for family in range(64) for kind in (1, 2, 3, 5)
      if family not in (AF_UNIX, AF_INET, AF_INET6, AF_NETLINK)),
    ("socket", (HIGH | AF_PACKET, RAW, 0), "EPERM"),
    ("socket", (HIGH | AF_ALG, 5, 0), "EPERM"),
    ("socketpair", (AF_UNIX, STREAM, 0), "ALLOW"),
    *(("socketpair", (family, STREAM, 0), "EPERM") for family in (0, AF_INET, 30, AF_VSOCK)),
    *(("ioctl", (high | 3, high | command), "ALLOW") for high in (0, HIGH, LOW << 32)
      for command in (0x5401, 0x5413, 0x541B, 0x5421, 0x5451, 0x80045430, 0x40049409)),
    *(("ioctl", (3, high | command), "EPERM") for high in (0, HIGH, 1 << 63, LOW << 32)
      for command in (TIOCSTI, TIOCLINUX, TIOCSETD, 0x541D, 0x5415, 0, LOW, 0x8946, 0x40045432, 0xAA3F, 0xAE01)),
    ("personality", (0,), "ALLOW"),
    ("personality", (LOW,), "ALLOW"),
    ("personality", (2**64 - 1,), "ALLOW"),
    *(("personality", (value,), "EPERM") for value in (8, 0x40000, 0x400000, 0x100000, HIGH | 8)),
    *(("prctl", (option,), "ALLOW") for option in (1, 4, 15, 16, 22, 23, 36, 38, 47, 0x53564D41)),
    *(("prctl", (option,), "EPERM") for option in (0, 8, 13, 19, 25, 28, 31, 35, 53, 57, 59, 62, 67, 0x59616D61)),
    *(("open", (0, flags, 0o7777), "ALLOW") for flags in (0, 1, 2, 0o2000000)),
    *(("open", (0, flags, 0o1777), "ALLOW") for flags in (CREAT, TMPFILE)),
    *(("open", (0, flags, mode), "EPERM") for flags in (CREAT, TMPFILE, CREAT | 2) for mode in (0o4755, 0o2755)),
    *(("openat", (0, 0, flags, 0o7777), "ALLOW") for flags in (0, 1, 2, 0o2000000)),
    *(("openat", (0, 0, flags, 0o1777), "ALLOW") for flags in (CREAT, TMPFILE)),
    *(("openat", (0, 0, HIGH | flags, HIGH | mode), "EPERM")
      for flags in (CREAT, TMPFILE) for mode in (0o4755, 0o2755)),
    *((call, (0, 0o1777), "ALLOW") for call in ("creat", "chmod", "fchmod")),
    *((call, (0, HIGH | bit), "EPERM") for call in ("creat", "chmod", "fchmod") for bit in (0o4000, 0o2000)),
    *((call, (0, 0, 0o1777), "ALLOW") for call in ("fchmodat", "fchmodat2")),
    *((call, (0, 0, bit), "EPERM") for call in ("fchmodat", "fchmodat2") for bit in (0o4000, 0o2000)),
    ("mknod", (0, 0o010644), "ALLOW"),
    ("mknodat", (0, 0, 0o010644), "ALLOW"),
    *(("mknod", (0, HIGH | kind | 0o644), "EPERM") for kind in (0, 0o020000, 0o060000, 0o100000, 0o140000)),
    *(("mknodat", (0, 0, kind | 0o644), "EPERM") for kind in (0, 0o020000, 0o060000, 0o100000, 0o140000)),
]  # fmt: skip


def decide(arch: str, name: str, *args: int) -> str | None:
    """None where the architecture has no such call."""
    nr = bpf.number(ARCHES[arch], name)
    return None if nr is None else bpf.run(FILTERS[arch], ARCHES[arch], nr, *args)


@pytest.fixture(params=ARCHES)
def arch(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def permitted() -> set[str]:
    return {name for rule in RULES if rule["action"] == "SCMP_ACT_ALLOW" for name in rule["names"]}


def test_every_rule_says_who_needs_it() -> None:
    assert [rule["names"] for rule in RULES if not rule.get("comment", "").strip()] == []


def test_no_name_stands_twice() -> None:
    free = Counter(name for rule in RULES if not rule.get("args") for name in rule["names"])
    bound = {name for rule in RULES if rule.get("args") for name in rule["names"]}
    assert [name for name, times in free.items() if times > 1] == []
    assert free.keys() & bound == set(), "libseccomp lets the rule without a condition win"
    assert len({json.dumps([r["names"], r.get("args")]) for r in RULES}) == len(RULES)


def test_no_name_is_mistyped() -> None:
    names = {name for rule in RULES for name in rule["names"]}
    assert {name for name in names if bpf.number(bpf.X86_64, name) is None} <= YOUNG


def test_the_default_refuses_and_only_native_calls_are_mapped() -> None:
    assert (PROFILE["defaultAction"], PROFILE["defaultErrnoRet"]) == ("SCMP_ACT_ERRNO", 1)
    mapped = {entry["architecture"]: entry["subArchitectures"] for entry in PROFILE["archMap"]}
    assert mapped == {"SCMP_ARCH_X86_64": [], "SCMP_ARCH_AARCH64": []}


def test_what_a_rule_frees_is_free_whatever_the_arguments(arch: str) -> None:
    names = {name for rule in RULES if rule["action"] == "SCMP_ACT_ALLOW" and not rule.get("args")
             for name in rule["names"]}  # fmt: skip
    wrong = {(name, args) for name in names for args in ((), (LOW,) * 6, (2**64 - 1,) * 6)
             if decide(arch, name, *args) not in ("ALLOW", None)}  # fmt: skip
    assert wrong == set()


def test_all_else_is_refused(arch: str) -> None:
    names = {bpf.name(ARCHES[arch], nr) for nr in range(512)} - {None} - permitted()
    wrong = {name: decide(arch, str(name)) for name in names if decide(arch, str(name)) not in ("EPERM", "ENOSYS")}
    assert wrong == {}
    assert len(names) > 80


@pytest.mark.parametrize("name", [
    "ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "keyctl", "add_key", "request_key", "bpf",
    "perf_event_open", "unshare", "setns", "mount", "umount2", "pivot_root", "chroot", "open_by_handle_at", "acct",
    "quotactl", "swapon", "swapoff", "reboot", "kexec_load", "kexec_file_load", "init_module", "finit_module",
    "delete_module", "syslog", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "iopl", "ioperm",
    "modify_ldt", "vhangup", "fanotify_init", "fanotify_mark", "lookup_dcookie", "move_pages", "mbind", "setuid",
    "setresuid", "setgroups", "shmget", "msgget", "semget", "mq_open", "io_setup", "vmsplice", "sync", "syncfs",
    "sethostname", "remap_file_pages", "nfsservctl",
])  # fmt: skip
def test_old_calls_are_refused_with_eperm(arch: str, name: str) -> None:
    assert decide(arch, name) in ("EPERM", None)
    assert decide("x86_64", name) == "EPERM"


@pytest.mark.parametrize("name", [
    "clone3", "openat2", "io_uring_setup", "io_uring_enter", "io_uring_register", "userfaultfd", "memfd_secret",
    "pidfd_getfd", "process_madvise", "name_to_handle_at", "open_tree", "move_mount", "fsopen", "mount_setattr",
])  # fmt: skip
def test_young_calls_are_refused_with_enosys(arch: str, name: str) -> None:
    assert decide(arch, name) == "ENOSYS"


def test_another_abi_is_killed() -> None:
    for nr in (0, 1, 102, 358, 512, 999):
        assert bpf.run(FILTERS["x86_64"], bpf.I386, nr) == "KILL"
        assert bpf.run(FILTERS["aarch64"], bpf.ARM, nr) == "KILL"
        assert bpf.run(FILTERS["aarch64"], bpf.X86_64, nr) == "KILL"
        assert bpf.run(FILTERS["x86_64"], bpf.X86_64, bpf.X32_BIT + nr) == "KILL"


def test_conditions_both_ways(arch: str) -> None:
    asked = [(name, args, expected, decide(arch, name, *args)) for name, args, expected in CASES]
    assert [case for case in asked if case[3] not in (case[2], None)] == []
    assert arch != "x86_64" or all(case[3] for case in asked)


def test_every_conditional_name_is_tried_both_ways() -> None:
    names = {name for rule in RULES if rule.get("args") for name in rule["names"]}
    assert {(case[0], case[2]) for case in CASES} == {
        (name, outcome) for name in names for outcome in ("ALLOW", "EPERM")
    }


def test_every_condition_alone_permits_what_it_says(arch: str) -> None:
    for rule in (rule for rule in RULES if rule.get("args")):
        registers = [0] * 6
        for condition in rule["args"]:
            assert condition["op"] == "SCMP_CMP_MASKED_EQ"
            registers[condition["index"]] = condition["valueTwo"]
        for name in rule["names"]:
            assert decide(arch, name, *registers) in ("ALLOW", None), rule["comment"]


def test_no_rule_is_redundant() -> None:
    """Without any one conditional rule, the filter decides otherwise somewhere."""
    for rule in (rule for rule in RULES if rule.get("args")):
        others = [other for other in RULES if other is not rule and set(other["names"]) & set(rule["names"])]
        registers = [2**64 - 1] * 6
        for condition in rule["args"]:
            registers[condition["index"]] = condition["valueTwo"]
        without = bpf.build(PROFILE | {"syscalls": others}, bpf.X86_64)
        nr = bpf.number(bpf.X86_64, rule["names"][0])
        assert nr is not None
        assert bpf.run(without, bpf.X86_64, nr, *registers) == "EPERM", rule["comment"]


def test_the_filter_stays_small() -> None:
    """Docker 20.10's default has 970 instructions on x86_64; a call that is conditional walks up to all of them."""
    assert len(FILTERS["x86_64"]) <= 500
