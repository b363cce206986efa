"""Compiles a seccomp profile as runc does, and runs the BPF that comes out on one call at a time.

The machine has the instructions that libseccomp writes; any other is an error. Arguments are the six registers of a
call, 64 bits each. A decision is ``ALLOW``, ``KILL`` or the name of an errno. Against a filter that the kernel holds
(`attached.py` of the security tests reads one) run() is the same.
"""

from __future__ import annotations

import errno
import struct
import tempfile
from typing import Any

import pyseccomp

X86_64 = pyseccomp.Arch.X86_64
AARCH64 = pyseccomp.Arch.AARCH64
I386 = pyseccomp.Arch.X86
ARM = pyseccomp.Arch.ARM
X32_BIT = 0x4000_0000

_INSTRUCTION = struct.Struct("<HBBI")
_DATA = struct.Struct("<IIQ6Q")
_LOAD, _AND, _JUMP, _RETURN = 0x20, 0x54, 0x05, 0x06
_COMPARE = {0x15: int.__eq__, 0x25: int.__gt__, 0x35: int.__ge__, 0x45: int.__and__}
_ALLOW = 0x7FFF_0000
_KILLS = (0x8000_0000, 0x0000_0000)
_ERRNO = 0x0005_0000

Program = list[tuple[int, int, int, int]]


def parse(code: bytes) -> Program:
    """Instructions as (code, jump if true, jump if false, constant)."""
    return list(_INSTRUCTION.iter_unpack(code))


def number(arch: int, name: str) -> int | None:
    """A call's number on arch; None where this libseccomp or this architecture has none."""
    try:
        found: int = pyseccomp.resolve_syscall(arch, name)
    except OSError:
        return None
    return found if found >= 0 else None


def name(arch: int, nr: int) -> str | None:
    """A number's call on arch; None where this libseccomp knows none."""
    try:
        found: bytes = pyseccomp.resolve_syscall(arch, nr)
    except (OSError, ValueError):
        return None
    return found.decode()


def build(profile: dict[str, Any], arch: int) -> Program:
    """The filter for one architecture. A name that libseccomp does not know is left out, as runc leaves it out."""
    made = pyseccomp.SyscallFilter(pyseccomp.ERRNO(profile["defaultErrnoRet"]))
    if arch != pyseccomp.system_arch():
        made.add_arch(arch)
        made.remove_arch(pyseccomp.Arch.NATIVE)
    for rule in profile["syscalls"]:
        action = pyseccomp.ALLOW if rule["action"] == "SCMP_ACT_ALLOW" else pyseccomp.ERRNO(rule["errnoRet"])
        args = [pyseccomp.Arg(a["index"], pyseccomp.MASKED_EQ, a["value"], a["valueTwo"]) for a in rule.get("args", ())]
        for name in rule["names"]:
            if number(arch, name) is not None:
                made.add_rule(action, name, *args)
    with tempfile.TemporaryFile() as file:
        made.export_bpf(file)
        file.seek(0)
        return parse(file.read())


def run(program: Program, arch: int, nr: int, *args: int) -> str:
    """What the filter decides of one call."""
    data = _DATA.pack(nr, arch, 0, *args, *[0] * (6 - len(args)))
    at = accumulator = 0
    while True:
        code, if_true, if_false, constant = program[at]
        at += 1
        if code == _LOAD:
            (accumulator,) = struct.unpack_from("<I", data, constant)
        elif code == _AND:
            accumulator &= constant
        elif code == _JUMP:
            at += constant
        elif code in _COMPARE:
            at += if_true if _COMPARE[code](accumulator, constant) else if_false
        elif code == _RETURN:
            return _decision(constant)
        else:
            raise ValueError(f"instruction {code:#x} is not one that libseccomp writes")


def _decision(value: int) -> str:
    if value == _ALLOW:
        return "ALLOW"
    if value in _KILLS:
        return "KILL"
    if value & 0xFFFF_0000 == _ERRNO:
        return errno.errorcode[value & 0xFFFF]
    raise ValueError(f"{value:#x} is no decision of ours")
