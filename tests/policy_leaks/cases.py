"""Messages, and secrets that are made when a test runs: no scanner of repositories takes these files for a leak."""

from __future__ import annotations

import json
import random
import string
from base64 import b64encode
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from bulkhead.policy import leaks
from bulkhead.policy.verdict import ALLOW, Context, Deny, Rewrite
from bulkhead.spec import Guards, Server, ServerSpec
from bulkhead.wire.messages import Answer, Request, encode, parse

if TYPE_CHECKING:
    from bulkhead.policy.leaks import Needles
    from bulkhead.policy.verdict import Verdict

_ANY = random.Random(7)  # noqa: S311 - the same in each run


def made(length: int, letters: str = string.ascii_letters + string.digits) -> str:
    """Characters as in a key."""
    return "".join(_ANY.choice(letters) for _ in range(length))


LETTERS = frozenset(string.ascii_letters + string.digits + string.punctuation) - frozenset("'\"`")
_DASHED = string.ascii_letters + string.digits + "_-"
_HEX = string.digits + "abcdef"
_UPPER = string.ascii_uppercase + "234567"
_JWT = [b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({"alg": "HS256"}, {"sub": "someone"})]
# Each as its issuer makes it.
TOKENS = {
    "GitHub": "gh" + "p_" + made(36),
    "GitHub app": "gh" + "s_" + made(36),
    "GitHub fine-grained": "github" + "_pat_" + made(22) + "_" + made(59),
    "GitLab": "gl" + "pat-" + made(20, _DASHED),
    "Slack": "xo" + "xb-" + f"{made(12, string.digits)}-{made(12, string.digits)}-{made(24)}",
    "Slack app": "xa" + "pp-1-" + f"{made(11, _UPPER)}-{made(13, string.digits)}-{made(64, _HEX)}",
    "Slack webhook": "hooks.slack" + ".com/services/" + f"T{made(8, _UPPER)}/B{made(8, _UPPER)}/{made(24)}",
    "Anthropic": "sk" + "-ant-api03-" + made(93, _DASHED),
    "OpenAI": "sk" + "-proj-" + made(74, _DASHED) + "T3Blbk" + "FJ" + made(74, _DASHED),
    "OpenAI before": "sk" + "-" + made(48),
    "OpenRouter": "sk" + "-or-v1-" + made(64, _HEX),
    "Google": "AI" + "za" + made(35, _DASHED),
    "Google OAuth": "ya" + "29." + made(60, _DASHED),
    "Google client": "GOC" + "SPX-" + made(28, _DASHED),
    "Stripe": "sk" + "_live_" + made(24),
    "Stripe restricted": "rk" + "_test_" + made(24),
    "Stripe webhook": "whs" + "ec_" + made(32),
    "npm": "npm" + "_" + made(36),
    "PyPI": "pypi" + "-AgE" + made(150, _DASHED),
    "Hugging Face": "h" + "f_" + made(34),
    "SendGrid": "S" + "G." + made(22, _DASHED) + "." + made(43, _DASHED),
    "Twilio": "S" + "K" + made(32, _HEX),
    "Discord": "MTIz" + "NDU2Nzg5MDEyMzQ1Njc4" + "." + made(6) + "." + made(38, _DASHED),
    "Discord webhook": "discord" + f".com/api/webhooks/{made(18, string.digits)}/{made(68, _DASHED)}",
    "Azure storage": "Account" + "Key=" + made(86) + "==",
    "Azure bus": "SharedAccess" + "Key=" + made(43) + "=",
    "Vault": "hv" + "s." + made(90, _DASHED),
    "DigitalOcean": "dop" + "_v1_" + made(64, _HEX),
    "JWT": ".".join((*_JWT, made(43, _DASHED))),
}
_AWS = "a1/" + made(37)
_KEY = "\n".join(made(64) for _ in range(12)) + "\n" + made(30) + "=="
# (text, what of it has to go)
PHRASES = {
    "private key": ("-----BEGIN RSA PRIV" + f"ATE KEY-----\n{_KEY}\n-----END RSA PRIV" + "ATE KEY-----", _KEY[:200]),
    "private key in JSON": (
        json.dumps("-----BEGIN PRIV" + f"ATE KEY-----\n{_KEY}\n-----END PRIV" + "ATE KEY-----"),
        _KEY[:64],
    ),
    "private key, encrypted": (
        "-----BEGIN RSA PRIV"
        + f"ATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,{made(32, _HEX)}\n\n{_KEY}",
        _KEY[:64],
    ),
    "AWS": ("AK" + f"IA{made(16, _UPPER)},{_AWS}", _AWS),
    "AWS in a file": ("aws_secret" + f"_access_key = {_AWS}\n", _AWS),
    "AWS in JSON": (json.dumps({"SecretAccess" + "Key": _AWS}), _AWS),
    "Telegram": (made(10, string.digits) + ":A" + "A" + (_BOT := made(33, _DASHED)), _BOT),
    "bearer": ("curl -H 'Authoriza" + f"tion: Bearer {(_BEARER := made(40, _HEX))}'", _BEARER),
    "basic": ("Authoriza" + f"tion: Basic {(_BASIC := b64encode(made(20).encode()).decode())}", _BASIC),
    "header in JSON": (json.dumps({"authoriza" + "tion": (_OWN := made(32))}), _OWN),
    "database": ("postgres" + f"://app:{(_PASSWORD := made(16))}@db.example.com/x", _PASSWORD),
    "driver": ("postgresql+psycopg2" + f"://app:{_PASSWORD}@db.example.com/x", _PASSWORD),
    "no user": ("redis" + f"://:{_PASSWORD}@10.0.0.7:6379/0", _PASSWORD),
    "git": ("https" + f"://oauth2:{_PASSWORD}@git.example.com/x.git", _PASSWORD),
}


_SEPARATORS = (" ", "\n", "\u200b", '"', "' '", "\u00ad")


def _lines(text: str) -> list[str]:
    return [text[at : at + 20] for at in range(0, len(text), 20)]


def disguises(value: str) -> dict[str, str]:
    """In all forms that are promised for values that are known."""
    data = value.encode()
    return {
        "plain": value,
        **{f"base64 at {n}": b64encode(b"x" * n + data + b" and more").decode() for n in range(3)},
        "base64 for URLs": b64encode(b"??>" + data).decode().replace("+", "-").replace("/", "_"),
        "base64 in lines": "\n".join(_lines(b64encode(b"see: " + data).decode())),
        "hex": data.hex(),
        "HEX": data.hex().upper(),
        "percent": quote(value, safe=""),
        "percent, all of it": "".join(f"%{byte:02x}" for byte in data),
        "JSON": json.dumps(value)[1:-1],
        "reversed": value[::-1],
        **{f"cut by {each!r}": each.join((value[:5], value[5:9], value[9:])) for each in _SEPARATORS},
        "letter by letter": " ".join(value),
        "tagged": "\U000e0041".join(value),
    }  # fmt: skip


def context(method: str = "tools/call", needles: Needles | None = None, **guards: Any) -> Context:
    spec = ServerSpec(name="test", server=Server(package="npm:x@1.0.0"), guards=Guards(**guards))
    return Context(spec, method, "read", needles=needles)


def answer(result: dict[str, Any]) -> Answer:
    message = parse(encode({"jsonrpc": "2.0", "id": 1, "result": result, "extra": [1]}))
    assert isinstance(message, Answer)
    return message


def said(*texts: str, **others: Any) -> Answer:
    """A tool's result."""
    return answer({"content": [{"type": "text", "text": text} for text in texts]} | others)


def asked(arguments: Any, method: str = "tools/call", **others: Any) -> Request:
    params = {"name": "read", "arguments": arguments} | others
    message = parse(encode({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
    assert isinstance(message, Request)
    return message


def rewritten(verdict: Verdict) -> dict[str, Any]:
    """The result that goes on; its bytes say the same."""
    assert isinstance(verdict, Rewrite)
    message = verdict.message
    assert isinstance(message, Answer)
    assert parse(message.raw) == message
    assert json.loads(message.raw)["extra"] == [1]
    assert message.result is not None
    return message.result


def texts(verdict: Verdict) -> list[str]:
    """Those that go on."""
    return [item["text"] for item in rewritten(verdict)["content"]]


def denial(verdict: Verdict) -> Any:
    assert isinstance(verdict, Deny)
    return verdict.error


def passed(text: str, needles: Needles | None = None) -> bool:
    return leaks.results(said(text), context(needles=needles)) is ALLOW
