"""Another command for an entry: the least of the text is replaced, and the rest stays byte for byte. PURE.

What comes out is read again, and has to mean what was meant and nothing else, or nothing is changed.
"""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

from bulkhead.errors import UnreadableError
from bulkhead.hosts.base import Entry, parsed
from bulkhead.hosts.node import Member, Splice, spliced

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bulkhead.hosts.base import Document

Command = tuple[str, tuple[str, ...]]


def with_commands(document: Document, commands: Sequence[tuple[Entry, Command]]) -> bytes:
    """The file with other commands, and without the variables, of these entries. Raises UnreadableError."""
    wanted, splices = document.root.plain(), list[Splice]()
    for entry, (program, args) in commands:
        words = _words(document, entry)
        values: dict[str, Any] = {words[0]: program, words[1]: list(args)} | ({words[2]: {}} if entry.env else {})
        splices += _splices(document, entry, values)
        _at(wanted, entry.program).update(values)
    data = spliced(document.text, splices).encode("utf-8")
    if parsed(document.file, data).root.plain() != wanted:
        raise _stuck(document, "its form is one that cannot be changed in part")
    return data


def with_originals(current: Document, original: Document, pointers: Sequence[tuple[str, ...]]) -> bytes:
    """The file with the values of another at these places, as they were written there. Raises UnreadableError."""
    wanted, splices = current.root.plain(), list[Splice]()
    for pointer in pointers:
        node, before = current.root.at(pointer), original.root.at(pointer)
        if node is None or before is None or -1 in (node.start, before.start):
            raise _stuck(current, f"{pointer[-1]!r} stands in pieces")
        splices.append(Splice(node.start, node.end, original.text[before.start : before.end]))
        _at(wanted, pointer[:-1])[pointer[-1]] = copy.deepcopy(before.plain())
    data = spliced(current.text, splices).encode("utf-8")
    if parsed(current.file, data).root.plain() != wanted:
        raise _stuck(current, "its form is another one now")
    return data


def _splices(document: Document, entry: Entry, values: Mapping[str, Any]) -> list[Splice]:
    table = document.root.at(entry.program)
    members = table.members if table and table.members else {}
    return [_put(document, members[key], values[key]) for key in values]


def _put(document: Document, member: Member, value: Any) -> Splice:
    """A text, a list of texts or an empty table is written alike in all three formats."""
    node, written = member.node, json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if node.style == "flow":
        return Splice(node.start, node.end, written)
    if node.style == "block":  # a list that begins on the next line can stand less deep than a value may
        return Splice(document.text.index(":", member.end) + 1, node.end, f" {written}")
    if node.start == -1:
        raise _stuck(document, "its variables stand in pieces")
    return Splice(node.start, node.end, "")


def _words(document: Document, entry: Entry) -> tuple[str, str, str]:
    command, args, env = document.file.host.words
    return ("path" if entry.program != entry.pointer else command, args, env)


def _at(tables: Any, pointer: Sequence[str]) -> Any:
    for key in pointer:
        tables = tables[key]
    return tables


def _stuck(document: Document, why: str) -> UnreadableError:
    hint = "nothing in it was; edit it by hand"
    return UnreadableError(f"{document.file.path} cannot be changed", why=why, hint=hint)
