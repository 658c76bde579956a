"""Figures of a study, drawn from its table; the same table gives the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dermdemo.evaluation.seeds.gaps import LAST
from dermdemo.evaluation.seeds.table import Row, Table
from dermdemo.evaluation.seeds.variants import PIXELS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito: told apart with any colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#999999", "#B8A000")
DPI = 110


def save_figures(table: Table, arms: Sequence[str], folder: Path) -> None:
    """Write curves.png, gaps.png and scores.png."""
    colours = {a: COLOURS[k % len(COLOURS)] for k, a in enumerate(arms)}
    networks = [a for a in arms if a != PIXELS]
    for name, drawn in (("curves", _curves(table, networks, colours)), ("gaps", _gaps(table, networks, colours)),
                        ("scores", _scores(table, networks, colours))):
        # Without the version of matplotlib, which would change the bytes and nothing that is seen.
        drawn.savefig(folder / f"{name}.png", dpi=DPI, metadata={"Software": None})


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _matrix(table: Table, arm: str, split: str, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Epochs (E,) that all seeds have, and values (S, E)."""
    curves = [dict(points) for points in table.curve(arm, split, metric).values()]
    epochs = sorted(set.intersection(*(set(c) for c in curves))) if curves else []
    return np.array(epochs), np.array([[c[e] for e in epochs] for c in curves])


def _band(axis: Axes, epochs: np.ndarray, values: np.ndarray, **style: Any) -> None:
    """Mean over seeds, and a band from the lowest to the highest."""
    if values.size == 0:
        return
    axis.plot(epochs, values.mean(axis=0), marker="o" if len(epochs) < 2 else None, **style)
    if len(values) > 1:
        axis.fill_between(epochs, values.min(axis=0), values.max(axis=0), color=style["color"], alpha=0.2, lw=0)


def _curves(table: Table, arms: Sequence[str], colours: dict[str, str]) -> Figure:
    """Loss above, accuracy below, a column per arm."""
    figure = _figure(max(4.0, 2.4 * len(arms)), 5.2)
    axes = figure.subplots(2, len(arms), sharex=True, sharey="row", squeeze=False)
    for column, arm in enumerate(arms):
        for axis, metric in zip(axes[:, column], ("loss", "accuracy"), strict=True):
            for split, line in (("train", "--"), ("val", "-")):
                _band(axis, *_matrix(table, arm, split, metric), color=colours[arm], linestyle=line, label=split)
            axis.grid(alpha=0.3)
        axes[0, column].set_title(arm, fontsize="medium")
        axes[1, column].set_xlabel("epoch")
    axes[0, 0].set_ylabel("loss (focal)")
    axes[1, 0].set_ylabel("accuracy")
    axes[0, 0].legend(fontsize="small")
    return figure


def _gaps(table: Table, arms: Sequence[str], colours: dict[str, str]) -> Figure:
    """Loss gap and accuracy gap of all arms."""
    figure = _figure(10, 4.2)
    for axis, metric, title, order in zip(figure.subplots(1, 2), ("loss", "accuracy"),
                                          ("Loss gap (validation - train)", "Accuracy gap (train - validation)"),
                                          (1, -1), strict=True):
        for arm in arms:
            epochs, train = _matrix(table, arm, "train", metric)
            _, val = _matrix(table, arm, "val", metric)
            _band(axis, epochs, order * (val - train), color=colours[arm], label=arm)
        axis.axhline(0.0, color="0.5", linewidth=0.8)
        axis.set_title(title)
        axis.set_xlabel("epoch (0: before the first update)")
        axis.grid(alpha=0.3)
        axis.legend(fontsize="x-small")
    return figure


def _scores(table: Table, arms: Sequence[str], colours: dict[str, str]) -> Figure:
    """The absolute score beside the gap: up is better, left is less overfitting."""
    figure = _figure(6.4, 4.8)
    axis = figure.subplots()
    for arm in arms:
        gap, score = table.find(arm, "train-val", "loss_gap", LAST), table.find(arm, "test", "balanced_accuracy")
        if gap and score:
            x, y = (np.array([row.value], dtype=np.float64) for row in (gap, score))
            axis.errorbar(x, y, xerr=_reach(gap), yerr=_reach(score), fmt="o", capsize=3,
                          color=colours[arm], label=arm)
    pixels = table.find(PIXELS, "test", "balanced_accuracy")
    if pixels and pixels.value is not None:
        axis.axhline(pixels.value, color="0.4", linestyle=":", label=f"{PIXELS} (no gap in loss)")
    axis.axvline(0.0, color="0.5", linewidth=0.8)
    axis.set_xlabel("loss gap at the last epoch (validation - train)")
    axis.set_ylabel("balanced accuracy on test")
    axis.grid(alpha=0.3)
    axis.legend(fontsize="small")
    return figure


def _reach(row: Row) -> np.ndarray | None:
    """Arms of an error bar (2, 1); a percentile interval may leave the figure itself just outside."""
    if row.value is None or row.low is None or row.high is None:
        return None
    return np.array([[max(0.0, row.value - row.low)], [max(0.0, row.high - row.value)]])
