"""What stands for a secret: its shape, and nothing else of it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.credentials.placeholder import SHORTEST, placeholder_for
from bulkhead.errors import SecretError

LETTERS = "abcDEF0123456789xyzXYZ"
ISSUERS = {
    "GitHub": (f"ghp_{LETTERS}", r"ghp_[a-z]{3}[A-Z]{3}[0-9]{10}[a-z]{3}[A-Z]{3}"),
    "GitHub's new": (f"github_pat_{LETTERS}_{LETTERS}", r"github_pat_\w{22}_\w{22}"),
    "Anthropic": (f"sk-ant-{LETTERS}", r"sk-ant-\w{22}"),
    "Slack": (f"xoxb-12345678-{LETTERS}", r"xoxb-[0-9]{8}-\w{22}"),
    "a UUID": ("01234567-89ab-cdef-0123-456789abcdef", r"[0-9a-z]{8}(-[0-9a-z]{4}){3}-[0-9a-z]{12}"),
    "a JSON Web Token": (f"eyJ{LETTERS}.{LETTERS}.{LETTERS}", r"eyJ\w{22}\.\w{22}\.\w{22}"),
}


@pytest.mark.parametrize("issuer", ISSUERS)
def test_it_has_the_shape_of_its_secret(issuer: str) -> None:
    value, shape = ISSUERS[issuer]
    placeholder = placeholder_for("TOKEN", value.encode()).decode()
    assert re.fullmatch(shape, placeholder)
    assert len(placeholder) == len(value)


@given(st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=24))
def test_nothing_of_the_secret_is_in_it(value: str) -> None:
    placeholder = placeholder_for("TOKEN", b"/" + value.encode())
    assert not any(value[at : at + 12].encode() in placeholder for at in range(len(value) - 11))


def test_each_is_another() -> None:
    assert len({placeholder_for("TOKEN", b"correct-horse-battery") for _ in range(20)}) == 20


@pytest.mark.parametrize(
    "value", [b"x" * (SHORTEST - 1), b"two words of it", "geheimnis-für-dich".encode(), b"line\nline line"]
)
def test_what_no_header_may_hold_or_chance_would_find_has_none(value: bytes) -> None:
    with pytest.raises(SecretError, match="the secret TOKEN cannot be injected") as caught:
        placeholder_for("TOKEN", value)
    assert "shorter than 12" in caught.value.why
    assert value.decode() not in f"{caught.value!r}{caught.value.why}{caught.value.hint}"
