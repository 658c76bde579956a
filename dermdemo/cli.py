"""`python -m dermdemo COMMAND ...`: arguments in, one call, an exit code out.

Every command is a frozen dataclass of its arguments with a `run` method; heavy imports wait inside.
Exit codes: 0 done, 1 something failed (the sentence is on stderr), 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import OmitArgPrefixes, Positional

from dermdemo import RESEARCH_NOTICE
from dermdemo.config import PRESETS, FinetuneConfig, PretrainConfig, RunConfig, SupervisedConfig
from dermdemo.errors import DermdemoError, TrainingError

Source = Annotated[str, tyro.conf.arg(
    metavar="SOURCE", help="Data set: a folder, CSV, zip beside its CSV, parquet shards, or synthetic[:N].")]


@dataclass(frozen=True)
class Pretrain:
    """Stage I: train the VAE (--ae: the plain autoencoder) on unlabelled images."""

    source: Positional[Source]
    config: OmitArgPrefixes[PretrainConfig] = field(default_factory=PretrainConfig)
    out: Path = Path("runs/vae")
    """Run folder: settings, events, checkpoints, grids of reconstructions."""
    resume: bool = False
    """Go on from the last checkpoint in --out."""
    split_seed: int = 0
    """Seed of the split by lesion."""

    def run(self) -> int:
        from dermdemo.training.runs import run_pretrain

        print(run_pretrain(self.source, self.config, self.out, resume=self.resume, split_seed=self.split_seed))
        return 0


@dataclass(frozen=True)
class PretrainSupervised:
    """Pretrain an encoder with labels on any labelled source (the ImageNet stand-in)."""

    source: Positional[Source]
    config: OmitArgPrefixes[SupervisedConfig] = field(default_factory=SupervisedConfig)
    out: Path = Path("runs/supervised")
    """Run folder."""
    resume: bool = False
    """Go on from the last checkpoint in --out."""

    def run(self) -> int:
        from dermdemo.training.runs import run_supervised

        print(run_supervised(self.source, self.config, self.out, resume=self.resume))
        return 0


COMMANDS: dict[str, type[Any]] = {"pretrain": Pretrain, "pretrain-supervised": PretrainSupervised}


def overview() -> str:
    """The list of commands."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {(kind.__doc__ or '').splitlines()[0]}" for name, kind in COMMANDS.items()]
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
    if command == "data" and rest[:1] == ["audit"]:
        command, rest = "data audit", rest[1:]
    if command not in COMMANDS:
        print(f"dermdemo: unknown command '{command}'\n{overview()}", file=sys.stderr)
        raise SystemExit(2)
    config, rest = take_preset(command, rest)
    kind = COMMANDS[command]
    default = None
    if config is not None:
        required = {f.name: tyro.MISSING for f in dataclasses.fields(kind)
                    if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING}
        default = kind(**required, config=config)
    return tyro.cli(kind, args=rest, default=default, prog=f"python -m dermdemo {command}")


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
