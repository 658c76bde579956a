"""One analysis, against the passes it cannot do without, and against a plain pipeline."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.plain import PlainPipeline, PlainResult
from benchmarks.timing import Ratio, Timed, in_turns, ratio
from dermdemo.analysis.analyser import Analyser
from dermdemo.analysis.serving import ARMS, trunk_key
from dermdemo.config import DeviceName
from dermdemo.data.images import to_input
from dermdemo.data.synthetic import synthetic_lesion
from dermdemo.errors import CheckpointError
from dermdemo.models.arms import find_arm
from dermdemo.models.checkpoint import Loaded, load_classifier, load_vae
from dermdemo.types import Analysis

AIM_BARE, AIM_PLAIN = 1.5, 0.5
SIZE = (600, 450)
TOLERANCE = 0.02


def measure_analysis(checkpoints: Path, *, device: DeviceName, repeats: int, plain: bool = True
                     ) -> tuple[list[Timed], list[Ratio]]:
    """Times and ratios of one analysis of a synthetic lesion of 600 x 450 px, models loaded and warm.

    Args:
        plain: also against the pipeline of `benchmarks.plain`; needs requirements-bench.txt.
    """
    analyser = Analyser(checkpoints, device=device)
    vae = load_vae(checkpoints / "vae")
    arms = {arm: load_classifier(find_arm(checkpoints, arm)) for arm in ARMS}
    images = _pictures()
    cases: dict[str, Callable[[], object]] = {
        "analysis": lambda: analyser.analyse(next(images)),
        "bare passes": bare_passes(vae, arms, next(images), torch.device(analyser.device)),
    }
    if plain:
        models = {arm: loaded.module for arm, loaded in load_fresh(checkpoints).items()}
        pipelines = {name: PlainPipeline(analyser, models, load_vae(checkpoints / "vae").module.to(analyser.device),
                                         frugal=name.endswith("frugal")) for name in ("plain", "plain, frugal")}
        for name, pipeline in pipelines.items():
            check_agreement(analyser.analyse(image := next(images)), pipeline(image), name)
            cases[name] = _quiet(pipeline, images)
    timed = in_turns(cases, repeats=repeats, warmup=3)
    ratios = [ratio("analysis / bare passes", timed["analysis"], timed["bare passes"], aim=AIM_BARE)]
    if plain:
        ratios += [ratio("analysis / plain pipeline", timed["analysis"], timed["plain"], aim=AIM_PLAIN),
                   ratio("analysis / frugal plain pipeline", timed["analysis"], timed["plain, frugal"])]
    return list(timed.values()), ratios


def load_fresh(checkpoints: Path) -> dict[str, Loaded]:
    """The classifiers again, sharing nothing with what the analyser loaded."""
    return {arm: load_classifier(find_arm(checkpoints, arm)) for arm in ARMS}


class _Pictures:
    """Eight lesions in turn, so that nothing can be remembered from the last call."""

    def __init__(self, pictures: Sequence[Image.Image]) -> None:
        self.pictures, self.count = pictures, 0

    def __next__(self) -> Image.Image:
        self.count += 1
        return self.pictures[self.count % len(self.pictures)]


def _pictures() -> _Pictures:
    return _Pictures([synthetic_lesion(label, seed, SIZE) for seed in range(2)
                      for label in ("mel", "nv", "bcc", "bkl")])


def _quiet(pipeline: PlainPipeline, images: _Pictures) -> Callable[[], PlainResult]:
    def run() -> PlainResult:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pipeline(next(images))

    return run


def bare_passes(vae: Loaded, arms: dict[str, Loaded], image: Image.Image, device: torch.device
                ) -> Callable[[], list[Tensor]]:
    """The forward and backward passes that an analysis needs, on tensors that are ready.

    Every distinct trunk once, the top of each model, one decode, and per arm the gradient of one logit in
    the last feature map.
    """
    models = [vae, *arms.values()]
    for loaded in models:
        loaded.module.to(device, memory_format=torch.channels_last).requires_grad_(False)
    x = {loaded.meta.input: torch.from_numpy(to_input(image, loaded.meta.input)).permute(2, 0, 1)[None]
         .to(device).float().div_(255).contiguous(memory_format=torch.channels_last) for loaded in models}

    def run() -> list[Tensor]:
        done: dict[object, Tensor] = {}
        out: list[Tensor] = []
        for loaded in models:
            encoder, key = loaded.module.encoder, trunk_key(loaded.meta)
            with torch.inference_mode():
                if key not in done:
                    done[key] = encoder.trunk(x[loaded.meta.input])
                top = encoder.top(done[key])
                if loaded is vae:
                    mu = loaded.module.posterior_of(top).mu
                    out.append(loaded.module.decode(mu, loaded.meta.input.size))
                    continue
            fmap = top.clone().requires_grad_()
            logits = loaded.module.head(encoder.pool(fmap))
            (gradient,) = torch.autograd.grad(logits[0, logits.argmax()], fmap)
            out.append((gradient.mean((2, 3), keepdim=True) * fmap).sum(1).relu().detach())
        return out

    return run


def check_agreement(analysis: Analysis, plain: PlainResult, name: str) -> None:
    """Two pipelines that give different answers may not be compared.

    Raises:
        CheckpointError: probabilities or latent positions differ by more than the resize filters explain.
    """
    for arm, prediction in analysis.arms.items():
        ours = np.array(list(prediction.raw_probabilities.values()))
        if float(np.abs(ours - plain.probs[arm]).max()) > TOLERANCE:
            raise CheckpointError(f"The {name} pipeline gives other probabilities than the analyser for '{arm}'.")
    if float(np.abs(analysis.mu - plain.mu).max()) > 0.1 * float(np.abs(analysis.mu).max()):
        raise CheckpointError(f"The {name} pipeline gives another latent position than the analyser.")
