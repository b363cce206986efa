"""What is no secret passes: texts that have what secrets are made of, and this project's own files."""

from __future__ import annotations

import base64
import hashlib
import random
import uuid
from pathlib import Path

import pytest

from bulkhead.policy.leaks import Needles
from tests.policy_leaks import cases

ROOT = Path(__file__).parents[2]
_ANY = random.Random(3)  # noqa: S311 - the same in each run


def digest(number: int, algorithm: str) -> bytes:
    return hashlib.new(algorithm, str(number).encode()).digest()


LOCK = "\n".join(
    f'"node_modules/p{n}": {{"version": "1.{n}.0", "resolved": "https://registry.example.com/p{n}/-/p{n}-1.{n}.0.tgz", '
    f'"integrity": "sha512-{base64.b64encode(digest(n, "sha512")).decode()}"}},'
    for n in range(2000)
)
MINIFIED = "".join(
    f'function {cases.made(2)}(t,e){{var sk=t["ey"+e],AI=/[a-z0-9_-]{{36}}/;return sk-AI?{n}:"{cases.made(9)}"}};'
    for n in range(3000)
)
IMAGE = "data:image/png;base64," + base64.b64encode(_ANY.randbytes(300_000)).decode()
BENIGN = {
    "git log": "\n".join(f"commit {digest(n, 'sha1').hex()}\nAuthor: A <a@example.com>\n" for n in range(2000)),
    "lock file": LOCK,
    "checksums": "\n".join(f"{digest(n, 'sha256').hex()}  file-{n}.tar.gz" for n in range(2000)),
    "UUIDs": "\n".join(str(uuid.UUID(bytes=digest(n, "md5"))) for n in range(2000)),
    "image": IMAGE,
    "image in lines": "\n".join(IMAGE[at : at + 76] for at in range(0, len(IMAGE), 76)),
    "minified": MINIFIED,
    "AWS ids": "AK" + "IA" + cases.made(16, "ABCDEFGH234567") + f" last used by {digest(1, 'sha1').hex()}",
    "docs of GitHub": "Classic tokens start with ghp_ and have 36 more characters, OAuth tokens start with gho_",
    "docs, glued": "ghp_ Tokens of GitHub are 40 Characters long and the last 6 are a Checksum of the others",
    "tasks": "\n".join(f"task-{n} Implement step {n} of the risk-assessment in desk-{n}" for n in range(2000)),
    "styles": ".sk-chase { animation: sk-chase 2.5s infinite linear both } .sk-chase-dot:before { width: 25% }",
    "links": "\n".join(f"[{n}](https://example.com/a/{n}?x=1:2@3) http://localhost:8080/@scope/x" for n in range(2000)),
    "hosts": "git+ssh://git@git.example.com:group/project.git@v1.2.3 https://user@example.com/ sip:a:b@example.com",
    "mac": "AA:AA:AA:00:11:22 " * 500,
    "certificate": "-----BEGIN CERT" + f"IFICATE-----\n{IMAGE[30:900]}\n-----END CERT" + "IFICATE-----",
    "public key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + cases.made(43) + " a@example.com",
    "a key that is not there": "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
    "prose of keys": "A file with -----BEGIN PRIVATE KEY----- in its first line holds a key. Keep it away from others",
    "basic": "Basic internationalization, Basic authentication-and-authorization; Bearer of good news, bearer tokens",
    "unsigned token": "ey" + "JhbGciOiJub25lIn0.eyJzdWIiOiJzb21lb25lIn0.",
    "Azure without a key": "DefaultEndpointsProtocol=https;AccountName=x;EndpointSuffix=core.example.net",
}
# Plainly of documentation. Made of parts all the same.
EXAMPLES = [
    "gh" + "p_" + "x" * 36,
    "gh" + "p_" + "XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX",
    "sk" + "-proj-" + "your-api-key-goes-here-and-is-long-enough-for-it",
    "AK" + "IAIOSFODNN7EXAMPLE wJalrXUtnFEMI/" + "K7MDENG/bPxRfiCYEXAMPLEKEY",
    "sk" + "_test_" + "4eC39HqLyjWDarjt" + "T1zdp7dc",
    "ey" + "JhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9." + "eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIn0." + "S" * 43,
    "Authorization: Bearer <your token>",
    "Authorization: Bearer " + "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9...",
    "Authorization: Basic " + "QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
    "postgres://user:password@localhost/db postgres://postgres:postgres@db/x mysql://root:${DB_PASSWORD}@db/x",
    "https://USERNAME:PASSWORD@git.example.com/x.git https://oauth2:<token>@git.example.com/x.git",
]


@pytest.mark.parametrize("name", BENIGN)
def test_no_false_alarm(name: str) -> None:
    assert cases.passed(BENIGN[name], Needles({"OWN": b"a-secret-of-the-session"}))


@pytest.mark.parametrize("text", EXAMPLES)
def test_no_example_of_documentation(text: str) -> None:
    assert cases.passed(text)


def test_an_example_behind_a_token_hides_nothing() -> None:
    assert not cases.passed(cases.TOKENS["Anthropic"] + "example")
    assert not cases.passed("example " + cases.TOKENS["GitHub"])


@pytest.mark.parametrize("pattern", ["runtime/**/*.py", "docs/*.md", "profiles/**/*.*", "tests/unit/*.py", "*.md"])
def test_no_false_alarm_in_this_project(pattern: str) -> None:
    files = [path for path in ROOT.glob(pattern) if path.is_file()]
    assert files
    for path in files:
        assert cases.passed(path.read_text(encoding="utf-8")), path
