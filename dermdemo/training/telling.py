"""What a run says on the terminal while it trains: one line for each view of the frozen part and for each epoch.

The events hold the same and more; these lines are for whoever reads a terminal, a job's log or a cluster's output.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from tqdm import tqdm

from dermdemo.config import RunConfig
from dermdemo.training.events import Epoch, Prepared
from dermdemo.training.schedules import clock

Tell = Callable[[int, int], None]  # views that have been made, of how many
TOLD = (("balanced_accuracy", "balanced accuracy", "{:.3f}"), ("accuracy", "accuracy", "{:.3f}"),
        ("psnr", "PSNR", "{:.2f} dB"))  # of val, the first that a stage measures


def untold(done: int, total: int) -> None:
    """Tells nobody."""


def say(text: str) -> None:
    """One line on stderr, above a progress bar if there is one."""
    tqdm.write(text, file=sys.stderr)
    sys.stderr.flush()


def prepared_line(event: Prepared) -> str:
    """``frozen part at 64 px: view 3 of 16``."""
    return f"frozen part at {event.size} px: view {event.done} of {event.total}"


def epoch_line(record: Epoch, config: RunConfig) -> str:
    """``epoch 3/30 at 64 px: loss 0.743, val 0.757, val balanced accuracy 0.412; 52 s, 23 min left``."""
    losses = [f"{name} {figures['loss']:.3f}" for name, figures in (("loss", record.train), ("val", record.val))
              if isinstance(figures.get("loss"), float)]
    figure = next(((name, how.format(record.val[key])) for key, name, how in TOLD if key in record.val), None)
    losses += [f"val {figure[0]} {figure[1]}"] if figure else []
    text = f"epoch {record.epoch}/{record.epochs} at {record.size} px: {', '.join(losses)}; {clock(record.seconds)}"
    left = seconds_left(record, config)
    return f"{text}, {clock(left)} left" if record.epoch and left else text


def seconds_left(record: Epoch, config: RunConfig) -> float:
    """Seconds for the epochs after this one, each as long as this one in proportion to its pixels."""
    sizes = [config.phase_of(epoch).size for epoch in range(record.epoch + 1, config.epochs + 1)]
    return sum(record.seconds * (size / record.size) ** 2 for size in sizes)
