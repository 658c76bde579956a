"""An analysis as JSON values or as CSV rows; every field is described in docs/analysis-schema.md.

Text in CSV cells is kept from being read as a formula; numbers are written as they are.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from dermdemo import RESEARCH_NOTICE
from dermdemo.types import Analysis, Attribution, Failure, Neighbour, Novelty, Prediction, Reconstruction

SCHEMA_VERSION = 1
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
COLUMNS_BEFORE = ("name", "error", "error_reason", "agreement")
COLUMNS_AFTER = ("reconstruction_mse", "reconstruction_psnr", "reconstruction_ssim", "novelty_score", "novelty_level",
                 "map_x", "map_y", "nearest_image_id", "nearest_label", "nearest_distance", "notes", "notice")


def analysis_to_dict(analysis: Analysis | Failure, *, include_images: bool = False) -> dict[str, Any]:
    """JSON values of one result; nothing in it is NaN or infinite.

    Args:
        include_images: add the inputs, the reconstruction and the maps as base64 PNG.
    """
    head: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "notice": RESEARCH_NOTICE, "name": analysis.name}
    if isinstance(analysis, Failure):
        return head | {"error": {"message": analysis.message, "reason": analysis.reason}}
    position, timing = analysis.position, analysis.timing
    times = {part: getattr(timing, part) for part in ("decode", "forward", "attribution", "latent", "total")}
    values = head | {
        "source": {"width": analysis.source_size[0], "height": analysis.source_size[1]},
        "device": analysis.device,
        "models": dict(analysis.models),
        "notes": list(analysis.notes),
        "agreement": analysis.agreement,
        "arms": {arm: _arm(p) for arm, p in analysis.arms.items()},
        "attributions": {arm: _attribution(a) for arm, a in analysis.attributions.items()},
        "reconstruction": _reconstruction(analysis.reconstruction),
        "novelty": None if analysis.novelty is None else _novelty(analysis.novelty),
        "position": None if position is None else {"x": position.x, "y": position.y},
        "neighbours": [_neighbour(n) for n in analysis.neighbours],
        "latent": {"mu": _numbers(analysis.mu), "logvar": _numbers(analysis.logvar)},
        "timing_ms": {part: round(ms, 3) for part, ms in times.items()},
    }
    return values | ({"images": _images(analysis)} if include_images else {})


def _arm(p: Prediction) -> dict[str, Any]:
    return {"checkpoint": p.checkpoint, "sha256": p.sha256, "origin": p.origin, "top": p.top,
            "probabilities": dict(p.probabilities), "raw_probabilities": dict(p.raw_probabilities),
            "temperature": p.temperature, "malignant": p.malignant, "prediction_set": list(p.prediction_set)}


def _attribution(a: Attribution) -> dict[str, Any]:
    return {"target": a.target, "layer": a.layer, "grid": list(a.grid), "peak": a.peak}


def _reconstruction(r: Reconstruction) -> dict[str, float]:
    return {"mse": r.mse, "psnr": r.psnr, "ssim": r.ssim}


def _novelty(n: Novelty) -> dict[str, Any]:
    return {"score": n.score, "level": n.level, "distance": n.distance, "distance_quantile": n.distance_quantile,
            "error_quantile": n.error_quantile, "detail_quantile": n.detail_quantile,
            "feature_quantile": n.feature_quantile, "reference": n.reference}


def _neighbour(n: Neighbour) -> dict[str, Any]:
    return {"image_id": n.image_id, "group": n.group, "label": n.label, "split": n.split, "distance": n.distance,
            "index": n.index, "metadata": dict(n.metadata)}


def _numbers(values: np.ndarray) -> list[float]:
    return [round(float(v), 6) for v in values]


def _images(analysis: Analysis) -> dict[str, Any]:
    return {
        "inputs": {arm: png_base64(pixels) for arm, pixels in analysis.inputs.items()},
        "attributions": {arm: png_base64(_grey(a.heat)) for arm, a in analysis.attributions.items()},
        "original": png_base64(analysis.reconstruction.original),
        "reconstruction": png_base64(analysis.reconstruction.image),
        "error": png_base64(_grey(analysis.reconstruction.error)),
    }


def _grey(values: np.ndarray) -> np.ndarray:
    """(S, S) in [0, 1] -> (S, S) uint8."""
    return np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)


def png_base64(pixels: np.ndarray) -> str:
    """(S, S, 3) or (S, S) uint8 -> PNG, base64 without line breaks."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def to_csv_rows(results: Iterable[Analysis | Failure]) -> list[list[str]]:
    """A header and one row per result, for `csv.writer`; arms and classes become columns.

    Cells of a failure are empty but for `name`, `error`, `error_reason` and `notice`.
    """
    results = list(results)
    arms: dict[str, dict[str, None]] = {}
    for result in results:
        if isinstance(result, Analysis):
            for arm, prediction in result.arms.items():
                arms.setdefault(arm, {}).update(dict.fromkeys(prediction.probabilities))
    header = [*COLUMNS_BEFORE, *_arm_columns(arms), *COLUMNS_AFTER]
    rows = [_failure_row(r) if isinstance(r, Failure) else _analysis_row(r) for r in results]
    return [[guard(column) for column in header], *([row.get(column, "") for column in header] for row in rows)]


def _arm_columns(arms: Mapping[str, Iterable[str]]) -> Sequence[str]:
    columns = []
    for arm, classes in arms.items():
        columns += [f"{arm}_top", f"{arm}_malignant", f"{arm}_set", *(f"{arm}_p_{c}" for c in classes)]
        columns.append(f"{arm}_sha256")
    return columns


def guard(cell: str) -> str:
    """Text that a spreadsheet takes for text: ``'`` before what it would take for a formula (OWASP)."""
    return f"'{cell}" if cell.startswith(FORMULA_STARTS) else cell


def _number(value: float | None) -> str:
    return "" if value is None else format(value, ".6g")


def _failure_row(failure: Failure) -> dict[str, str]:
    return {"name": guard(failure.name), "error": guard(failure.message), "error_reason": guard(failure.reason),
            "notice": RESEARCH_NOTICE}


def _analysis_row(a: Analysis) -> dict[str, str]:
    row = {"name": guard(a.name), "agreement": a.agreement, "notes": guard(" ".join(a.notes)),
           "notice": RESEARCH_NOTICE,
           "reconstruction_mse": _number(a.reconstruction.mse), "reconstruction_psnr": _number(a.reconstruction.psnr),
           "reconstruction_ssim": _number(a.reconstruction.ssim)}
    for arm, p in a.arms.items():
        row |= {f"{arm}_top": guard(p.top), f"{arm}_malignant": _number(p.malignant), f"{arm}_sha256": p.sha256,
                f"{arm}_set": guard(" ".join(p.prediction_set))}
        row |= {f"{arm}_p_{c}": _number(value) for c, value in p.probabilities.items()}
    if a.novelty:
        row |= {"novelty_score": _number(a.novelty.score), "novelty_level": a.novelty.level}
    if a.position:
        row |= {"map_x": _number(a.position.x), "map_y": _number(a.position.y)}
    if a.neighbours:
        nearest = a.neighbours[0]
        row |= {"nearest_image_id": guard(nearest.image_id), "nearest_label": guard(nearest.label),
                "nearest_distance": _number(nearest.distance)}
    return row
