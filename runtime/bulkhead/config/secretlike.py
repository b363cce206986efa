"""What looks like a secret in plain text: in a profile it would lie in a repository, in `inspect` and in logs. PURE.

Rules: what begins like a known form is refused wherever it stands (policy/shapes.py has the forms); a name that says
"password" is refused with any value but an empty one, a placeholder or a path; everything else only when it is as
random as a key. A finding never repeats the value.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from math import log2
from typing import TYPE_CHECKING

from bulkhead.policy import shapes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_FORMS = [(kind, re.compile(form)) for kind, form in shapes.beginnings()]
_TELLING_NAME = re.compile(
    r"(?:^|[_.-])(?:TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|API_?KEY|KEY|CREDENTIALS?|PAT)$", re.IGNORECASE
)
_HARMLESS = re.compile(
    r"(?:|true|false|none|null|x+|\*+|\.+|changeme|placeholder|<[^<>]*>|\$\{\w+\}|your[-_ ].*|/[\w./-]*)", re.IGNORECASE
)
_DIGEST = re.compile(r"sha(?:256|384|512)[:-][A-Za-z0-9+/=]+")
_WORD = re.compile(r"[A-Za-z0-9+_=-]{20,}")
_HEX = re.compile(r"(?<![0-9A-Za-z])[0-9a-fA-F]{32,}(?![0-9A-Za-z])")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_OPTION = re.compile(r"-{0,2}([A-Za-z][A-Za-z0-9_.-]*)\s*[=:]\s*(.*)", re.DOTALL)


def in_text(text: str) -> str:
    """What the text looks like by its form alone; "" for nothing."""
    for kind, form in _FORMS:
        if form.search(text):
            return f"{'an' if kind[0] in 'AOn' else 'a'} {kind}"
    plain = _DIGEST.sub("", _UUID.sub("", text))
    hexadecimal = any(_entropy(word) > 3.0 for word in _HEX.findall(plain))
    return "a random key" if hexadecimal or any(_random(word) for word in _WORD.findall(plain)) else ""


def in_named(name: str, value: str) -> str:
    """The same for a value that has a name: a variable or an option."""
    return _by_name(name, value) or in_text(value)


def in_env(env: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(name, what it looks like) of each variable that is suspect."""
    for name, value in env.items():
        if what := in_named(name, value):
            yield name, what


def in_args(args: Sequence[str]) -> Iterator[tuple[int, str]]:
    """(index, what it looks like) of each argument that is suspect: by itself, as --token=X, or after --token."""
    for index, arg in enumerate(args):
        option = _OPTION.fullmatch(arg)
        before = args[index - 1] if index else ""
        follows = before.startswith("-") and "=" not in before and not arg.startswith("-")
        name, value = (option[1], option[2]) if option else (before.lstrip("-") if follows else "", arg)
        if what := _by_name(name, value) or in_text(arg):
            yield index, what


def _by_name(name: str, value: str) -> str:
    telling = _TELLING_NAME.search(name) and not _HARMLESS.fullmatch(value.strip())
    return "a secret, by its name" if telling else ""


def _random(word: str) -> bool:
    """All three classes of characters, many of them, and changing often: in names and versions they come in runs."""
    classes = [_class(character) for character in word if character.isalnum()]
    changes = sum(one != other for one, other in pairwise(classes))
    return len(set(classes)) == 3 and _entropy(word) > 3.5 and changes > 0.35 * len(classes)


def _class(character: str) -> str:
    return "digit" if character.isdigit() else "upper" if character.isupper() else "lower"


def _entropy(word: str) -> float:
    return -sum(n / len(word) * log2(n / len(word)) for n in Counter(word).values())
