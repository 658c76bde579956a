"""`python -m dermdemo COMMAND ...`: arguments in, one call, an exit code out.

The commands themselves are in `commands`.
Exit codes: 0 done, 1 something failed (the sentence is on stderr), 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import dataclasses
import difflib
import sys
from collections.abc import Sequence
from typing import Any

import tyro

from dermdemo import RESEARCH_NOTICE
from dermdemo.commands import COMMANDS
from dermdemo.config import PRESETS, RunConfig
from dermdemo.errors import DermdemoError, TrainingError


def overview(family: str = "") -> str:
    """The list of commands; of a `family` such as ``jobs`` those that begin with it."""
    shown = {name: kind for name, kind in COMMANDS.items() if not family or name.startswith(f"{family} ")}
    width = max(map(len, shown))
    lines = [f"  {name:<{width}}  {(kind.__doc__ or '').splitlines()[0]}" for name, kind in shown.items()]
    return "\n".join(["usage: python -m dermdemo COMMAND ... (--help after a command lists its options)", "",
                      *lines, "", RESEARCH_NOTICE])


def take_preset(command: str, args: list[str]) -> tuple[RunConfig | None, list[str]]:
    """Take ``--preset NAME`` out of the arguments; its values become the defaults of the rest.

    Raises:
        SystemExit: code 2, the preset is unknown.
    """
    for k, arg in enumerate(args):
        flag, _, name = arg.partition("=")
        if flag != "--preset":
            continue
        used = 1 if name else 2
        name = name or (args[k + 1] if k + 1 < len(args) else "")
        presets = PRESETS.get(command, {})
        if name not in presets:
            print(f"dermdemo: unknown preset '{name}' for {command}; known: {', '.join(presets) or 'none'}.",
                  file=sys.stderr)
            raise SystemExit(2)
        return presets[name].config, args[:k] + args[k + used:]
    return None, args


def parse(argv: Sequence[str]) -> Any:
    """Arguments -> the command's dataclass. Raises SystemExit 0 for help, 2 for wrong usage."""
    command, rest = argv[0], list(argv[1:])
    if rest and f"{command} {rest[0]}" in COMMANDS:  # a command of two words
        command, rest = f"{command} {rest[0]}", rest[1:]
    if command not in COMMANDS:
        raise SystemExit(_no_command(command, rest))
    config, rest = take_preset(command, rest)
    kind = COMMANDS[command]
    default = None
    if config is not None:
        required = {f.name: tyro.MISSING for f in dataclasses.fields(kind)
                    if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING}
        default = kind(**required, config=config)
    return tyro.cli(kind, args=rest, default=default, prog=f"python -m dermdemo {command}")


def _no_command(word: str, rest: list[str]) -> int:
    """Help for a family of commands, or what may have been meant; the exit code."""
    family = any(name.startswith(f"{word} ") for name in COMMANDS)
    if family and rest[:1] in (["-h"], ["--help"]):
        print(overview(word))
        return 0
    if family:
        said = f"'{word}' needs a second word" if not rest else f"unknown command '{word} {rest[0]}'"
        print(f"dermdemo: {said}\n{overview(word)}", file=sys.stderr)
        return 2
    near = difflib.get_close_matches(word, COMMANDS, n=1)
    meant = f"; did you mean '{near[0]}'?" if near else ""
    print(f"dermdemo: unknown command '{word}'{meant}\n{overview()}", file=sys.stderr)
    return 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the return value is the exit code."""
    args = list(sys.argv[1:] if argv is None else argv)
    if not args or args[0] in ("-h", "--help"):
        print(overview())
        return 0 if args else 2
    try:
        return int(parse(args).run())
    except SystemExit as stop:
        return int(stop.code or 0)
    except DermdemoError as error:
        print(f"dermdemo: {error}", file=sys.stderr)
        return 130 if isinstance(error, TrainingError) and error.reason == "interrupted" else 1
    except KeyboardInterrupt:
        return 130
