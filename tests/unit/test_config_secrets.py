"""What looks like a secret is refused wherever a profile holds plain text, and ordinary values are not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.config import check_profile, secretlike
from tests.unit.config_cases import write

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("home")

# Made of parts, so that no scanner of repositories takes this file for a leak.
FORMS = {
    "GitHub": "gh" + "p_" + "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8",
    "GitHub fine-grained": "github" + "_pat_" + "11ABCDEFG0abcdefghijkl",
    "OpenAI": "s" + "k-proj-" + "abcdefghijklmnop1234",
    "Anthropic": "s" + "k-ant-" + "api03-abcdefghijklmnop",
    "Slack": "xo" + "xb-" + "1234567890-abcdef",
    "AWS": "AK" + "IA" + "IOSFODNN7EXAMPLE",
    "JWT": "ey" + "JhbGciOiJIUzI1NiJ9.e30.x",
    "private key": "-----BEGIN RSA " + "PRIVATE KEY-----",
    "bearer": "Authorization: Bearer " + "abcdefgh1234",
    "URL": "postgres://user:" + "hunter2@db.example/x",
    "hexadecimal": "0123456789abcdef" * 2,
    "random": "q7Zp2LxV9mT4bWc8RkYs",
}
HARMLESS = [
    "", "info", "/usr/share/zoneinfo/Europe/Berlin", "https://api.example.org/v1/things?x=1", "--local-timezone=UTC",
    "claude-3-5-Sonnet-20241022-v2", "mcpServerEverything2025", "550e8400-e29b-41d4-a716-446655440000",
    "sha256:" + "0123456789abcdef" * 4, "--max-tokens=4096", "a" * 64, "1" * 40,
    "modelcontextprotocol/server-filesystem",
    "--header", "X-Trace: on", "postgres://user@db.example/x", "postgres://user:${PASSWORD}@db.example/x",
    "--experimental-strip-types", "ThisIsALongCamelCaseIdentifier", "GIT_CONFIG_KEY_0=safe.directory",
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("place", ["env", "args", "command"])
def test_refused_wherever_it_stands(form: str, place: str, tmp_path: Path) -> None:
    value = FORMS[form]
    text = {"env": f"env = {{ LEVEL = {json.dumps(value)} }}"}.get(place, f"{place} = [{json.dumps(value)}]")
    path = write(tmp_path, text + "\n")
    spec, errors = check_profile(path)
    assert spec is None
    assert errors[0].what.startswith(f"{path}:3: server.{place}")
    assert errors[0].what.endswith("is refused")
    assert "looks like" in errors[0].why
    name = "LEVEL" if place == "env" else "NAME"
    assert f"`bulkhead secrets set {name}`" in errors[0].hint
    assert f'[[secrets]] with name = "{name}", from = "keyring:{name}"' in errors[0].hint
    assert value not in errors[0].what + errors[0].why + errors[0].hint


@pytest.mark.parametrize(
    "name", ["GITHUB_TOKEN", "API_KEY", "APIKEY", "CLIENT_SECRET", "PASSWORD", "DB_PASSWD", "token"]
)
def test_a_telling_name(name: str) -> None:
    assert list(secretlike.in_env({name: "hunter2"})) == [(name, "a secret, by its name")]
    assert list(secretlike.in_env({name: "/keys/id"})) == []
    for placeholder in ("", "<your token>", "${TOKEN}", "changeme", "xxxx", "your-token-here"):
        assert list(secretlike.in_env({name: placeholder})) == []


@pytest.mark.parametrize(
    "args", [["--api-key=hunter2"], ["--api-key", "hunter2"], ["TOKEN=hunter2"], ["-x", "token: a"]]
)
def test_a_telling_option(args: list[str]) -> None:
    assert [what for _, what in secretlike.in_args(args)] == ["a secret, by its name"]


@pytest.mark.parametrize("value", HARMLESS)
def test_ordinary_values_are_fine(value: str) -> None:
    assert list(secretlike.in_env({"LEVEL": value})) == []
    assert list(secretlike.in_args([value])) == []


@given(st.text(), st.text())
def test_any_text_is_judged(name: str, value: str) -> None:
    assert isinstance(secretlike.in_named(name, value), str)
    assert all(isinstance(what, str) for _, what in secretlike.in_args([name, value]))
