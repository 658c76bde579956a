"""`study`: every arm with several seeds, test read once, one table, and a page written from it. `probe`: what a
frozen encoder tells of the diagnosis, stage by stage. `reproduce`: everything, from data to atlas and study.

As in `commands`, heavy imports wait inside `run`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.conf import OmitArgPrefixes, Positional

from dermdemo.config import DeviceName, FinetuneConfig
from dermdemo.errors import ConfigError
from dermdemo.recipes import Recipe

if TYPE_CHECKING:
    from dermdemo.training.study import StudyRequest

SEEDS = (0, 1, 2, 3, 4)


@dataclass(frozen=True)
class Study:
    """Train every arm with several seeds, read test once each, and write table, figures and page; resumable."""

    source: Positional[Annotated[str, tyro.conf.arg(
        metavar="[SOURCE]", help="Data set, as for `train`; not needed with --report.")]] = ""
    config: OmitArgPrefixes[FinetuneConfig] = field(default_factory=FinetuneConfig)
    arms: tuple[str, ...] = ()
    """vae, ae, ssl, imagenet, random, scratch; with -head only the head is trained, with -ls1 a random encoder starts
    with layer scale 1. By default vae (and ae and ssl where the store holds them), imagenet, random, random-head,
    random-ls1, random-head-ls1, scratch. Logistic regression on pixels always comes with them."""
    seeds: tuple[int, ...] = SEEDS
    """Seeds of Stage II; the split and the test lesions stay the same."""
    store: Path = Path("runs/checkpoints")
    """Folder with the pretrained encoders of the arms vae, ae and ssl; nothing is written there."""
    weights: str = "timm"
    """Encoder of the imagenet arms: a checkpoint folder, a weights file, or timm (the hub)."""
    encoder: str = "convnext_tiny"
    """timm name of the encoder; must be that of the weights."""
    out: Path = Path("runs/study")
    """Folder of the study: runs, finished models, readings. Named again, the study goes on."""
    split_seed: int = 0
    """Seed of the split by lesion."""
    plan: bool = False
    """Train nothing: list what would be trained, and how long that takes going by finished runs."""
    report: Path | None = None
    """Train nothing: write table, figures and page from a study (or from a table and its facts) in this folder."""
    records: Path | None = None
    """Train nothing: add what the finished runs of the study in --out left, without weights, to this folder (about 1
    MB a run): --report works with it, and a study goes on from it. Images are named by the ids of the data set."""
    page: Path | None = None
    """The page; table and figures go into the folder of its name beside it. By default study.md in the study."""
    save: Path | None = None
    """Folder of checkpoints beside which table and facts are put too: the app's Models tab shows them."""
    resamples: int = 1000
    """Bootstrap resamples over lesions and seeds."""

    def run(self) -> int:
        if self.report is not None:
            return self._report(self.report)
        if self.records is not None:
            return self._keep(self.records)
        if not self.source:
            raise ConfigError("Name the data set to train on, or a finished study with --report.")
        from dermdemo.training.study import run_study
        from dermdemo.training.study_plan import plan

        request = self._request()
        if self.plan:
            print(plan(request))
            return 0
        run_study(request)
        return self._report(self.out)

    def _request(self) -> StudyRequest:
        from dermdemo.evaluation.seeds.variants import DEFAULT_ARMS, parse_arms
        from dermdemo.training.study import StudyRequest, default_arms

        names = self.arms or default_arms(self.store, DEFAULT_ARMS)
        return StudyRequest(source=self.source, root=self.out, store=self.store, arms=parse_arms(names),
                            seeds=self.seeds, config=self.config, weights=self.weights, encoder=self.encoder,
                            split_seed=self.split_seed)

    def _keep(self, folder: Path) -> int:
        from dermdemo.evaluation.seeds.records import keep_records

        added = keep_records(self.out, folder)
        print(f"{folder}: {', '.join(added) or 'nothing new'}")
        return 0

    def _report(self, folder: Path) -> int:
        from dermdemo.evaluation.seeds.report import report
        from dermdemo.evaluation.seeds.sampling import Resampling

        page, how = self.page or folder / "study.md", Resampling(n_resamples=self.resamples)
        print(report(folder, page, how, store=self.save))
        return 0


@dataclass(frozen=True)
class Probe:
    """Linear probes of a frozen encoder, stage by stage, beside logistic regression on pixels; test is not read."""

    weights: Positional[Annotated[str, tyro.conf.arg(
        metavar="WEIGHTS", help="Checkpoint folder (VAE or encoder), weights file, timm, or random.")]]
    source: Positional[Annotated[str, tyro.conf.arg(metavar="SOURCE", help="Data set, as for `train`.")]]
    split: Literal["val", "calib"] = "val"
    """Split that is scored; probes are fitted on train."""
    size: int = 0
    """Size of the images in pixels; 0 is the size that the weights were trained at, 64 where that is not known."""
    encoder: str = "convnext_tiny"
    """timm name of the encoder, for weights that are no checkpoint of ours."""
    layer_scale: float = 1e-6
    """Layer scale of a random encoder."""
    device: DeviceName = "auto"
    """auto takes a GPU where there is one."""
    split_seed: int = 0
    """Seed of the split by lesion."""
    json: bool = False
    """Print JSON."""

    def run(self) -> int:
        import json
        from dataclasses import asdict

        from dermdemo.data.readable import prepare
        from dermdemo.evaluation.probe import UNKNOWN_SIZE, as_text, network, probe

        net, origin, trained_at = network(self.weights, self.encoder, layer_scale=self.layer_scale)
        table, split = prepare(self.source, split_seed=self.split_seed)
        report = probe(net, table, split, size=self.size or trained_at or UNKNOWN_SIZE, origin=origin, on=self.split,
                       device=self.device)
        print(json.dumps(asdict(report), indent=1) if self.json else as_text(report))
        return 0


@dataclass(frozen=True)
class Reproduce:
    """The whole study by one command: both pretrainings, arms, evaluation, comparison, atlas, seeds; resumable."""

    source: Positional[Annotated[str, tyro.conf.arg(metavar="SOURCE", help="The lesions, as for `pretrain`.")]]
    supervised: Positional[Annotated[str, tyro.conf.arg(
        metavar="SUPERVISED", help="Labelled images for the stand-in, as for `pretrain-supervised`.")]]
    recipe: Recipe = "laptop"
    """Preset of every training: gpu or laptop; --plan tells what they are."""
    out: Path = Path("runs/reproduced")
    """Run folders; finished models go to its `checkpoints`. Named again, it goes on."""
    seeds: tuple[int, ...] = SEEDS
    """Seeds of the study over seeds; without any it is left out."""
    encoder: str = "convnext_tiny"
    """timm name of the encoder."""
    device: DeviceName = "auto"
    """auto takes a GPU where there is one."""
    resamples: int = 1000
    """Bootstrap resamples."""
    plan: bool = False
    """Run nothing: list the commands and what is left of each."""

    def run(self) -> int:
        from dermdemo.recipes import RECIPES, Reproduction, as_text, run

        what = Reproduction(source=self.source, supervised=self.supervised, recipe=self.recipe, out=self.out,
                            seeds=self.seeds, encoder=self.encoder, device=self.device, resamples=self.resamples)
        if self.plan:
            print(f"{self.recipe}: {RECIPES[self.recipe]}\n{as_text(what)}")
            return 0
        return run(what)


STUDY_COMMANDS: dict[str, type[Any]] = {"study": Study, "probe": Probe, "reproduce": Reproduce}
