"""`bulkhead completion bash|zsh|fish`: a script by which a shell completes commands, options and names.

The scripts ask `bulkhead completion words` at each key, which goes through argparse's own parsers: nothing is listed
twice, and what is installed is what is completed. It asks no engine and reads no profile, so that it is quick.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bulkhead.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_EXAMPLES = """examples:
  bulkhead completion bash > ~/.local/share/bash-completion/completions/bulkhead
  bulkhead completion zsh > ~/.zfunc/_bulkhead      with fpath=(~/.zfunc $fpath) before compinit in ~/.zshrc
  bulkhead completion fish > ~/.config/fish/completions/bulkhead.fish
  source <(bulkhead completion bash)                in this shell alone
"""
# What a script gets in the place of words where the shell itself completes files.
FILES = ":files"
# A shell expands what it is given, so nothing but this is ever a word.
_WORD = re.compile(r"[A-Za-z0-9._:@/-]+", re.ASCII)

_BASH = """_bulkhead() {
    local IFS=$'\\n' current=${COMP_WORDS[COMP_CWORD]}
    local found=($(bulkhead completion words -- "${COMP_WORDS[@]:0:COMP_CWORD+1}" 2>/dev/null))
    if [[ ${found[0]} == :files ]]; then
        compopt -o filenames &>/dev/null
        COMPREPLY=($(compgen -f -- "$current"))
    else
        COMPREPLY=("${found[@]}")
    fi
}
complete -F _bulkhead bulkhead
"""
_ZSH = """#compdef bulkhead
_bulkhead() {
    local -a found
    found=("${(@f)$(bulkhead completion words -- "${(@)words[1,CURRENT]}" 2>/dev/null)}")
    if [[ $found[1] == :files ]]; then
        _files
    elif [[ -n $found[1] ]]; then
        compadd -- $found
    fi
}
compdef _bulkhead bulkhead
"""
_FISH = """function __bulkhead_words
    set -l current (commandline -ct)
    set -l found (bulkhead completion words -- (commandline -opc) "$current" 2>/dev/null)
    if test "$found[1]" = ":files"
        __fish_complete_path "$current"
    else
        printf '%s\\n' $found
    end
end
complete -c bulkhead -f -a '(__bulkhead_words)'
"""
_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def add_parser(commands: Any) -> None:
    """The command."""
    parser = commands.add_parser("completion", help="prints a script for your shell's completion", epilog=_EXAMPLES)
    parser.add_argument("shell", metavar="bash|zsh|fish", help="the shell")
    parser.set_defaults(run=_completion)


def _completion(args: argparse.Namespace) -> int:
    if args.shell == "words":
        typed = args.command[1:] or [""]  # the first is the program's name
        sys.stdout.write("".join(f"{word}\n" for word in words(typed[:-1], typed[-1])))
    elif args.shell in _SCRIPTS:
        sys.stdout.write(_SCRIPTS[args.shell])
    else:
        raise UsageError(f"no script for {args.shell[:80]!r}", hint=f"one of {', '.join(_SCRIPTS)}")
    return 0


def words(typed: Sequence[str], prefix: str) -> list[str]:
    """What can stand behind typed and begins with prefix, sorted; [FILES] for a file."""
    if "--" in typed:
        return []
    from bulkhead.cli import _parser

    action, parser = _expected(_parser(typed), typed)
    candidates = list(_options(parser)) if prefix.startswith("-") and action is None else _values(parser, action, typed)
    if candidates == [FILES]:
        return candidates
    return sorted({word for word in candidates if word.startswith(prefix) and _WORD.fullmatch(word)})


def _expected(parser: argparse.ArgumentParser, typed: Sequence[str]) -> tuple[Any, argparse.ArgumentParser]:
    """(the option whose value is due, or None; the parser of the command that was typed)."""
    due: argparse.Action | None = None
    for word in typed:
        if due is not None:
            due = None
        elif word.startswith("-"):
            due = next((action for action in _taking_values(parser) if word in action.option_strings), None)
        elif below := _commands(parser):
            parser = below.get(word, parser)
    return due, parser


def _values(parser: argparse.ArgumentParser, action: argparse.Action | None, typed: Sequence[str]) -> list[str]:
    """Of an option, or else commands, or else what the next argument may be."""
    if action is None and (below := _commands(parser)):
        return list(below)
    if action is None:
        positionals = [it for it in parser._actions if not it.option_strings and it.help != argparse.SUPPRESS]
        index = _given(parser, typed)
        action = positionals[min(index, len(positionals) - 1)] if positionals else None
        if action is None or (index >= len(positionals) and action.nargs not in ("*", "+")):
            return []
    if action.choices is not None:
        return [str(choice) for choice in action.choices]
    kind = _KINDS.get(action.dest) or _KINDS.get(str(action.metavar or action.dest).upper())
    return list(kind()) if kind else []


def _given(parser: argparse.ArgumentParser, typed: Sequence[str]) -> int:
    """How many arguments of the command stand there already."""
    takes = {option for action in _taking_values(parser) for option in action.option_strings}
    commands = len(parser.prog.split()) - 1
    plain = [word for before, word in zip(["", *typed], typed, strict=False) if before not in takes and word[:1] != "-"]
    return max(0, len(plain) - commands)


def _taking_values(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [action for action in parser._actions if action.option_strings and action.nargs != 0]


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The commands, or parts of one, that a parser has."""
    found = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return next((dict(action.choices) for action in found), {})


def _options(parser: argparse.ArgumentParser) -> Iterable[str]:
    return [
        option
        for action in parser._actions
        if action.help != argparse.SUPPRESS
        for option in action.option_strings
        if option.startswith("--")
    ]


def _profiles() -> list[str]:
    from bulkhead.config import list_profiles

    return [found.name for found in list_profiles(Path.cwd())]


def _sandboxes() -> list[str]:
    from bulkhead.config import state_path
    from bulkhead.sessions import read_sessions

    return [session.sandbox for session in read_sessions(state_path()) if session.sandbox]


def _calls() -> list[str]:
    from bulkhead.approvals import all_waiting
    from bulkhead.config import state_path

    return [call.id for call in all_waiting(state_path())]


def _images() -> list[str]:
    from bulkhead import resources

    ours = [f"bulkhead/{path.name}" for path in resources.folder("images").iterdir() if path.is_dir()]
    return [*ours, *_profiles()]


def _hosts() -> list[str]:
    from bulkhead.hosts.base import HOSTS

    return [host.name for host in HOSTS]


# What an argument is, by the name of its value in the program, or the word that its help has for it.
_KINDS: dict[str, Callable[[], list[str]]] = {
    "call": _calls,
    "names": _images,
    "shell": lambda: list(_SCRIPTS),
    "NAME": _profiles,
    "NAME|ID": lambda: [*_profiles(), *_sandboxes()],
    "ID": _sandboxes,
    "HOST": _hosts,
} | dict.fromkeys(("FILE", "FILE|DIR", "FILE|URL", "FILE.TAR.GZ", "BUNDLE"), lambda: [FILES])
