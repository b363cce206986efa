"""What credentials look like: the one table of the project. Messages are judged by the whole, profiles by a beginning.

Rules: only what an issuer gave a shape of its own is in the table; nothing is guessed from how random it looks. A Token
is one of its starts, then ``first``, then ``length`` letters or more; a Phrase is a regular expression that begins at
one of its starts. Texts of documentation are no credentials: what has one of _EXAMPLES in its first 64 characters was
issued by nobody.
"""

from __future__ import annotations

import re
from itertools import pairwise, product
from typing import NamedTuple

ALNUM, WORD, DASHED, HEX = "[A-Za-z0-9]", "[A-Za-z0-9_]", "[A-Za-z0-9_-]", "[0-9a-f]"
BASE64 = "[A-Za-z0-9+/=]"


class Token(NamedTuple):
    """One word without spaces. letters: a class of characters; first: what stands before them, as an expression.

    begins: what is enough in a profile; "": the start, and 16 letters. word: no letter and no digit stands before it.
    """

    kind: str
    starts: tuple[str, ...]
    letters: str
    length: int
    first: str = ""
    begins: str = ""
    word: bool = True


class Phrase(NamedTuple):
    """Something with a secret in it. whole: has a group ``secret`` where only a part is one. begins: for a profile.

    word: as a token's. mixed: the secret has to change between letters and digits, as
    keys do and words do not. spaced: there may be blanks or quotes in it, or what
    follows it matters: it is only looked for in the text as it is.
    """

    kind: str
    starts: tuple[str, ...]
    whole: str
    begins: str
    word: bool = True
    mixed: bool = False
    spaced: bool = False


# Discord's tokens begin with a number in base64: what may stand there for its first two digits.
_DISCORD = tuple("".join(letters) for letters in product("MNO", "DTjz", "AEIMQUYcgk"))
# In a private key, and how JSON writes it.
_BREAK = r"(?:\s|\\+[nr])"
_SCHEMES = ("postgres", "postgresql", "mysql", "mariadb", "mongodb", "mongodb+srv", "redis", "amqp")

TOKENS = (
    Token("GitHub token", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), ALNUM, 36, word=False),
    Token("GitHub token", ("github_pat_",), WORD, 82, word=False),
    Token("GitLab token", ("glpat-", "gldt-", "glrt-", "glcbt-", "glptt-", "glft-", "glsoat-"), DASHED, 20, word=False),
    Token("Slack token", tuple(f"xox{letter}-" for letter in "abeoprs"), "[A-Za-z0-9-]", 23, "[0-9]", word=False),
    Token("Slack token", ("xapp-",), "[A-Za-z0-9-]", 23, "[0-9]", word=False),
    Token("Slack webhook", ("hooks.slack.com/services/",), ALNUM, 20, "T[A-Z0-9]{6,12}/B[A-Z0-9]{6,12}/", word=False),
    Token("Anthropic key", ("sk-ant-",), DASHED, 40),
    Token("OpenAI key", ("sk-proj-", "sk-svcacct-", "sk-admin-", "sk-or-v1-"), DASHED, 40),
    Token("API key", ("sk-",), ALNUM, 32, begins=r"\bsk-[A-Za-z0-9_-]{16}"),
    Token("Google key", ("AIza",), DASHED, 35),
    Token("Google token", ("ya29.",), DASHED, 30),
    Token("Google secret", ("GOCSPX-",), DASHED, 28),
    Token("Stripe key", ("sk_live_", "sk_test_", "rk_live_", "rk_test_"), ALNUM, 24),
    Token("Stripe secret", ("whsec_",), ALNUM, 32),
    Token("npm token", ("npm_",), ALNUM, 36, word=False),
    Token("PyPI token", ("pypi-AgE",), DASHED, 50, word=False),
    Token("Hugging Face token", ("hf_",), ALNUM, 34),
    Token("SendGrid key", ("SG.",), DASHED, 43, DASHED + r"{22}\."),
    Token("Twilio key", ("SK",), HEX, 32),
    Token("Discord token", _DISCORD, DASHED, 27, DASHED + r"{21,23}+\." + DASHED + r"{6}\."),
    Token(
        "Discord webhook",
        ("discord.com/api/webhooks/", "discordapp.com/api/webhooks/"),
        DASHED,
        60,
        "[0-9]{17,20}/",
        word=False,
    ),
    Token("Azure storage key", ("AccountKey=",), BASE64, 88, word=False),
    Token("Azure access key", ("SharedAccessKey=",), BASE64, 44, word=False),
    Token("Vault token", ("hvs.", "hvb."), DASHED, 24),
    Token("DigitalOcean token", ("dop_v1_", "doo_v1_", "dor_v1_"), HEX, 64, word=False),
    Token(
        "JSON Web Token",
        ("eyJ", "eyJhbGciOi", "eyJ0eXAiOi", "eyJraWQiOi"),  # the longer ones are known in other encodings, too
        DASHED,
        43,
        DASHED + r"{8,1024}+\.eyJ" + DASHED + r"{8,16384}+\.",
        r"\beyJ[A-Za-z0-9_-]{8}",
    ),
)
PHRASES = (
    Phrase(
        "private key",
        ("-----BEGIN ",),
        r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
        rf"(?:{_BREAK}*[A-Za-z-]{{1,30}}: [^\n\\]{{1,80}})*+(?:{_BREAK}*[A-Za-z0-9+/]{{40,16384}}+={{0,2}})++"
        rf"(?:{_BREAK}*[A-Za-z0-9+/]{{0,39}}={{0,2}}{_BREAK}*(?:=[A-Za-z0-9+/]{{4}}{_BREAK}*)?"
        r"-----END [A-Z0-9 ]{0,40}-----)?",
        r"-----BEGIN [A-Z ]*PRIVATE KEY",
        word=False,
        spaced=True,
    ),
    Phrase(
        "AWS secret key",
        ("AKIA", "ASIA"),
        r"A[KS]IA[A-Z2-7]{16}(?![A-Za-z0-9])[\s\S]{1,160}?(?<![A-Za-z0-9/+])"
        r"(?=[a-z0-9/+]{0,39}[A-Z])(?=[A-Z0-9/+]{0,39}[a-z])"
        r"(?P<secret>[A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])",
        r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12}",
        mixed=True,
        spaced=True,
    ),
    Phrase(
        "AWS secret key",
        ("aws_secret_access_key", "AWS_SECRET_ACCESS_KEY", "SecretAccessKey", "secretAccessKey"),
        r"[A-Za-z_]+\\?[\"']?\s*[=:>]\s*\\?[\"']?(?P<secret>[A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])",
        r"\b(?i:aws_secret_access_key|SecretAccessKey)[\"']?\s*[=:]\s*[\"']?[A-Za-z0-9/+]{16}",
        spaced=True,
    ),
    Phrase(
        "Telegram token",
        (":AA",),
        r"(?<=[0-9]{8}):AA[A-Za-z0-9_-]{33}",
        r"\b[0-9]{8,10}:AA[A-Za-z0-9_-]{16}",
        word=False,
    ),
    Phrase(
        "Authorization header",
        ("Authorization", "authorization", "AUTHORIZATION", "Bearer ", "bearer ", "Basic "),
        r"(?:(?i:authorization)[\"'\\]{0,3}\s{0,4}[:=]\s{0,4}[\"'\\]{0,3}(?:(?i:bearer|basic|token)\s{1,4})?"
        r"|(?i:bearer|basic)\s{1,4})(?P<secret>[A-Za-z0-9._~+/=-]{16,4096}+)",
        r"\b(?i:bearer|basic)\s+[A-Za-z0-9._~+/=-]{8}",
        mixed=True,
        spaced=True,
    ),
    Phrase(
        "URL password",
        ("://", *(f"{scheme}://" for scheme in _SCHEMES)),
        r"[a-z+]{0,20}://(?P<user>[^\s:/@\"'`<>{}$?#]{0,128}):(?P<secret>[^\s/@\"'`<>{}$]{6,256})@[A-Za-z0-9\[]",
        r"[A-Za-z][A-Za-z0-9+.-]*://[^/\s:@]*:(?![<$])[^/\s@]+@",
        word=False,
    ),
)
# The last are of vendors' documentation: Azurite's account, Stripe's and jwt.io's examples, RFC 7617's user.
_EXAMPLES = (
    *(b"example", b"placeholder", b"changeme", b"redacted", b"insert", b"your-", b"your_", b"_here", b"..."),
    *(b"xxxxx", b"***", b"0000000", b"12345678", b"abcdefgh"),
    *(b"eby8vdm02xnocqfl", b"4ec39hqlyjwdarjt", b"bqokikjovbii2hlw", b"eyjzdwiioiixmjm0nty3odkw"),
    *(b"qwxhzgrpbjpvcgvu", b"dxnlcm5hbwu6cgfzc3dvcmq", b"dxnlcjpwyxnz"),
)
# What is written for a password in documentation and in examples of compose files.
_NO_PASSWORD = re.compile(
    rb"(?:my|your|db|the|user)?[-_]?(?:password|passwd|passphrase|secret|postgres|token|pass[0-9]*)"
)


def example(secret: bytes, user: bytes = b"") -> bool:
    """Whether it is plainly one of documentation."""
    text = secret[:64].lower()
    if any(word in text for word in _EXAMPLES):
        return True
    return secret == user or _NO_PASSWORD.fullmatch(text) is not None


_CLASSES = bytes(
    1 if chr(code).isdigit() else 2 if chr(code).isupper() else 3 if chr(code).islower() else 0
    for code in (*range(128), *[0] * 128)
)


def mixed(word: bytes) -> bool:
    """Whether it changes between capitals, small letters and digits as often as keys do, or has many digits."""
    classes = word[:256].translate(_CLASSES, b"+/=._~-")
    changes = sum(one != other for one, other in pairwise(classes))
    return changes > 0.25 * len(classes) or classes.count(1) > 0.3 * len(classes)


def expression(token: Token) -> str:
    """For a whole one."""
    return _expression(token, token.length)


def beginnings() -> list[tuple[str, str]]:
    """(kind, expression) of what is refused in a profile."""
    short = [(each.kind, each.begins or r"\b" + _expression(each, min(each.length, 16))) for each in TOKENS]
    return [*short, *((each.kind, each.begins) for each in PHRASES)]


def _expression(token: Token, length: int) -> str:
    starts = "|".join(re.escape(start) for start in token.starts)
    return f"(?:{starts}){token.first}{token.letters}{{{length}}}"
