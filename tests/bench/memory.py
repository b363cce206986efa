"""What a process and its children hold in memory, from the kernel's own sums."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes: rss all that is resident, pss shared pages divided among their users, uss only its own."""

    name: str
    rss: int
    pss: int
    uss: int


def family(pid: int) -> list[Memory]:
    """The process, then its children and theirs."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return [_memory(pid), *(member for child in children for member in family(int(child)))]


def _memory(pid: int) -> Memory:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
    sums = {key: int(value.split()[0]) * 1024 for key, _, value in (line.partition(":") for line in lines)}
    name = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    return Memory(name, sums["Rss"], sums["Pss"], sums["Private_Clean"] + sums["Private_Dirty"])
