"""How much memory and disk a job will take at its highest point, in bytes.

Images stay decoded in memory up to a limit, for two phases at once where sizes grow; Stage II keeps the output
of its frozen part for every view besides.
"""

from __future__ import annotations

from pathlib import Path

from dermdemo.data.loader import MEMORY_LIMIT
from dermdemo.jobs.cost_basis import CostBasis

LEAST_ACTIVE = 250  # per image and pixel: what a forward pass takes at least
FORWARD_BATCH = 256  # images that the frozen part sees at once
PRINT, COMPARED = 4096 + 64, 256 * 90  # of an image: its fingerprint, and its part in a block of comparisons
MAP, CUDA = 800 << 20, 600 << 20  # what the map of the atlas takes, and what CUDA takes for itself
GRIDS, ATLAS_IMAGE = 20 << 20, 8 << 10


def memory(b: CostBasis) -> int:
    """Of the step that needs most."""
    n = b.counts.images
    atlas = MAP + 2 * pixels(n, b.config("train").size) + _idle(b, "train")
    return n * (PRINT + COMPARED) + held(Path(b.wanted.source)) + max(
        atlas, *(_training(b, stage) for stage in b.wanted.sizes))


def _training(b: CostBasis, stage: str) -> int:
    config, second = b.config(stage), stage == "train"
    train = b.labelled if second else b.counts.train
    speed, scale, _ = b.speed(stage, config.size)
    phases = [pixels(train, p.size) + pixels(b.counts.val, p.size) for p in config.phases]
    data = max(before + now for before, now in zip([0, *phases], phases, strict=False))
    if second:
        data += int(((b.views + 1) * train + b.measured_on + b.counts.val) * speed.kept * scale)
    active = 0.0 if b.request.device == "cuda" else max(speed.active, LEAST_ACTIVE)
    return _idle(b, stage) + data + int(active * _batch(b, stage) * config.size**2)


def _idle(b: CostBasis, stage: str) -> int:
    return b.speed(stage, b.config(stage).size)[0].idle


def _batch(b: CostBasis, stage: str) -> int:
    return max(b.config(stage).batch_size, FORWARD_BATCH if stage == "train" else 0)


def gpu_memory(b: CostBasis) -> int | None:
    """On the GPU; None where there is none in it."""
    if b.request.device != "cuda":
        return None
    found = []
    for stage in b.wanted.sizes:
        speed, side = b.speed(stage, b.config(stage).size)[0], b.config(stage).size
        found.append(CUDA + speed.gpu_idle + int(speed.gpu_active * _batch(b, stage) * side**2))
    return max(found)


def disk(b: CostBasis) -> int:
    """Training checkpoints, one of them twice while it is written; sets, atlas, and those of the dry run."""
    runs = models = writing = 0
    for stage in b.wanted.sizes:
        speed, arms = b.speed(stage, b.config(stage).size)[0], 1 if stage == "pretrain" else 2
        last, best = 4 * (speed.parameters + 2 * speed.trained), 4 * speed.parameters
        runs += arms * (last + best) + (GRIDS if stage == "pretrain" else 0)
        models += arms * 2 * speed.parameters  # stored in half precision
        writing = max(writing, last)
    if not b.request.stage1:
        models += 2 * b.speed("train", b.config("train").size)[0].parameters  # the VAE that stays
    kept = 2 * (models + b.counts.images * ATLAS_IMAGE)  # the job's set, and the version made of it
    return runs + writing + kept + (runs + models if b.request.dry_run else 0)


def pixels(images: int, size: int) -> int:
    """Bytes of decoded images in memory; none where they are too many to be kept."""
    found = images * 3 * size**2
    return found if found <= MEMORY_LIMIT else 0


def held(source: Path) -> int:
    """Bytes that a source keeps in memory: shards of encoded images are read whole."""
    shards = source.glob("*.parquet") if source.is_dir() else [source] if source.suffix == ".parquet" else []
    return sum(p.stat().st_size for p in shards if p.is_file())
