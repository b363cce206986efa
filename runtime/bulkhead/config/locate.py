"""Which line of a TOML text a key stands on: tomllib keeps no positions. PURE.

Only for a text that tomllib has accepted, and only when there is something to report: nothing here judges syntax. A
key inside an inline table or an array has the line of the key that holds it.
"""

from __future__ import annotations

import re
import tomllib

At = tuple[str | int, ...]

_KEY_PART = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_KEY = rf"{_KEY_PART}(?:[ \t]*\.[ \t]*{_KEY_PART})*"
_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_HEADER = re.compile(rf"(\[\[?)[ \t]*({_KEY})[ \t]*\]\]?")
_ASSIGNMENT = re.compile(rf"({_KEY})[ \t]*=")
_VALUE_TOKEN = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'"
    r"|#[^\n]*|[\[{]|[\]}]|\n|[^\"'#\[\]{}\n]+",
    re.DOTALL,
)


def locate(text: str) -> dict[At, int]:
    """The line, counted from 1, of every table and key; tables of an array have their index: ("mounts", 0)."""
    lines: dict[At, int] = {}
    sizes: dict[At, int] = {}
    table: At = ()
    line, counted, position = 1, 0, _end(_BLANK, text, 0)
    while position < len(text):
        line, counted = line + text.count("\n", counted, position), position
        if header := _HEADER.match(text, position):
            table = _table(sizes, header)
            lines[table] = line
            if header[1] == "[[":
                lines.setdefault(table[:-1], line)
            position = header.end()
        elif assignment := _ASSIGNMENT.match(text, position):
            lines.setdefault((*table, *_names(assignment[1])), line)
            position = _end_of_value(text, assignment.end())
        else:
            return lines
        position = _end(_BLANK, text, position)
    return lines


def line_of(lines: dict[At, int], path: At) -> int:
    """The line of the key, or of the nearest that holds it; 1 where nothing does."""
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return 1


def _names(key: str) -> At:
    """The parts of a dotted key, quotes and escapes read by tomllib itself."""
    names: list[str] = []
    value = tomllib.loads(f"{key} = 0")
    while isinstance(value, dict):
        ((name, value),) = value.items()
        names.append(name)
    return tuple(names)


def _table(sizes: dict[At, int], header: re.Match[str]) -> At:
    """The header's path, with the index of the newest table wherever it goes through an array of tables."""
    path: At = ()
    for name in _names(header[2]):
        path = _newest(sizes, (*path, name))
    if header[1] == "[":
        return path
    array = path[:-1] if isinstance(path[-1], int) else path
    sizes[array] = sizes.get(array, 0) + 1
    return _newest(sizes, array)


def _newest(sizes: dict[At, int], path: At) -> At:
    return (*path, sizes[path] - 1) if path in sizes else path


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position


def _end_of_value(text: str, position: int) -> int:
    depth = 0
    for token in _VALUE_TOKEN.finditer(text, position):
        if token[0] == "\n" and depth == 0:
            return token.start()
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
    return len(text)
