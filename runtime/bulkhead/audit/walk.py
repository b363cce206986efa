"""Follows a chain line by line, and says what is wrong with it and where. PURE.

The same walk verifies a log and a bundle. It goes on after what it finds, so that one edit does not hide another; what
follows the same thing is told as one range. `failed` findings are proof that somebody, or a disk, changed the log;
the others are told, because whoever reads a proof should know how far it goes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from bulkhead.audit.record import START, Link, Sealed, checkpoint_text, hash_of, split
from bulkhead.audit.signing import is_signed, key_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

# What each kind of finding means; those in NOTES are no failure.
KINDS = {
    "edit": "changed: what stands there is not what was hashed",
    "deletion": "missing",
    "reordering": "not in order, or there twice",
    "chain": "does not follow from the record before",
    "seal": "not sealed with this folder's key: written, or chained anew, by somebody without it",
    "signature": "the checkpoint's signature is not for the records before it",
    "key": "signed with another key",
    "truncation": "the end is missing",
    "damage": "no record, and no writer told of it",
    "file": "a file of the log is missing",
    "head": "the head is missing, or was not written by this folder's key",
    "anchor": "not what the anchor says",
    "torn": "cut short when a process or the machine stopped, and told by the next writer",
    "unsigned": "after the last checkpoint: sealed, not signed yet",
    "unproven": "neither signed, nor is the secret key there to check their seals: anybody can have written them",
    "unsealed": "seals were not checked, because the secret key is not there",
}
NOTES = frozenset({"torn", "unsigned", "unsealed"})


@dataclass(frozen=True, slots=True)
class Finding:
    """kind: a key of KINDS. first, last: numbers of records, 0 where there is none. more: what else is known."""

    kind: str
    first: int
    last: int
    more: str = ""

    @property
    def failed(self) -> bool:
        """Whether it is more than a note."""
        return self.kind not in NOTES

    def text(self) -> str:
        """One line for people."""
        where = "" if not self.first else f"record {self.first}: "
        if self.last > self.first:
            where = f"records {self.first} to {self.last}: "
        return f"{where}{KINDS[self.kind]}{': ' * bool(self.more)}{self.more}"

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        found = {"kind": self.kind, "failed": self.failed, "first": self.first, "last": self.last}
        return found | {"text": self.text()}


class Walk:
    """One pass. public: the keys whose signatures count. mac: None where the secret is not there.

    anchors: hashes that are known from elsewhere, by number. at: what the chain begins behind.
    """

    def __init__(
        self,
        public: Iterable[bytes],
        mac: Callable[[str], str] | None,
        *,
        anchors: Mapping[int, str] | None = None,
        at: Link = START,
    ) -> None:
        self.findings: list[Finding] = []
        self.count = self.checkpoints = self.signed = 0
        self.at, self.began = at, at.seq
        self.ends: dict[str, Link] = {}  # what "rotated" records say of files
        self._public = {key_id(key): key for key in public}
        self._mac = mac
        self._anchors = dict(anchors or {})
        self._missing: dict[int, int] = {}
        self._junk: tuple[int, Any] = (0, None)

    def line(self, line: bytes) -> None:
        """The next line, with its newline."""
        sealed = split(line)
        if sealed is None:
            size, hashed = self._junk
            hashed = hashed or sha256()
            hashed.update(line)
            self._junk = size + len(line), hashed
            return
        if self._junk[0]:
            self._judge_junk(sealed)
        self._judge(sealed)

    def skipped(self, seq: int, prev: str, digest: str, own: str) -> None:
        """The next record, of which only its place in the chain is shown."""
        if hash_of(prev, digest) != own:
            self.find("edit", seq)
        self._follow(Link(seq, own), prev)

    def end(self) -> None:
        """There are no more lines."""
        if self._junk[0]:
            self._judge_junk(None)
        for first, last in sorted(self._missing.items()):
            self.find("deletion", first, last)
        if self.at.seq > self.signed:
            self.find("unsigned" if self._mac else "unproven", max(self.signed, self.began) + 1, self.at.seq)
        for seq in sorted(self._anchors):
            self.find("anchor", seq, more="there is no such record")

    def find(self, kind: str, first: int = 0, last: int = 0, more: str = "") -> None:
        """A finding; last: 0 for one record."""
        last = last or first
        before = self.findings[-1] if self.findings else None
        if before and (before.kind, before.last + 1, before.more) == (kind, first, more) and first:
            self.findings[-1] = replace(before, last=last)
        else:
            self.findings.append(Finding(kind, first, last, more))

    def _judge(self, sealed: Sealed) -> None:
        if not sealed.is_whole:
            self.find("edit", sealed.seq)
        if self._mac is not None and self._mac(sealed.hash) != sealed.mac:
            self.find("seal", sealed.seq)
        if sealed.event == "checkpoint":
            self._judge_checkpoint(sealed)
        elif sealed.event == "truncated":
            self._judge_truncated(sealed)
        elif sealed.event == "rotated":
            self.ends[str(sealed.details().get("file"))] = Link(sealed.seq - 1, sealed.prev)
        self._follow(sealed.link, sealed.prev)

    def _follow(self, link: Link, prev: str) -> None:
        self.count += 1
        anchor = self._anchors.pop(link.seq, link.hash)
        if anchor != link.hash:
            self.find("anchor", link.seq)
        if link.seq <= self.at.seq:
            self._late(link.seq)
            return
        if link.seq > self.at.seq + 1:
            self._missing[self.at.seq + 1] = link.seq - 1
        elif prev != self.at.hash:
            self.find("chain", link.seq)
        self.at = link

    def _late(self, seq: int) -> None:
        """A record behind one that came after it; or twice."""
        self.find("reordering", seq)
        for first, last in list(self._missing.items()):
            if first <= seq <= last:
                del self._missing[first]
                if first < seq:
                    self._missing[first] = seq - 1
                if seq < last:
                    self._missing[seq + 1] = last

    def _judge_junk(self, behind: Sealed | None) -> None:
        size, hashed = self._junk
        self._junk = 0, None
        told = behind.details() if behind is not None and behind.event == "torn" else {}
        known = told.get("bytes") == size and told.get("sha256") == hashed.hexdigest()
        self.find("torn" if known else "damage", self.at.seq + 1, more=f"{size} bytes")

    def _judge_checkpoint(self, sealed: Sealed) -> None:
        self.checkpoints += 1
        details = sealed.details()
        key, count, signature = details.get("key"), details.get("count"), details.get("signature")
        public = self._public.get(str(key))
        before = Link(sealed.seq - 1, sealed.prev)
        text = checkpoint_text(before, count if type(count) is int else 0, sealed.time, str(key))
        if public is None:
            self.find("key", sealed.seq, more=f"{str(key)[:16]}, not {', '.join(self._public) or 'one that is known'}")
        elif not is_signed(public, str(signature), text):
            self.find("signature", sealed.seq)
        else:
            self.signed = max(self.signed, sealed.seq)

    def _judge_truncated(self, sealed: Sealed) -> None:
        lost = sealed.details().get("seq")
        if type(lost) is int and lost >= sealed.seq:
            said = f"records {sealed.seq} to {lost} had been written before"
        else:
            said = "the head was gone, or not of this log"
        self.find("truncation", sealed.seq, more=f"{said}, as its writer found at {sealed.time}")
