"""docs/seccomp.md says of the profile what the profile says itself, and what other defaults permit beyond it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/seccomp.md").read_text()
RULES: list[dict[str, Any]] = json.loads((ROOT / "profiles/seccomp/default.json").read_text())["syscalls"]
PERMITTED = {name for rule in RULES if rule["action"] == "SCMP_ACT_ALLOW" for name in rule["names"]}

# What moby's default profile permits on x86_64 or arm64 without added capabilities, and ours does not.
BOTH = {
    "adjtimex", "clock_adjtime", "epoll_ctl_old", "epoll_wait_old", "fanotify_mark", "get_robust_list",
    "get_thread_area", "io_cancel", "io_destroy", "io_getevents", "io_pgetevents", "io_setup", "io_submit",
    "ioprio_get", "ioprio_set", "memfd_secret", "mlockall", "modify_ldt", "mq_getsetattr", "mq_notify", "mq_open",
    "mq_timedreceive", "mq_timedsend", "mq_unlink", "msgctl", "msgget", "msgrcv", "msgsnd", "munlockall", "openat2",
    "process_mrelease", "ptrace", "remap_file_pages", "semctl", "semget", "semop", "semtimedop", "set_thread_area",
    "setfsgid", "setfsuid", "setgid", "setgroups", "setregid", "setresgid", "setresuid", "setreuid", "setuid", "shmat",
    "shmctl", "shmdt", "shmget", "sync", "syncfs", "tee", "vmsplice",
}  # fmt: skip
DOCKER_20_10 = BOTH | {"io_uring_enter", "io_uring_register", "io_uring_setup"}
DOCKER_29 = BOTH | {
    "cachestat", "listmount", "name_to_handle_at", "process_vm_readv", "process_vm_writev", "statmount",
}  # fmt: skip


def table(heading: str) -> list[list[str]]:
    """The first table under a heading, as cells, without its head."""
    section = PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = section.split("|---|", 1)[1].split("\n\n", 1)[0].splitlines()[1:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def names(cell: str) -> list[str]:
    return re.findall(r"`([a-z0-9_]+)`", cell)


def test_every_rule_stands_in_the_table() -> None:
    assert [(row[0], names(row[1])) for row in table("The rules")] == [(r["comment"], r["names"]) for r in RULES]


def test_what_docker_permits_beyond_stands_in_the_table() -> None:
    rows = table("What it refuses and Docker's default permits")
    for column, expected in ((1, DOCKER_20_10), (2, DOCKER_29)):
        told = [name for row in rows if row[column] == "yes" for name in names(row[0])]
        assert sorted(told) == sorted(expected)


def test_what_docker_permits_beyond_is_refused() -> None:
    assert PERMITTED.isdisjoint(DOCKER_20_10 | DOCKER_29)


def test_the_numbers_on_the_page_are_counted() -> None:
    for call, what in (("ioctl", "commands"), ("prctl", "options")):
        assert f"| {sum(rule['names'] == [call] for rule in RULES)} {what} |" in PAGE
