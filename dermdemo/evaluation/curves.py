"""What the curves of one training run say: change, gaps, and failure signatures in words.

Accuracy gap = train - validation accuracy; loss gap = validation - train loss; both grow when a model
overfits. A gap says nothing by itself: a constant predictor has none. It is therefore always shown
beside the absolute figures. All curves are measured in evaluation mode (see `history`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from dermdemo.evaluation.constant import ConstantAnswer
from dermdemo.evaluation.history import ArmHistory

RISE = 0.02  # val loss this much above its lowest counts as rising
FALL = 0.05  # train loss falling this much, relative, counts as falling
STALL = 0.02  # val loss falling less than this, relative, counts as not falling
MIN_EPOCHS = 3  # trained epochs below which no trend is read
LATE_EPOCHS = 6  # trained epochs from which the last half is read by itself

SignatureKind = Literal["overfitting", "underfitting", "constant", "none", "too-short"]


@dataclass(frozen=True, kw_only=True)
class Change:
    """One curve from its first value to its last.

    Attributes:
        initial: before the first update (or the first value recorded).
        after_first_epoch: None unless both epoch 0 and epoch 1 were recorded.
        change_pct: (final - initial) / initial in %; None if the initial value is 0.
        change_since_first_epoch_pct: the same from after the first epoch.
    """

    initial: float
    after_first_epoch: float | None
    final: float
    change_pct: float | None
    change_since_first_epoch_pct: float | None


@dataclass(frozen=True, kw_only=True)
class GapPoint:
    """Both splits at one epoch (fractional where interpolated), with the two gaps.

    Attributes:
        accuracy_gap: train - validation accuracy. loss_gap: validation - train loss.
    """

    epoch: float
    train_loss: float
    val_loss: float
    train_accuracy: float
    val_accuracy: float
    accuracy_gap: float
    loss_gap: float


@dataclass(frozen=True, kw_only=True)
class MatchedGap:
    """The gaps where the training accuracy first reaches `target`; `reason` says why there is none."""

    target: float
    point: GapPoint | None
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class Signature:
    """A failure signature, or its absence, in a sentence."""

    kind: SignatureKind
    text: str


@dataclass(frozen=True, kw_only=True)
class ArmSummary:
    """One run in figures. `best` is the epoch with the lowest validation loss, `last` the final one."""

    name: str
    first_epoch: int
    last_epoch: int
    train_loss: Change
    val_loss: Change
    train_accuracy: Change
    val_accuracy: Change
    val_balanced_accuracy: Change | None
    best: GapPoint
    last: GapPoint
    signatures: tuple[Signature, ...]


def summarise(history: ArmHistory, *, constant: ConstantAnswer | None = None) -> ArmSummary:
    """Initial and final values, relative changes, gaps at the best and last epoch, and signatures.

    `constant` is the constant answer on the validation images, to recognise a model that gives it.
    """
    balanced = history.val.balanced_accuracy
    return ArmSummary(
        name=history.name,
        first_epoch=history.epochs[0],
        last_epoch=history.epochs[-1],
        train_loss=_change(history, history.train.loss),
        val_loss=_change(history, history.val.loss),
        train_accuracy=_change(history, history.train.accuracy),
        val_accuracy=_change(history, history.val.accuracy),
        val_balanced_accuracy=None if balanced is None else _change(history, balanced),
        best=gap_at(history, float(np.argmin(history.val.loss))),
        last=gap_at(history, float(len(history.epochs) - 1)),
        signatures=failure_signatures(history, constant=constant),
    )


def _change(history: ArmHistory, values: tuple[float, ...]) -> Change:
    first = values[1] if history.epochs[:2] == (0, 1) else None
    return Change(
        initial=values[0],
        after_first_epoch=first,
        final=values[-1],
        change_pct=_relative_pct(values[0], values[-1]),
        change_since_first_epoch_pct=None if first is None else _relative_pct(first, values[-1]),
    )


def _relative_pct(start: float, end: float) -> float | None:
    return None if start == 0 else 100.0 * (end - start) / abs(start)


def gap_at(history: ArmHistory, index: float) -> GapPoint:
    """Both splits at a position in `history.epochs`, linear between neighbours if it is not whole."""
    positions = np.arange(len(history.epochs))

    def at(values: tuple[float, ...] | tuple[int, ...]) -> float:
        return float(np.interp(index, positions, values))

    train_loss, val_loss = at(history.train.loss), at(history.val.loss)
    train_accuracy, val_accuracy = at(history.train.accuracy), at(history.val.accuracy)
    return GapPoint(
        epoch=at(history.epochs),
        train_loss=train_loss,
        val_loss=val_loss,
        train_accuracy=train_accuracy,
        val_accuracy=val_accuracy,
        accuracy_gap=train_accuracy - val_accuracy,
        loss_gap=val_loss - train_loss,
    )


def at_train_accuracy(history: ArmHistory, target: float) -> MatchedGap:
    """The gaps where the training accuracy first reaches `target`, linear between epochs."""
    accuracy = np.asarray(history.train.accuracy)
    reached = np.flatnonzero(accuracy >= target)
    if len(reached) == 0:
        best = accuracy.max()
        reason = f"{history.name} never reaches a training accuracy of {target:.3f} (at most {best:.3f})."
        return MatchedGap(target=target, point=None, reason=reason)
    i = int(reached[0])
    if i == 0 and accuracy[0] > target:
        reason = f"{history.name} is above a training accuracy of {target:.3f} from its first record on."
        return MatchedGap(target=target, point=None, reason=reason)
    step = 0.0 if i == 0 else (target - accuracy[i - 1]) / (accuracy[i] - accuracy[i - 1])
    point = gap_at(history, float(i if i == 0 else i - 1 + step))
    return MatchedGap(target=target, point=point, reason=None)


def failure_signatures(history: ArmHistory, *, constant: ConstantAnswer | None = None) -> tuple[Signature, ...]:
    """Overfitting, underfitting and constant prediction, as far as the curves show them.

    - overfitting: from the epoch with the lowest validation loss on, that loss rises by more than 2 % while
      the training loss falls; or along the last half it falls by less than 2 % while the training loss
      falls by more than 5 % (straight lines fitted to both).
    - underfitting: from epoch 1 on, the line fitted to the validation loss falls by less than 2 %, and
      that fitted to the training loss by less than 5 %.
    - constant predictor: the final validation figures are those of `constant`, accuracy and balanced accuracy
      both (see `ConstantAnswer.matches`).
    """
    found = [_constant(history, constant)]
    trained = [i for i, epoch in enumerate(history.epochs) if epoch >= 1]
    if len(trained) < MIN_EPOCHS:
        text = f"{len(trained)} trained epochs are too few to read a trend."
        found.append(Signature(kind="too-short", text=text))
    else:
        found.append(_overfitting(history, trained) or _underfitting(history, trained))
    signatures = tuple(s for s in found if s is not None)
    nothing = Signature(kind="none", text="No sign of overfitting, underfitting or constant prediction.")
    return signatures or (nothing,)


def _constant(history: ArmHistory, constant: ConstantAnswer | None) -> Signature | None:
    accuracy, balanced = history.val.accuracy[-1], history.val.balanced_accuracy
    if constant is None or not constant.matches(accuracy, None if balanced is None else balanced[-1]):
        return None
    text = (
        f"Constant predictor? The final validation accuracy {accuracy:.3f} is that of always naming the most "
        f"frequent class ({constant.accuracy:.3f})"
    )
    text += "." if balanced is None else f"; the balanced accuracy is {balanced[-1]:.3f}."
    return Signature(kind="constant", text=text)


def _overfitting(history: ArmHistory, trained: list[int]) -> Signature | None:
    train, val = np.asarray(history.train.loss), np.asarray(history.val.loss)
    best, last = int(val.argmin()), len(val) - 1
    if val[last] > val[best] * (1 + RISE) and train[last] < train[best]:
        text = (
            f"Overfitting: since epoch {history.epochs[best]} the training loss fell from {train[best]:.3f} "
            f"to {train[last]:.3f} while the validation loss rose from {val[best]:.3f} to {val[last]:.3f}."
        )
        return Signature(kind="overfitting", text=text)
    late = trained[len(trained) // 2 :] if len(trained) >= LATE_EPOCHS else trained
    train_trend, val_trend = trend(train[late]), trend(val[late])
    if train_trend < -FALL and val_trend > -STALL:
        text = (
            f"Overfitting: from epoch {history.epochs[late[0]]} on the training loss falls "
            f"({train_trend:+.1%}) while the validation loss stalls ({val_trend:+.1%})."
        )
        return Signature(kind="overfitting", text=text)
    return None


def _underfitting(history: ArmHistory, trained: list[int]) -> Signature | None:
    train_trend = trend(np.asarray(history.train.loss)[trained])
    val_trend = trend(np.asarray(history.val.loss)[trained])
    if val_trend <= -STALL or train_trend <= -FALL:
        return None
    text = (
        f"Underfitting: from epoch {history.epochs[trained[0]]} on neither the validation loss "
        f"({val_trend:+.1%}) nor the training loss ({train_trend:+.1%}) falls in the long run."
    )
    return Signature(kind="underfitting", text=text)


def trend(values: np.ndarray) -> float:
    """Relative change along the least-squares line through equally spaced values; 0 if it starts at 0."""
    slope, start = np.polyfit(np.arange(len(values)), values, 1)
    return 0.0 if start <= 0 else float(slope * (len(values) - 1) / start)
