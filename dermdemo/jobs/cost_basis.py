"""What the cost of a job follows from: what was asked, how many images there are, what is known of the machine."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dermdemo.config import FinetuneConfig, RunConfig
from dermdemo.jobs.datasets import DataSet
from dermdemo.jobs.past import STAGES, Past
from dermdemo.jobs.plan import RetrainRequest
from dermdemo.jobs.speeds import Measured, Wanted
from dermdemo.types import Speed

ALONE = 0.8  # share of the processor from which on nothing is said of others


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Images of a data set, all and by split; `labelled`: those of a split that Stage II can use."""

    images: int
    train: int
    val: int
    calib: int
    labelled: Mapping[str, int]

    @classmethod
    def of(cls, data: DataSet, audit: Mapping[str, Any]) -> Counts:
        """From the audit's split table; without one, from the fractions that splits are made by."""
        table, n = audit.get("split_table", {}), data.images
        every = {s: sum(count for k, count in row.items() if k != "groups") for s, row in table.items()}
        every = every or {"train": round(0.6 * n), "val": n // 10, "calib": n // 10}
        return cls(images=n, train=every["train"], val=every["val"], calib=every["calib"],
                   labelled={s: count - table.get(s, {}).get("", 0) for s, count in every.items()})


def wanted_of(request: RetrainRequest, data: DataSet, encoder: str) -> Wanted:
    """What has to be known of the machine for a request."""
    configs = {s: request.config(s) for s in STAGES if s == "train" or request.stage1}
    train = configs["train"]
    unfrozen = train.unfrozen_stages if isinstance(train, FinetuneConfig) else 0
    return Wanted(device=request.device, encoder=encoder, unfrozen=unfrozen, source=data.source,
                  data_hash=data.data_hash, sizes={s: sorted({p.size for p in c.phases}) for s, c in configs.items()},
                  configs={s: c.to_dict() for s, c in configs.items()})


@dataclass(frozen=True, kw_only=True)
class CostBasis:
    """Everything that a cost follows from.

    Attributes:
        known: stage -> what was measured, one for each size. `common`: what was measured on these data.
    """

    request: RetrainRequest
    wanted: Wanted
    counts: Counts
    known: Mapping[str, Sequence[tuple[Speed, Measured]]]
    common: Measured
    past: Past

    def speed(self, stage: str, size: int) -> tuple[Speed, float, Measured]:
        """The speed measured nearest to a size, how many times its pixels the size has, and the measurement."""
        speed, measured = min(self.known[stage], key=lambda s: abs(math.log(s[0].size / size)))
        return speed, (size / speed.size) ** 2, measured

    def config(self, stage: str) -> RunConfig:
        return self.request.config(stage)

    @property
    def labelled(self) -> int:
        """Training images of Stage II."""
        fraction = getattr(self.config("train"), "label_fraction", 1.0)
        return max(1, round(fraction * self.counts.labelled["train"]))

    @property
    def measured_on(self) -> int:
        """Training images that Stage II takes its training figures on."""
        return min(getattr(self.config("train"), "train_eval_limit", 0), self.labelled)

    @property
    def views(self) -> int:
        return int(getattr(self.config("train"), "views", 1))

    def forward(self) -> float:
        """Seconds of an image through a classifier, at the size it will have."""
        speed, scale, _ = self.speed("train", self.config("train").size)
        return (speed.frozen + speed.evaluate) * scale

    def words(self) -> str:
        """What the figures stand on, in a sentence."""
        from_jobs = [s for s, sizes in self.wanted.sizes.items() if set(sizes) <= set(self.past.epochs.get(s, {}))]
        jobs = sorted({self.past.jobs[k] for k in (*from_jobs, *self.past.steps)})
        measured = self._measured(set(self.wanted.sizes) - set(from_jobs))
        if not jobs:
            return f"{measured[0].upper()}{measured[1:]}."
        what = [f"epochs of {STAGES[s]}" for s in from_jobs]
        what += ["the steps " + ", ".join(sorted(self.past.steps))] if self.past.steps else []
        return f"From job {', '.join(jobs)} on this machine: {', '.join(what)}; the rest {measured}."

    def _measured(self, stages: set[str]) -> str:
        used = [m for stage in self.known for _, m in self.known[stage]] + [self.common]
        newest, share = max(m.created for m in used), min(m.report.share for m in used)
        said = (f"measured on this machine with {self.common.report.images} images of this data set "
                f"({newest[:16].replace('T', ' ')} UTC)")
        if share < ALONE:
            said += (f" while other programs left it {share:.0%} of the processor (the low end is for a machine with "
                     "nothing else to do)")
        scaled = any(self.speed(s, size)[1] != 1 for s in stages for size in self.wanted.sizes[s])
        return said + (", larger sizes scaled by their pixels" if scaled else "")
