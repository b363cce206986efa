"""The command line: one command a file. A command fills a spec, calls what does the work, and prints.

Only the module of the command that is asked for is imported, because a host waits for `run` at every start. Errors
leave here, as three lines at most: what happened, why, and what to do.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from bulkhead import __version__
from bulkhead.errors import BulkheadError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn

# Each module has add_parser(commands), and its parser's `run` default takes the arguments and returns the exit code.
MODULES = {
    "run": "run",
    "call": "call",
    "tools": "call",
    "ps": "sandboxes",
    "stop": "sandboxes",
    "kill": "kill",
    "release": "kill",
    "gc": "sandboxes",
    "approve": "approve",
    "reject": "approve",
    "rollback": "rollback",
    "images": "images",
    "policy": "policy",
    "profile": "profile",
    "secrets": "secrets",
    "trace": "trace",
    "top": "top",
    "audit": "audit",
    "doctor": "doctor",
    "wrap": "wrap",
    "unwrap": "wrap",
    "import": "import_",
    "engine": "engine",
    "completion": "completion",
    "demo": "demo",
}

_EXAMPLES = """to begin with:
  bulkhead doctor                what this machine can enforce
  bulkhead tools time            a first server, in its sandbox
  bulkhead wrap --dry-run        the servers that your hosts have, behind bulkhead
  bulkhead COMMAND --help        each with examples
"""


class _Parser(argparse.ArgumentParser):
    def __init__(self, **options: Any) -> None:
        # Examples keep their lines.
        super().__init__(**{"formatter_class": argparse.RawDescriptionHelpFormatter} | options)

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint=f"see `{self.prog} --help`")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code (INTERFACE: 0 done, 1 tool error, 2 usage ... 130 interrupted)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        # What stands after "--" is a server's command line, and argparse would read flags into it.
        own, command = arguments, []
        if "--" in arguments:
            own, command = arguments[: arguments.index("--")], arguments[arguments.index("--") + 1 :]
        args = _parser(own).parse_args(own, argparse.Namespace(command=command))
        return int(args.run(args))
    except BulkheadError as error:
        tell(error)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # `bulkhead ps | head`: nobody reads on, which is no error; stderr's flush at exit would fail again.
        sys.stdout = None
        return 0


def say(line: str) -> None:
    """One line for the person, at stderr: stdout belongs to what was asked for."""
    sys.stderr.write(f"bulkhead: {line}\n")
    sys.stderr.flush()


def tell(error: BulkheadError) -> None:
    """What happened, why, and what to do, at stderr."""
    rest = [f"\n  {label:<5}{text}" for label, text in (("why:", error.why), ("do:", error.hint)) if text]
    say(error.what + "".join(rest))


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    description = "Runs MCP servers that nobody has to trust."
    parser = _Parser(prog="bulkhead", description=description, epilog=_EXAMPLES, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"bulkhead {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)
    asked = MODULES.get(arguments[0]) if arguments else None
    for module in dict.fromkeys(MODULES.values()) if asked is None else [asked]:
        import_module(f"bulkhead.cli.{module}").add_parser(commands)
    return parser
