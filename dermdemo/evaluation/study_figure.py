"""Curves of two arms as one figure: losses, accuracies, and both gaps along the epochs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dermdemo.errors import ConfigError
from dermdemo.evaluation.history import ArmHistory

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00")  # Okabe and Ito: told apart with any colour vision
SUFFIXES = (".png", ".svg")


def curves_figure(a: ArmHistory, b: ArmHistory) -> Figure:
    """Two by two: losses, accuracies, loss gap, accuracy gap. No global matplotlib state is touched."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 7), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True)
    for history, colour in zip((a, b), COLOURS, strict=True):
        _draw_arm(axes, history, colour)
    titles = ("Loss", "Accuracy", "Loss gap (validation - train)", "Accuracy gap (train - validation)")
    for axis, title in zip(axes.flat, titles, strict=True):
        axis.set_title(title)
        axis.grid(alpha=0.3)
    for axis in axes[1]:
        axis.set_xlabel("epoch (0: before the first update)")
        axis.axhline(0.0, color="0.5", linewidth=0.8)
    axes[0, 0].legend(fontsize="small")
    axes[1, 0].legend(fontsize="small")
    return figure


def save_curves(a: ArmHistory, b: ArmHistory, path: Path | str) -> Path:
    """Write `curves_figure` to a .png (150 dpi) or .svg file, creating its folder.

    Raises:
        ConfigError: another file ending.
    """
    target = Path(path)
    if target.suffix.lower() not in SUFFIXES:
        raise ConfigError(
            f"The curves can be saved as {' or '.join(SUFFIXES)}, not as {target.suffix or target}."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    curves_figure(a, b).savefig(target, dpi=150)
    return target


def _draw_arm(axes: np.ndarray, history: ArmHistory, colour: str) -> None:
    """One arm in all four panels: training dashed, validation solid; a marker for a single epoch."""
    epochs, marker = history.epochs, "o" if len(history.epochs) < 2 else None
    pairs = ((history.train.loss, history.val.loss), (history.train.accuracy, history.val.accuracy))
    for axis, (train, val) in zip(axes[0], pairs, strict=True):
        axis.plot(epochs, train, "--", color=colour, marker=marker, label=f"{history.name}, train")
        axis.plot(epochs, val, "-", color=colour, marker=marker, label=f"{history.name}, validation")
    loss_gap = np.subtract(history.val.loss, history.train.loss)
    accuracy_gap = np.subtract(history.train.accuracy, history.val.accuracy)
    for axis, gap in zip(axes[1], (loss_gap, accuracy_gap), strict=True):
        axis.plot(epochs, gap, "-", color=colour, marker=marker, label=history.name)
