"""Where a secret comes from: each scheme's shape, and that what is refused is not repeated."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.grammar import secret_source

GOOD = [
    "env:TOKEN", "env:_a1",
    "file:/run/token", "file:~/token", "file:/with space/#a",
    "keyring:github", "keyring:github/me", "keyring:a b/me@example.org",
    "vault:secret/app#key", "vault:secret/data/app/v1.2#a b", "vault:cubbyhole#x", "vault:database/creds/..a#password",
    'exec:["pass"]', 'exec:["op","read","op://vault/item/field"]', 'exec:["sh", "-c", "printf \'a\\\\n\'"]',
    "azure:team/app", "azure:team-1/api-key/0123456789abcdef0123456789abcdef",
]  # fmt: skip
BAD = {
    "": "never the value", "hunter2": "never the value", "TOKEN": "never the value", "env": "env:NAME",
    "ENV:TOKEN": "never the value", "http:hunter2": "never the value", " env:TOKEN": "never the value",
    "env:": "env:NAME", "env:hunter-2": "env:NAME", "env:1A": "env:NAME", "env:A\n": "env:NAME", "env:A B": "env:NAME",
    "file:": "file:PATH", "file:hunter2": "file:PATH", "file:~hunter2/x": "file:PATH", "file:/": "file:PATH",
    "file:/hunter2\n": "file:PATH", "file:/hunter2\0": "file:PATH",
    "keyring:": "keyring:SERVICE", "keyring:/me": "keyring:SERVICE", "keyring:hunter2/": "keyring:SERVICE",
    "keyring:a/hunter2/c": "keyring:SERVICE", "keyring:hunter2\n": "keyring:SERVICE",
    "vault:": "vault:PATH#FIELD", "vault:hunter2": "vault:PATH#FIELD", "vault:#hunter2": "vault:PATH#FIELD",
    "vault:hunter2#": "vault:PATH#FIELD", "vault:/a#hunter2": "vault:PATH#FIELD", "vault:a/#b": "vault:PATH#FIELD",
    "vault:a//b#c": "vault:PATH#FIELD", "vault:a/../b#c": "vault:PATH#FIELD", "vault:a/..#c": "vault:PATH#FIELD",
    "vault:./a#c": "vault:PATH#FIELD", "vault:a?b=hunter2#c": "vault:PATH#FIELD", "vault:a#b#c": "vault:PATH#FIELD",
    "vault:a#b\n": "vault:PATH#FIELD",
    "exec:": "exec:[", "exec:hunter2": "exec:[", "exec:[]": "exec:[", 'exec:"hunter2"': "exec:[", "exec:{}": "exec:[",
    'exec:[""]': "exec:[", 'exec:["hunter2",""]': "exec:[", 'exec:["hunter2",1]': "exec:[", "exec:[hunter2]": "exec:[",
    'exec:["a","hunter2\\u0000"]': "exec:[", 'exec:["\\ud800"]': "exec:[", 'exec:["a"]]': "exec:[",
    "exec:" + "[" * 100000 + "]" * 100000: "exec:[",
    "azure:": "azure:VAULT/SECRET", "azure:hunter2": "azure:VAULT/SECRET", "azure:a/b_c": "azure:VAULT/SECRET",
    "azure:team/app/": "azure:VAULT/SECRET", "azure:team/app/1/2": "azure:VAULT/SECRET",
    "azure:team.example/app": "azure:VAULT/SECRET", "azure:team/app?x": "azure:VAULT/SECRET",
    "azure:team/app/v\n": "azure:VAULT/SECRET",
}  # fmt: skip


@pytest.mark.parametrize("source", GOOD)
def test_it_is_taken_as_it_is(source: str) -> None:
    assert secret_source(source) == source


@pytest.mark.parametrize("source", BAD, ids=lambda source: source[:20])
def test_it_is_refused_with_how_it_is_written(source: str) -> None:
    with pytest.raises(ValueError, match=r"^from ") as caught:
        secret_source(source)
    assert BAD[source] in str(caught.value)
    assert "hunter" not in str(caught.value)
    assert caught.value.__context__ is None


@given(st.sampled_from(["", "env:", "file:", "keyring:", "vault:", "exec:", "azure:"]), st.text())
def test_any_text_is_taken_or_refused(scheme: str, text: str) -> None:
    source = scheme + text
    try:
        said = secret_source(source)
    except ValueError as error:
        said = str(error)
        assert said.startswith("from ")
        assert len(text) < 8 or text not in said
    else:
        assert said == source


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1), min_size=1))
def test_any_arguments_are_taken(argv: list[str]) -> None:
    assert secret_source(f"exec:{json.dumps(argv)}")
    assert secret_source(f"exec:{json.dumps(argv, ensure_ascii=False)}".replace("\x7f", " "))
