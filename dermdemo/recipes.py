"""The whole study as one list of commands, each of which is skipped where its result is there.

A recipe is a name that every training command knows as a preset. What is done is told from what lies on disk, so
that the same call goes on where an earlier one was broken off: on another day, or after a crash.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from dermdemo.errors import DermdemoError

Recipe = Literal["gpu", "laptop"]
RECIPES: dict[Recipe, str] = {
    "gpu": "Stage I 270 epochs at 128 px and 30 at 224 px, for the study by SimCLR too, stand-in 30 epochs at 32 px "
           "and 30 at 64 px, arms 50 epochs at 224 px. Sources of fewer pixels, as a 200 x 150 px "
           "copy of HAM10000, are upsampled.",
    "laptop": "Stage I 40 epochs at 64 px and 8 at 128 px, stand-in 12 epochs at 32 px and 3 at 64 px, arms 30 "
              "epochs at 128 px, in the study over seeds at 64 px; for the study also SimCLR, 40 epochs at 64 px.",
}
State = Literal["done", "begun", "to do"]
Call = Callable[[Sequence[str]], int]


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """What is to be reproduced, from what, and where to.

    Attributes:
        source: the lesions; `supervised` the labelled images of the stand-in's classes.
        out: run folders; finished models go to `out`/checkpoints.
        seeds: of the study over seeds; empty leaves it out.
    """

    source: str
    supervised: str
    recipe: Recipe
    out: Path
    seeds: tuple[int, ...]
    encoder: str = "convnext_tiny"
    device: str = "auto"
    resamples: int = 1000

    @property
    def store(self) -> Path:
        """Folder of the finished models."""
        return self.out / "checkpoints"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One command.

    Attributes:
        argv: arguments after ``python -m dermdemo``.
        done: whether its result is there, and of the models that are there now.
        run: run folder of a training step, which goes on with ``--resume``.
    """

    name: str
    argv: tuple[str, ...]
    done: Callable[[], bool]
    run: Path | None = field(default=None)

    def state(self) -> State:
        """What is left of it."""
        if self.done():
            return "done"
        return "begun" if self.run is not None and (self.run / "config.json").exists() else "to do"


def steps(what: Reproduction) -> list[Step]:
    """Every command in its order."""
    store, out = what.store, what.out
    preset = ("--preset", what.recipe)
    common = ("--encoder", what.encoder, "--device", what.device)
    places = ("--store", str(store))

    def train(name: str, *argv: str) -> Step:
        run = out / name
        return Step(name=name, argv=(*argv, *preset, *common, "--out", str(run), *places), run=run,
                    done=lambda: (store / name / "meta.json").exists())

    def evaluate(name: str, key: str) -> Step:
        argv = ("evaluate", str(store / name), what.source, "--out", str(out / name), "--save", "--resamples",
                str(what.resamples), "--device", what.device)
        return Step(name=f"evaluate {name}", argv=argv, done=lambda: key in _metrics(store / name))

    stand_in, study = str(store / "stand-in"), out / "study"
    listed = [
        train("vae", "pretrain", what.source),
        train("stand-in", "pretrain-supervised", what.supervised),
        train("vae-arm", "train", what.source, "--arm", "vae"),
        train("imagenet-arm", "train", what.source, "--arm", "imagenet", "--weights", stand_in),
        evaluate("vae", "reconstruction"), evaluate("vae-arm", "test"), evaluate("imagenet-arm", "test"),
        Step(name="compare", done=lambda: _compared(store),
             argv=("compare", str(out / "vae-arm"), str(out / "imagenet-arm"), "--out", str(out / "comparison"),
                   "--save", str(store), "--resamples", str(what.resamples))),
        Step(name="embed", done=lambda: _mapped(store),
             argv=("embed", what.source, "--checkpoints", str(store), "--no-features", "--device", what.device)),
    ]
    if what.seeds:
        listed.append(train("ssl", "pretrain-ssl", what.source))  # the study takes it up from the store
        listed.append(Step(
            name="study", run=study, done=(study / "study.md").exists,
            argv=("study", what.source, *preset, "--store", str(store), "--weights", stand_in, "--encoder",
                  what.encoder, "--device", what.device, "--out", str(study), "--resamples", str(what.resamples),
                  "--seeds", *map(str, what.seeds))))
    listed.append(Step(name="trim stand-in", argv=("trim", stand_in), done=lambda: _trimmed(store / "stand-in")))
    return listed


def run(what: Reproduction, call: Call | None = None) -> int:
    """Run what is left; the exit code of the first command that fails, else 0."""
    for step in steps(what):
        state = step.state()
        if state == "done":
            print(f"{step.name}: done already", file=sys.stderr)
            continue
        resumes = state == "begun" and "--store" in step.argv and step.name != "study"
        argv = (*step.argv, "--resume") if resumes else step.argv
        print(f"{step.name}: python -m dermdemo {' '.join(argv)}", file=sys.stderr)
        code = (call or _subprocess)(argv)
        if code:
            print(f"'{step.name}' ended with exit code {code}; the same command goes on from there.", file=sys.stderr)
            return code
        if not step.done():
            print(f"'{step.name}' ended well, but its result is not there.", file=sys.stderr)
            return 1
    return 0


def as_text(what: Reproduction) -> str:
    """The list of commands and what is left of each."""
    return "\n".join(f"{step.state():<6} python -m dermdemo {' '.join(step.argv)}" for step in steps(what))


def _subprocess(argv: Sequence[str]) -> int:
    """A process of its own: what one step takes is given back before the next."""
    return subprocess.run([sys.executable, "-m", "dermdemo", *argv]).returncode


def _metrics(folder: Path) -> set[str]:
    from dermdemo.models.checkpoint import load_meta

    return set(load_meta(folder).metrics) if (folder / "meta.json").exists() else set()


def _hashes(store: Path) -> dict[str, str]:
    from dermdemo.models.checkpoint import load_meta

    return {name: load_meta(store / name).sha256 for name in ("vae", "vae-arm", "imagenet-arm")
            if (store / name / "meta.json").exists()}


def _compared(store: Path) -> bool:
    from dermdemo.evaluation.study_record import load_study

    try:
        return load_study(store / "study").matches(_hashes(store))
    except DermdemoError:
        return False


def _mapped(store: Path) -> bool:
    from dermdemo.analysis.atlas_files import read_meta

    found = _hashes(store)
    try:
        atlas = read_meta(store / "atlas")
    except DermdemoError:
        return False
    return (atlas.vae_sha256 == found.get("vae")
            and {arm: a.sha256 for arm, a in atlas.arms.items()} == {
                arm: found.get(f"{arm}-arm") for arm in ("vae", "imagenet")})


def _trimmed(folder: Path) -> bool:
    from dermdemo.models.checkpoint import load_meta

    return (folder / "meta.json").exists() and "top" not in load_meta(folder).files
