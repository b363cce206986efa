"""exec: - real programs, good ones and bad ones."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bulkhead.credentials.base import MOST
from bulkhead.credentials.exec import ExecProvider
from bulkhead.errors import SecretError
from tests.conftest import until


def of(*argv: str, timeout: float = 20.0) -> ExecProvider:
    return ExecProvider(f"exec:{json.dumps(argv)}", timeout)


def sh(script: str, timeout: float = 20.0) -> ExecProvider:
    return of("sh", "-c", script, timeout=timeout)


def python(program: str, timeout: float = 20.0) -> ExecProvider:
    return of(sys.executable, "-c", program, timeout=timeout)


def refusal(provider: ExecProvider) -> SecretError:
    with pytest.raises(SecretError) as caught:
        provider.fetch()
    return caught.value


def test_what_a_program_prints() -> None:
    fetched = of("printf", "%s\\n", "a b").fetch()
    assert (fetched.value, fetched.seconds, fetched.renew, fetched.revoke) == (b"a b", None, None, None)
    assert sh("printf 'a\\n\\n'").fetch().value == b"a\n"
    assert sh(f"head -c {MOST} /dev/zero | tr '\\0' a; echo").fetch().value == b"a" * MOST


def test_there_is_no_shell(canary: str) -> None:
    assert of("echo", "$HOME", ";", "true").fetch().value == b"$HOME ; true"


def test_it_has_the_environment_but_neither_stdin_nor_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BULKHEAD_TEST_SECRET", "of the runner")
    assert sh('echo "$BULKHEAD_TEST_SECRET"').fetch().value == b"of the runner"
    assert sh("readlink /proc/self/fd/0").fetch().value == b"/dev/null"
    assert python("import os\ntry: os.open('/dev/tty', 2)\nexcept OSError as e: print(e.strerror)").fetch().value == (
        b"No such device or address"
    )


def test_it_does_not_read_what_the_host_says() -> None:
    program = (
        "from bulkhead.credentials.exec import ExecProvider\n"
        "try: ExecProvider('exec:[\"cat\"]').fetch()\nexcept Exception as error: print(error.why)"
    )
    done = subprocess.run([sys.executable, "-c", program], input=b"a frame", stdout=-1, timeout=30, check=True)
    assert done.stdout == b"it is empty\n"


def test_it_has_none_of_the_runners_files() -> None:
    assert (
        python("import os; print(*sorted(int(n) for n in os.listdir('/proc/self/fd'))[:4])").fetch().value == b"0 1 2 3"
    )


def test_a_program_that_fails_says_why() -> None:
    error = refusal(sh("echo first >&2; printf 'no \\033[31msuch\\a item\\n\\n' >&2; exit 3"))
    assert error.why == "it ended with exit code 3: no [31msuch item"
    assert error.what == 'the secret at exec:["sh", ...] is not available'
    assert refusal(of("false")).why == "it ended with exit code 1"
    assert refusal(sh("kill -9 $$")).why == "it was ended by signal 9"


def test_what_it_says_is_bounded() -> None:
    why = refusal(python("import sys; sys.stderr.write('x' * 10**6); sys.exit(1)")).why
    assert why == "it ended with exit code 1: " + "x" * 200


@pytest.mark.parametrize(
    "said", ["%s", "key: %s!", "'%s'", "%s%s", "\033[1m%s\033[0m", "x" * 190 + "%s", "http://me:%s@host/"]
)
@pytest.mark.parametrize("printed", ["%s", "%s\n", "username=me\npassword=%s\n", "<%s>"])
def test_what_it_says_has_nothing_of_what_it_prints(canary: str, said: str, printed: str) -> None:
    say, show = said.replace("%s", canary), printed.replace("%s", canary)
    error = refusal(python(f"import sys; sys.stdout.write({show!r}); sys.stderr.write({say!r}); sys.exit(1)"))
    assert not any(canary[at : at + 4] in error.why for at in range(len(canary) - 3))


def test_what_cannot_be_started(tmp_path: Path) -> None:
    assert refusal(of("bulkhead-no-such-program")).why == "it cannot be started: No such file or directory"
    assert refusal(of(str(tmp_path))).why == "it cannot be started: Permission denied"


def test_a_late_program_ends_with_its_children(tmp_path: Path) -> None:
    script = f"sleep 60 & echo $! > {tmp_path}/child; echo $$ > {tmp_path}/self; echo half; wait"
    begun = time.monotonic()
    assert refusal(sh(script, timeout=0.5)).why == "no answer came within 0.5 s"
    assert time.monotonic() - begun < 3
    until(lambda: not any(alive(tmp_path / name) for name in ("self", "child")), 5)


def alive(path: Path) -> bool:
    """Whether the process whose id the file has runs: one that has ended may wait for its parent."""
    try:
        state = Path(f"/proc/{path.read_text().strip()}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_program_that_floods_is_stopped() -> None:
    assert refusal(of("yes")).why == "it printed more than 64 KiB"
    assert refusal(sh("yes >&2", timeout=0.5)).why == "no answer came within 0.5 s"


def test_a_program_that_closes_its_stdout_is_still_waited_for() -> None:
    begun = time.thread_time()
    assert refusal(sh("echo a; exec >&- 2>&-; sleep 60", timeout=0.5)).why == "no answer came within 0.5 s"
    assert time.thread_time() - begun < 0.2
    assert sh("echo a; exec >&- 2>&-; sleep 0.2").fetch().value == b"a"


def test_what_it_leaves_running_is_not_waited_for(tmp_path: Path) -> None:
    begun = time.monotonic()
    assert sh(f"sleep 5 & echo $! > {tmp_path}/child; echo value").fetch().value == b"value"
    assert time.monotonic() - begun < 3
    assert alive(tmp_path / "child")
    os.kill(int((tmp_path / "child").read_text()), 9)


def test_nothing_and_a_nul() -> None:
    assert refusal(of("true")).why == "it is empty"
    assert refusal(of("echo")).why == "it is empty"
    assert "NUL" in refusal(of("printf", "a\\0b")).why


def test_nothing_is_left_open() -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a folder that changes while it is read
    for provider in (of("echo", "a"), of("false"), of("yes"), sh("sleep 9", timeout=0.1), of("bulkhead-no-such")):
        try:
            provider.fetch()
        except SecretError:
            continue
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - see above


GIT = "protocol=https\nhost=example.org\nusername=me\npassword=a=b \n"


@pytest.mark.parametrize(
    ("printed", "value"),
    [
        (GIT, "a=b "),
        (GIT.replace("\n", "\r\n"), "a=b "),
        (GIT + "wwwauth[]=Basic\n\n", "a=b "),
        ("username=me\npassword=x", "x"),
        ("password=x\n", "password=x"),
        ("password=x\nother=y\n", "password=x\nother=y"),
        ("username=me\nhost=x\n", "username=me\nhost=x"),
        (GIT + "and more", GIT + "and more"),
    ],
)
def test_the_password_of_gits_credential_protocol(printed: str, value: str) -> None:
    assert of("printf", "%s", printed).fetch().value == value.encode()


def test_a_password_that_expires() -> None:
    def until_then(seconds: float) -> ExecProvider:
        return of("printf", "%s", f"{GIT}password_expiry_utc={int(time.time() + seconds)}\n")

    seconds = until_then(100).fetch().seconds
    assert seconds is not None
    assert 90 < seconds <= 100
    assert refusal(until_then(-100)).why == "it has expired"


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_git_itself(tmp_path: Path, canary: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "credentials"
    store.write_text(f"https://me:{canary}@example.org\n")
    settings = {"CONFIG_NOSYSTEM": "1", "CONFIG_GLOBAL": "/dev/null", "TERMINAL_PROMPT": "0"}
    for name, value in settings.items():
        monkeypatch.setenv(f"GIT_{name}", value)
    fill = f"git -c credential.helper='store --file {store}' credential fill"
    ask = "printf 'protocol=https\\nhost=%s\\n' {} | " + fill
    assert sh(ask.format("example.org")).fetch().value == canary.encode()
    assert "it ended with exit code 128: fatal: could not read Username" in refusal(sh(ask.format("nowhere.test"))).why
