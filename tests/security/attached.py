"""Reads the seccomp filter that the kernel holds for a running process. Takes root, and x86_64 or aarch64.

A runtime may add to a profile or leave something out; this is what is really in force. The process is stopped for the
moment of the reading.
"""

from __future__ import annotations

import ctypes
import os

_PTRACE_DETACH, _PTRACE_SEIZE, _PTRACE_INTERRUPT, _PTRACE_SECCOMP_GET_FILTER = 17, 0x4206, 0x4207, 0x420C
_WALL = 0x4000_0000
_INSTRUCTION = 8

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_libc.ptrace.restype = ctypes.c_long


def _ptrace(request: int, pid: int, address: int = 0, data: int = 0) -> int:
    result: int = _libc.ptrace(request, pid, address, data)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"ptrace {request:#x}: {os.strerror(ctypes.get_errno())}")
    return result


def filter_of(pid: int, place: int = 0) -> bytes:
    """The BPF of the filter at place; 0 is the newest. Raises OSError ENOENT where there is none."""
    _ptrace(_PTRACE_SEIZE, pid)
    try:
        _ptrace(_PTRACE_INTERRUPT, pid)
        os.waitpid(pid, _WALL)
        buffer = ctypes.create_string_buffer(_ptrace(_PTRACE_SECCOMP_GET_FILTER, pid, place) * _INSTRUCTION)
        _ptrace(_PTRACE_SECCOMP_GET_FILTER, pid, place, ctypes.addressof(buffer))
        return buffer.raw
    finally:
        _ptrace(_PTRACE_DETACH, pid)
