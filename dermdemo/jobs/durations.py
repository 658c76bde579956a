"""How long each step of a job will take: a range of seconds, from the machine for itself to as busy as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from dermdemo.jobs.cost_basis import CostBasis

MAP_START, MAP_IMAGE = (10.0, 90.0), (0.002, 0.01)  # seconds of UMAP: compiling, and for each image; low and high
WRITE, DRY_BESIDE = (0.01, 0.06), 60  # seconds to write an image anew; images of the dry run beside a batch
RESAMPLE = (0.004, 0.03)  # seconds of a resample of the gate, both arms
PAST, EXACT, SCALED = (0.75, 1.4), (0.85, 1.4), (0.6, 1.9)  # around epochs of past jobs, measured, scaled


class Span(NamedTuple):
    """A range of seconds."""

    low: float
    high: float

    def plus(self, *others: Span) -> Span:
        return Span(self.low + sum(o.low for o in others), self.high + sum(o.high for o in others))

    def times(self, count: int) -> Span:
        return Span(self.low * count, self.high * count)


def steps(b: CostBasis) -> dict[str, Span]:
    """Every step, in order; Stage II is that of both arms. Past jobs go before what was measured."""
    makers: dict[str, tuple[Callable[[CostBasis], Span], int]] = {"prepare": (prepare, 1)}
    if b.request.dry_run:
        makers["dry run"] = (dry_run, 1)
    if b.request.stage1:
        makers["stage I"] = (stage_one, 1)
    makers |= {"stage II": (stage_two, 2), "gate": (gate, 1), "atlas": (atlas, 1), "candidate": (candidate, 1)}
    found = {}
    for name, (make, count) in makers.items():
        took = b.past.step(name, b.counts.images)
        found[name] = (make(b) if took is None else Span(PAST[0] * took, PAST[1] * took)).times(count)
    return found


def around(b: CostBasis, seconds: float) -> Span:
    """A measured figure: from alone on the machine, to a little busier than it was."""
    return Span(0.8 * b.common.report.share * seconds, 1.5 * seconds)


def load(b: CostBasis, images: int | None = None) -> Span:
    """A process that starts, reads the data set, and fingerprints and compares its images."""
    r, n = b.common.report, b.counts.images if images is None else images
    return around(b, r.start + r.table + n * r.decode + n**2 * r.compare)


def prepare(b: CostBasis) -> Span:
    """Checking the data again, and writing those of the dry run."""
    images = b.config("train").batch_size + DRY_BESIDE if b.request.dry_run else 0
    return load(b).plus(Span(images * WRITE[0], images * WRITE[1]))


def stage_one(b: CostBasis) -> Span:
    """Decoding for every phase, validation before the first epoch, the epochs."""
    config, c = b.config("pretrain"), b.counts
    speed, scale, _ = b.speed("pretrain", config.phases[0].size)
    decode = len(config.phases) * (c.train + c.val) * b.common.report.decode
    return load(b).plus(around(b, decode + c.val * speed.evaluate * scale), epochs(b, "pretrain", c.train, c.val))


def stage_two(b: CostBasis) -> Span:
    """One arm: views and evaluation sets through the frozen part, the epochs, calibration."""
    train, val, calib = b.labelled, b.counts.labelled["val"], b.counts.calib
    speed, scale, _ = b.speed("train", b.config("train").size)
    decode = (train + b.measured_on + 2 * val + calib) * b.common.report.decode
    frozen = (b.views * train + b.measured_on + val) * speed.frozen * scale
    after = (val + calib) * b.forward()
    return load(b).plus(around(b, decode + frozen + after), epochs(b, "train", train, b.measured_on + val))


def epochs(b: CostBasis, stage: str, train: int, evaluated: int) -> Span:
    """All epochs of a stage; with early stopping perhaps only as many as its patience and one."""
    config = b.config(stage)
    patience = int(getattr(config, "early_stopping", 0))
    part = min(1.0, (patience + 1) / config.epochs) if patience else 1.0
    low = high = 0.0
    for phase in config.phases:
        speed, scale, measured = b.speed(stage, phase.size)
        known = b.past.epochs.get(stage, {}).get(phase.size)
        if known is not None:
            seconds, (least, most) = known * train, PAST
        else:
            seconds = (train * speed.train + evaluated * speed.evaluate) * scale
            least, most = EXACT if scale == 1 else SCALED
            least *= measured.report.share
        low += part * phase.epochs * (seconds * least + speed.save * 0.5 * measured.report.share)
        high += phase.epochs * (seconds * most + 2 * speed.save)
    return Span(low, high)


def gate(b: CostBasis) -> Span:
    """Two models of each arm on the split, and the resamples."""
    images, resamples = b.counts.labelled.get(b.request.gate, b.counts.calib), b.request.resamples
    seconds = around(b, 4 * images * (b.common.report.decode + b.forward()))
    return load(b).plus(seconds, Span(resamples * RESAMPLE[0], resamples * RESAMPLE[1]))


def atlas(b: CostBasis) -> Span:
    """Every image through the VAE and both arms, and the map, unless that of the same latents is there."""
    n, fewest = b.counts.images, 1 if b.request.stage1 else 0  # maps
    seconds = around(b, n * (2 * b.common.report.decode + 4 * b.forward()))
    return load(b).plus(seconds, Span(fewest * (MAP_START[0] + n * MAP_IMAGE[0]), MAP_START[1] + n * MAP_IMAGE[1]))


def candidate(b: CostBasis) -> Span:
    """Copying and hashing the set."""
    return around(b, b.common.report.start).plus(Span(1.0, 15.0))


def dry_run(b: CostBasis) -> Span:
    """Every stage on a batch of images: mostly processes that start, and the map's compiler."""
    span = Span(*MAP_START)
    for stage in b.wanted.sizes:
        config = b.config(stage)
        speed, scale, _ = b.speed(stage, config.size)
        images = (2 if stage == "pretrain" else 4) * (config.batch_size + 16)
        span = span.plus(around(b, images * (speed.train + speed.evaluate + speed.frozen) * scale + 4 * speed.save))
    return span.plus(load(b, b.config("train").batch_size).times(4 + b.request.stage1))
