"""load(): the shipped profile passes, and everything that is no allow-list is refused with its reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bulkhead.engines import seccomp
from bulkhead.errors import ProfileError

DEFAULT = Path(__file__).parents[2] / "profiles/seccomp/default.json"
ALLOW = {"action": "SCMP_ACT_ALLOW"}
SOUND: dict[str, Any] = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"], **ALLOW}]}


def written(folder: Path, document: object) -> Path:
    path = folder / "own.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def test_the_shipped_profile_comes_back_whole() -> None:
    assert json.loads(seccomp.load(DEFAULT)) == json.loads(DEFAULT.read_text())


@pytest.mark.parametrize("action", ["SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS"])
def test_an_allow_list_of_ones_own_passes(tmp_path: Path, action: str) -> None:
    own = SOUND | {"defaultAction": action, "architectures": ["SCMP_ARCH_X86_64"]}
    assert json.loads(seccomp.load(written(tmp_path, own))) == own


def one(rule: object) -> dict[str, Any]:
    return SOUND | {"syscalls": [rule]}


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ("{", "Expecting property name"),
        ([], "not an object"),
        ({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": {}}, "lists"),
        ({"syscalls": []}, "defaultAction None permits"),
        (SOUND | {"defaultAction": "SCMP_ACT_ALLOW"}, "defaultAction 'SCMP_ACT_ALLOW' permits"),
        (SOUND | {"defaultAction": "SCMP_ACT_LOG"}, "defaultAction 'SCMP_ACT_LOG' permits"),
        (SOUND | {"DefaultAction": "SCMP_ACT_ALLOW"}, "key 'DefaultAction' is not known"),
        (SOUND | {"flags": ["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]}, "key 'flags' is not known"),
        (SOUND | {"listenerPath": "/run/agent"}, "key 'listenerPath' is not known"),
        (SOUND | {"architectures": ["SCMP_ARCH_X86"]}, "architecture 'SCMP_ARCH_X86' is not a native one"),
        (SOUND | {"architectures": [["SCMP_ARCH_X86"]]}, "is not a native one"),
        (SOUND | {"archMap": ["x"]}, "'x' is not an architecture"),
        (
            SOUND | {"archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X32"]}]},
            "architecture 'SCMP_ARCH_X32' is not a native one",
        ),
        (one("read"), "rule 1: it is not an object"),
        (one({"names": "ptrace", **ALLOW}), "rule 1: it is not an object whose names are a list"),
        (one({"names": ["read"]}), "rule 1: action None is not one of"),
        (one({"names": ["read"], "action": "SCMP_ACT_NOTIFY"}), "action 'SCMP_ACT_NOTIFY' is not one of"),
        (one({"names": ["read"], "action": "SCMP_ACT_TRACE"}), "action 'SCMP_ACT_TRACE' is not one of"),
        (one({"names": ["read"], "Action": "SCMP_ACT_ALLOW", "action": "SCMP_ACT_ERRNO"}), "key 'Action' is not known"),
        (one({"names": ["read", "ptrace"], **ALLOW}), "ptrace is never allowed: it reaches into another process"),
        (one({"name": "keyctl", **ALLOW}), "keyctl is never allowed"),
        (one({"names": ["mount"], "action": "SCMP_ACT_LOG"}), "mount is never allowed"),
        (one({"names": ["bpf"], "includes": {"caps": ["CAP_BPF"]}, **ALLOW}), "bpf is never allowed"),
        (one({"names": ["clone"], **ALLOW}), "clone is allowed only with a condition"),
    ],
)
def test_what_is_no_allow_list_is_refused(tmp_path: Path, document: object, why: str) -> None:
    with pytest.raises(ProfileError) as refusal:
        seccomp.load(written(tmp_path, document))
    assert why in refusal.value.why
    assert str(tmp_path / "own.json") in refusal.value.what
    assert "docs/seccomp.md" in refusal.value.hint


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="cannot be read"):
        seccomp.load(tmp_path / "none.json")


def test_of_two_equal_keys_only_the_one_that_was_checked_goes_on(tmp_path: Path) -> None:
    text = '{"defaultAction": "SCMP_ACT_ALLOW", "defaultAction": "SCMP_ACT_ERRNO", "syscalls": []}'
    assert json.loads(seccomp.load(written(tmp_path, text))) == {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": []}
    assert "ALLOW" not in seccomp.load(written(tmp_path, text))


def test_the_table_of_never_allowed_calls_agrees_with_the_shipped_profile() -> None:
    names = {name for names in seccomp.NEVER.values() for name in names.split()}
    permitted = {
        name
        for rule in json.loads(DEFAULT.read_text())["syscalls"]
        if rule["action"] in seccomp.PERMITS
        for name in rule["names"]
    }
    assert names & permitted == set()
