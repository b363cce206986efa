"""What is wrong in a document, in the words of the person who wrote it.

Rules: a problem says where (file and line, or the flag), which key, why, and what to write instead; never the value,
which may be a secret.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from bulkhead.errors import ProfileError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import BaseModel, ValidationError

    from bulkhead.config.locate import At

    Where = Callable[[At], str]

_WORDS = {
    "string_type": "it must be a text in quotes",
    "string_unicode": "it must be a text of valid Unicode",
    "int_type": "it must be a whole number",
    "float_type": "it must be a number",
    "bool_type": "it must be true or false",
    "tuple_type": "it must be a list: [ ... ]",
    "dict_type": "it must be a table",
    "model_type": "it must be a table",
    "missing": "it must be given",
    "string_pattern_mismatch": "only letters, digits, '.', '_' and '-' can stand in a name",
    "too_short": "it must not be empty",
    "string_too_short": "it must not be empty",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: the key's path, the reason, and what to do."""

    at: At
    why: str
    hint: str = "docs/profiles.md has every key"
    what: str = "is not valid"

    def error(self, where: Where) -> ProfileError:
        """The exception, with the place."""
        return ProfileError(f"{where(self.at)}: {dotted(self.at)} {self.what}".strip(), why=self.why, hint=self.hint)


def dotted(at: At) -> str:
    """A key's path as a person writes it: mounts[0].target."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{_name(part)}" for part in at)
    return text.removeprefix(".") or "the profile"


def problems_of(error: ValidationError, model: type[BaseModel]) -> list[Problem]:
    """All that pydantic found in a document for the model."""
    return [_problem(found, model) for found in error.errors(include_url=False, include_input=False)]


def _problem(found: Any, model: type[BaseModel]) -> Problem:
    at = (*found["loc"], *found.get("ctx", {}).get("at", ()))
    if found["type"] == "extra_forbidden":
        return _unknown_key(at, _keys(model, at[:-1]))
    return Problem(at, _WORDS.get(found["type"]) or found["msg"].removeprefix("Value error, "))


def _unknown_key(at: At, known: list[str]) -> Problem:
    from difflib import get_close_matches

    near = get_close_matches(str(at[-1]), known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
    return Problem(at, "an unknown key is refused, so that a misspelt limit is never ignored", hint, "is not known")


def _keys(model: type[BaseModel], at: At) -> list[str]:
    """The keys that the table at this path may have."""
    for part in at:
        if isinstance(part, str):
            model = _table(model, part)
    return sorted(field.alias or name for name, field in model.model_fields.items() if name != "name" or at)


def _table(model: type[BaseModel], key: str) -> type[BaseModel]:
    """The model of a key's value, or of its items."""
    from pydantic import BaseModel

    annotation = model.model_fields[key].annotation
    kinds = (annotation, *get_args(annotation))
    return next(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel))


def _name(part: str) -> str:
    """A key of a document can be anything: it is shown as one line of plain text, and not all of a long one."""
    return part if part.isidentifier() and part.isascii() and len(part) < 64 else ascii(part[:64])
