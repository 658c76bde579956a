"""From a command to a finished run: source, split, task, loop, exported checkpoint."""

from __future__ import annotations

from pathlib import Path

from dermdemo.config import PretrainConfig, SupervisedConfig
from dermdemo.data.sources import LesionTable, load_source
from dermdemo.data.splits import Split, fingerprint, make_split
from dermdemo.errors import DataError
from dermdemo.training.loop import fit, make_fabric, open_run
from dermdemo.training.pretrain import PretrainTask
from dermdemo.training.supervised import SupervisedTask


def prepare(source: str, *, split_seed: int) -> tuple[LesionTable, Split]:
    """Load a source without its unreadable images, and split it by lesion."""
    table = load_source(source)
    prints = fingerprint(table)
    if prints.unreadable:
        if len(prints.unreadable) == len(table):
            raise DataError(f"None of the {len(table)} images of '{table.name}' can be decoded.")
        print(f"{len(prints.unreadable)} unreadable images are left out; `data audit` lists them.")
        table = table.take([i not in prints.unreadable for i in range(len(table))])
        prints = fingerprint(table)
    return table, make_split(table, seed=split_seed, prints=prints)


def run_pretrain(source: str, config: PretrainConfig, folder: Path, *, resume: bool, split_seed: int) -> str:
    """Stage I, from a source to an exported checkpoint."""
    fabric = make_fabric(config)
    fabric.launch()
    table, split = prepare(source, split_seed=split_seed)
    if fabric.is_global_zero:
        open_run(folder, config, stage="pretrain", resume=resume, extra={"source": source, "split_seed": split_seed})
        split.save(folder / "split.csv", table)
    fabric.barrier()
    task = PretrainTask(config, table, split, fabric)
    state = fit(task, config, folder, fabric=fabric, resume=resume)
    return f"{folder}: {state.epoch} epochs, best {state.best_epoch}"


def run_supervised(source: str, config: SupervisedConfig, folder: Path, *, resume: bool) -> str:
    """Supervised pretraining, from a source to an exported encoder."""
    fabric = make_fabric(config)
    fabric.launch()
    table = load_source(source)
    if fabric.is_global_zero:
        open_run(folder, config, stage="pretrain-supervised", resume=resume, extra={"source": source})
    fabric.barrier()
    state = fit(SupervisedTask(config, table, fabric), config, folder, fabric=fabric, resume=resume)
    return f"{folder}: {state.epoch} epochs, best {state.best_epoch}"
