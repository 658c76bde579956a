"""The commands: one frozen dataclass of arguments each, with a `run` that returns the exit code.

Heavy imports (torch, scikit-learn, umap) wait inside `run`, so that --help answers at once.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.conf import OmitArgPrefixes, Positional

from dermdemo.admin_commands import ADMIN_COMMANDS
from dermdemo.config import (
    Arm,
    ContrastiveConfig,
    DeviceName,
    FinetuneConfig,
    PretrainConfig,
    SupervisedConfig,
    environment,
)
from dermdemo.errors import ConfigError
from dermdemo.study_commands import STUDY_COMMANDS

if TYPE_CHECKING:
    from dermdemo.training.runs import RunRequest

Source = Annotated[str, tyro.conf.arg(
    metavar="SOURCE", help="Data set: a folder, CSV, zip beside its CSV, parquet shards, or synthetic[:N].")]
STORE = Path("runs/checkpoints")


@dataclass(frozen=True)
class PretrainingCommand:
    """What every pretraining command takes; each adds its `config`, `out` and `init`."""

    source: Positional[Source]
    store: Path = STORE
    """Folder of finished checkpoints."""
    name: str | None = None
    """Name of the finished checkpoint in --store; by default that of --out."""
    resume: bool = False
    """Go on from the last training checkpoint in --out."""
    finish: bool = False
    """Train no further: export what the stopped run in --out has reached."""

    def request(self, out: Path, init: Path | None, split_seed: int = 0) -> RunRequest:
        from dermdemo.training.runs import RunRequest

        return RunRequest(source=self.source, out=out, store=self.store, name=self.name, resume=self.resume,
                          finish=self.finish, split_seed=split_seed, init=init)


@dataclass(frozen=True)
class Pretrain(PretrainingCommand):
    """Stage I: train the VAE (--ae: the plain autoencoder) on unlabelled images."""

    config: OmitArgPrefixes[PretrainConfig] = field(default_factory=PretrainConfig)
    out: Path = Path("runs/vae")
    """Run folder: settings, events, training checkpoints, grids of reconstructions."""
    init: Path | None = None
    """A VAE (with --ae: an autoencoder) of this package to start from, in place of random weights."""
    split_seed: int = 0
    """Seed of the split by lesion."""

    def run(self) -> int:
        from dermdemo.training.runs import run_pretrain

        print(run_pretrain(self.request(self.out, self.init, self.split_seed), self.config))
        return 0


@dataclass(frozen=True)
class PretrainSsl(PretrainingCommand):
    """Pretrain an encoder without labels by SimCLR (contrastive), beside the VAE."""

    config: OmitArgPrefixes[ContrastiveConfig] = field(default_factory=ContrastiveConfig)
    out: Path = Path("runs/ssl")
    """Run folder: settings, events, training checkpoints."""
    init: Path | None = None
    """An earlier encoder of this command to start from; its projection head starts fresh."""
    split_seed: int = 0
    """Seed of the split by lesion."""

    def run(self) -> int:
        from dermdemo.training.runs import run_contrastive

        print(run_contrastive(self.request(self.out, self.init, self.split_seed), self.config))
        return 0


@dataclass(frozen=True)
class PretrainSupervised(PretrainingCommand):
    """Pretrain an encoder with labels on any labelled source (the ImageNet stand-in)."""

    config: OmitArgPrefixes[SupervisedConfig] = field(default_factory=SupervisedConfig)
    out: Path = Path("runs/supervised")
    """Run folder."""
    init: Path | None = None
    """An encoder of this package to start from, in place of random weights; of a trimmed one the trunk."""

    def run(self) -> int:
        from dermdemo.training.runs import run_supervised

        print(run_supervised(self.request(self.out, self.init), self.config))
        return 0


@dataclass(frozen=True)
class Trim:
    """Keep only the trunk of an encoder: enough to serve arms that train their last stage, at half the size."""

    checkpoint: Positional[Path]

    def run(self) -> int:
        from dermdemo.models.card import write_card
        from dermdemo.models.checkpoint import trim

        meta = trim(self.checkpoint)
        write_card(self.checkpoint, meta)
        print(f"{self.checkpoint} keeps {', '.join(meta.files)}")
        return 0


@dataclass(frozen=True)
class Train:
    """Stage II: train one arm's head and last stages with focal loss."""

    source: Positional[Source]
    arm: Arm
    """Which encoder: vae, ae, ssl (SimCLR), imagenet, scratch (all random, all trained) or random (frozen below)."""
    config: OmitArgPrefixes[FinetuneConfig] = field(default_factory=FinetuneConfig)
    weights: str | None = None
    """Where the encoder's weights come from: a checkpoint folder, a weights file, or timm (the hub)."""
    encoder: str = "convnext_tiny"
    """timm name of the encoder; must be that of the weights."""
    out: Path | None = None
    """Run folder; by default runs/ARM-arm."""
    store: Path = STORE
    """Folder of finished checkpoints; arms vae, ae and ssl find their encoder here."""
    name: str | None = None
    """Name of the finished checkpoint in --store; by default that of --out."""
    resume: bool = False
    """Go on from the last training checkpoint in --out."""
    finish: bool = False
    """Train no further: export what the stopped run in --out has reached."""
    split_seed: int = 0
    """Seed of the split by lesion."""

    def run(self) -> int:
        from dermdemo.training.runs import RunRequest, run_train

        request = RunRequest(source=self.source, out=self.out or Path(f"runs/{self.arm}-arm"), store=self.store,
                             name=self.name, resume=self.resume, finish=self.finish, split_seed=self.split_seed)
        print(run_train(request, self.config, arm=self.arm, weights=self.weights, encoder=self.encoder))
        return 0


@dataclass(frozen=True)
class Evaluate:
    """Evaluate a classifier on one split: figures, intervals, thresholds, net benefit; of a VAE: how well it
    reconstructs."""

    checkpoint: Positional[Path]
    source: Positional[Source]
    split: Literal["train", "val", "calib", "test"] = "test"
    out: Path | None = None
    """Write SPLIT_report.json, SPLIT_report.txt and SPLIT_predictions.npz here (for `compare`: the run folder)."""
    save: bool = False
    """Store test figures and the pixel baseline in the checkpoint's metadata and card."""
    external: bool = False
    """The source is not the data the model was trained on: score all of it (or its own split column)."""
    resamples: int = 1000
    """Bootstrap resamples over lesions."""
    device: DeviceName = "auto"
    json: bool = False
    """Print the report as JSON."""

    def run(self) -> int:
        from dermdemo.evaluation.assess import assess, store_test
        from dermdemo.models.checkpoint import load_meta

        if load_meta(self.checkpoint).kind in ("vae", "ae"):
            return self._reconstruct()
        result = assess(self.checkpoint, self.source, split_name=self.split, device=self.device,
                        external=self.external, n_resamples=self.resamples)
        print(result.report.to_json() if self.json else result.report.to_text())
        if result.readings:
            print(f"readings of test for this model on this machine so far: {result.readings}", file=sys.stderr)
        if self.out:
            self.out.mkdir(parents=True, exist_ok=True)
            (self.out / f"{self.split}_report.json").write_text(result.report.to_json())
            (self.out / f"{self.split}_report.txt").write_text(result.report.to_text())
            result.predictions.save(self.out / f"{self.split}_predictions.npz")
        if self.save and self.split == "test" and not self.external:
            store_test(self.checkpoint, self.source, result)
        return 0

    def _reconstruct(self) -> int:
        from dermdemo.evaluation.reconstruct import as_text, reconstruct, store_reconstruction

        if self.external:
            raise ConfigError("The reconstruction of a VAE is measured on its own data: leave --external out.")
        report = reconstruct(self.checkpoint, self.source, split_name=self.split, device=self.device,
                             n_resamples=self.resamples)
        values = json.dumps(report.to_dict(), indent=2, allow_nan=False)
        print(values if self.json else as_text(report))
        if report.readings:
            print(f"readings of test for this model on this machine so far: {report.readings}", file=sys.stderr)
        if self.out:
            self.out.mkdir(parents=True, exist_ok=True)
            (self.out / f"{self.split}_reconstruction.json").write_text(values)
            (self.out / f"{self.split}_reconstruction.txt").write_text(as_text(report))
        if self.save and self.split == "test":
            store_reconstruction(self.checkpoint, report)
        return 0


@dataclass(frozen=True)
class Compare:
    """Compare two Stage II runs: the study's table, gaps, signatures, paired differences, curves."""

    run_a: Positional[Path]
    run_b: Positional[Path]
    out: Path | None = None
    """Write comparison.json, comparison.txt and curves.png here."""
    save: Path | None = None
    """Store with the two checkpoints that came of the runs: keep the comparison there, as STORE/study/study.json,
    for the app to show."""
    resamples: int = 1000
    """Bootstrap resamples over lesions."""
    json: bool = False
    """Print JSON instead of the table."""

    def run(self) -> int:
        from dermdemo.evaluation.history import load_history
        from dermdemo.evaluation.study import compare_runs
        from dermdemo.evaluation.study_figure import save_curves
        from dermdemo.evaluation.study_record import save_study

        table = compare_runs(self.run_a, self.run_b, n_resamples=self.resamples)
        text = json.dumps(table.to_dict(), indent=2, allow_nan=False)
        print(text if self.json else table.to_text())
        if self.out:
            self.out.mkdir(parents=True, exist_ok=True)
            (self.out / "comparison.json").write_text(text)
            (self.out / "comparison.txt").write_text(table.to_text())
            save_curves(load_history(self.run_a), load_history(self.run_b), self.out / "curves.png")
        if self.save:
            print(save_study(self.save, self.run_a, self.run_b, table), file=sys.stderr)
        return 0


@dataclass(frozen=True)
class Embed:
    """Write the atlas: latents, features, map coordinates and metadata of every lesion."""

    source: Positional[Source]
    checkpoints: Path = STORE
    """Store with the VAE and the arms."""
    out: Path | None = None
    """Atlas folder; by default CHECKPOINTS/atlas."""
    split_seed: int = 0
    """Seed of the split by lesion; must be the one the VAE was trained with."""
    seed: int = 0
    """Seed of UMAP."""
    features: bool = True
    """Keep the arms' pooled features in the atlas: the app does not need them, and they are five sixths of it."""
    other_data: bool = False
    """The source holds none of the lesions the VAE was trained on (not checked here)."""
    map_from: Path | None = None
    """An earlier atlas: where VAE, source and split are the same, its latents and map are taken over."""
    device: DeviceName = "auto"

    def run(self) -> int:
        from dermdemo.analysis.embed import build_atlas
        from dermdemo.data.readable import prepare

        table, split = prepare(self.source, split_seed=self.split_seed)
        out = self.out or self.checkpoints / "atlas"
        build_atlas(table, split, self.checkpoints, out, device=self.device, seed=self.seed,
                    features=self.features, other_data=self.other_data, map_from=self.map_from)
        print(out)
        return 0


@dataclass(frozen=True)
class Analyse:
    """Analyse images with both arms and the VAE; one bad file is reported, the rest goes on."""

    images: Positional[tuple[Path, ...]]
    checkpoints: Path = field(default_factory=lambda: environment().checkpoints)
    """Store to serve from."""
    format: Annotated[Literal["text", "json", "csv"], tyro.conf.arg(help="Output; --json and --csv are short forms.")
                      ] = "text"
    json: bool = False
    """Print JSON (docs/analysis-schema.md)."""
    csv: bool = False
    """Print one CSV row per image."""
    target: str | None = None
    """Class of the Grad-CAM maps; by default each arm's own prediction."""
    device: DeviceName = "auto"

    def run(self) -> int:
        from dermdemo.analysis.command import run_analyse

        chosen = "json" if self.json else "csv" if self.csv else self.format
        return run_analyse(self.images, self.checkpoints, chosen, target=self.target, device=self.device)


@dataclass(frozen=True)
class DataAudit:
    """Classes, groups, missing metadata, unreadable files, duplicates and split table of a source."""

    source: Positional[Source]
    json: bool = False
    """Print JSON."""
    split_seed: int = 0
    """Seed of the split by lesion."""

    def run(self) -> int:
        from dermdemo.data.audit import audit
        from dermdemo.data.sources import load_source

        result = audit(load_source(self.source), split_seed=self.split_seed)
        print(result.to_json() if self.json else result.to_text())
        return 0


@dataclass(frozen=True)
class AdminSetPassword:
    """Set the administrator's password (12 characters or more); only its argon2id hash is kept."""

    stdin: bool = False
    """Read the password from the first line of standard input instead of asking for it twice."""
    visitors: bool = False
    """Set the password that all visitors of the pages must give, not the administrator's."""

    def run(self) -> int:
        from dermdemo.jobs.credential import VARIABLES, Kind, set_password

        settings = environment()
        kind: Kind = "visitor" if self.visitors else "admin"
        whose = "visitors'" if self.visitors else "administrator"
        print(set_password(_new_password(self.stdin, whose), settings, kind))
        if settings.visitor_hash if self.visitors else settings.admin_hash:
            print(f"{VARIABLES[kind]} is set and goes before this file: unset it to use this password.",
                  file=sys.stderr)
        return 0


def _new_password(from_stdin: bool, whose: str) -> str:
    """The password, from standard input or asked for twice.

    Raises:
        AuthError: the two differ, or there is no terminal to ask at.
    """
    from getpass import getpass

    from dermdemo.errors import AuthError

    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise AuthError("There is no terminal to ask at: pipe the password in and add --stdin.")
    password = getpass(f"New {whose} password: ")
    if getpass("The same again: ") != password:
        raise AuthError("The two passwords differ; nothing was changed.")
    return password


COMMANDS: dict[str, type[Any]] = {
    "data audit": DataAudit, "pretrain": Pretrain, "pretrain-ssl": PretrainSsl,
    "pretrain-supervised": PretrainSupervised, "train": Train,
    "trim": Trim, "evaluate": Evaluate, "compare": Compare, **STUDY_COMMANDS, "embed": Embed, "analyse": Analyse,
    "admin set-password": AdminSetPassword,
    **ADMIN_COMMANDS,
}
