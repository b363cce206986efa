"""Secrets that lie open in the configurations of hosts: in variables, arguments, headers and addresses.

A finding says file, line, server and the variable's name, and how to move it; never the value. What the host fills in
itself (${VAR}, ${input:ID}, $VAR) is no secret; what stands behind it as the default may be one.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bulkhead.config import secretlike
from bulkhead.errors import ProfileError, UnreadableError
from bulkhead.hosts.base import REMOTE, entries, find, line_of_key, program_of, read

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from bulkhead.hosts.base import ConfigFile, Document, Entry

_FILLED_IN = re.compile(r"\$\{[A-Za-z_][\w.:/ -]*?\}|\$[A-Za-z_]\w*|\{\{[^{}]*\}\}")
_DEFAULT = re.compile(r"\$\{[A-Za-z_]\w*:-([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class Finding:
    """what: what it looks like, or why the file could not be read; variable is "" then. hint: what to do."""

    host: str
    path: Path
    line: int
    server: str
    variable: str
    what: str
    hint: str


def plain_secrets(home: Path, project: Path) -> list[Finding]:
    """All that lie in the hosts' files of a home and a project; and the files that could not be looked through."""
    return [finding for file in find(home, project) for finding in _findings(file)]


def require_none_in_plain(environ: Mapping[str, str], home: Path, project: Path) -> None:
    """Raises ProfileError where the entry that started this runner gave it a secret, which stands in a host's file.

    From here a variable of a host's looks as one of the person's own does; but the file has the same name and value.
    """
    suspects = dict(secretlike.in_env(environ))
    for file in find(home, project) if suspects else ():
        with suppress(UnreadableError):
            document = read(file)
            for entry in entries(document):
                ours = program_of(entry.command) == "bulkhead"
                for name in suspects.keys() & entry.env.keys() if ours else ():
                    if entry.env[name] == environ[name]:
                        at = f"{entry.path}:{_line(document, entry, name)}"
                        what = f"{at}: {name} of {entry.name} is refused"
                        raise ProfileError(what, why=f"it looks like {suspects[name]}", hint=_hint(entry, name))


def secrets_in(entry: Entry) -> list[tuple[str, str]]:
    """(variable, what it looks like): the name of a variable or a header, "args[NUMBER]", or the key of the address."""
    named = {**entry.env, **entry.headers}
    found = [(name, what) for name, value in named.items() if (what := _in_named(name, value))]
    found += [(f"args[{index}]", what) for index, what in secretlike.in_args([_own(arg) for arg in entry.args])]
    what = secretlike.in_text(_own(entry.url))
    return [*found, (next(key for key in REMOTE if key in entry.fields), what)] if what else found


def filled_in(value: str) -> bool:
    """Whether the host puts something of its own there."""
    return bool(_FILLED_IN.search(value))


def _in_named(name: str, value: str) -> str:
    """A part of a value is no secret by its name."""
    whole = _DEFAULT.sub(r"\1", value)
    return secretlike.in_text(_own(value)) if filled_in(whole) else secretlike.in_named(name, whole)


def _own(value: str) -> str:
    """What stands there itself, and not what the host puts there."""
    return _FILLED_IN.sub("", _DEFAULT.sub(r"\1", value))


def _findings(file: ConfigFile) -> Iterator[Finding]:
    try:
        document = read(file)
        for entry in entries(document):
            for variable, what in secrets_in(entry):
                line = _line(document, entry, variable)
                yield Finding(entry.host, entry.path, line, entry.name, variable, what, _hint(entry, variable))
    except UnreadableError as error:
        yield Finding(
            file.host.name, file.path, _line_in(error, file.path), "", "", f"not read: {error.why}", error.hint
        )


def _line(document: Document, entry: Entry, variable: str) -> int:
    """Of the variable, or of the list or table that holds it, or of the entry."""
    _, args, env = document.file.host.words
    key = variable.partition("[")[0]
    tables = ((*entry.program, env), *((*entry.pointer, *below) for below in (("headers",), ("http_headers",), ())))
    for table in tables:
        if document.root.at((*table, key)) is not None:
            return line_of_key(document, (*table, key))
    list_ = (*entry.program, args)
    return line_of_key(document, list_) if key == "args" and document.root.at(list_) else entry.line


def _hint(entry: Entry, variable: str) -> str:
    if entry.kind == "remote":
        return "bulkhead does not run what is remote: let the host ask for it, or take it from a variable of its own"
    name = variable if variable.isidentifier() else entry.name
    moved = f'`bulkhead secrets set {name}`, then [[secrets]] with from = "keyring:{name}" in the profile'
    return f"move it: {moved}; and end the old value where it was issued"


def _line_in(error: UnreadableError, path: Path) -> int:
    number = error.what.removeprefix(f"{path}:").partition(":")[0]
    return int(number) if number.isdigit() else 1
