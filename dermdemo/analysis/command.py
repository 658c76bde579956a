"""`analyse`: many images, one report, an exit code.

JSON: one object for one image, an array in the order given for several. Progress goes to stderr.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from tqdm import tqdm

from dermdemo import RESEARCH_NOTICE
from dermdemo.analysis.analyser import Analyser
from dermdemo.analysis.export import analysis_to_dict, to_csv_rows
from dermdemo.config import DeviceName
from dermdemo.diagnoses import full_name
from dermdemo.types import Analysis, Failure

Format = Literal["text", "json", "csv"]
BAR = 24


def run_analyse(images: Sequence[Path], checkpoints: Path, form: Format, *, target: str | None, device: DeviceName
                ) -> int:
    """Analyse files and print. Returns 0, 1 if any failed, 2 if none were given."""
    if not images:
        print("dermdemo: name at least one image.", file=sys.stderr)
        return 2
    analyser = Analyser(checkpoints, device=device)
    stream = analyser.analyse_many(((p.name, p) for p in images), target=target)
    quiet = len(images) < 3 or not sys.stderr.isatty()
    results = list(tqdm(stream, total=len(images), desc="analysing", disable=quiet))
    failures = [r for r in results if isinstance(r, Failure)]
    if form == "json":
        values = [analysis_to_dict(r) for r in results]
        print(json.dumps(values if len(images) > 1 else values[0], indent=2, allow_nan=False))
    elif form == "csv":
        csv.writer(sys.stdout, lineterminator="\n").writerows(to_csv_rows(results))
    else:
        print("\n\n".join(render(r) for r in results))
        print(f"\n{RESEARCH_NOTICE}")
    for failure in failures:
        print(f"dermdemo: {failure.name}: {failure.message}", file=sys.stderr)
    return int(bool(failures))


def render(result: Analysis | Failure) -> str:
    """One result for a terminal."""
    if isinstance(result, Failure):
        return f"{result.name}\n  not analysed: {result.message}"
    lines = [f"{result.name}  ({result.source_size[0]} x {result.source_size[1]} px, {result.device}, "
             f"{result.timing.total:.0f} ms)"]
    for arm, prediction in result.arms.items():
        malignant = "" if prediction.malignant is None else f"; malignant or pre-malignant {prediction.malignant:.3f}"
        lines += ["", f"  {arm}: {full_name(prediction.top)}{malignant}", f"    encoder: {prediction.origin}"]
        lines += _bars(prediction.probabilities.items())
    r = result.reconstruction
    lines += ["", f"  arms {result.agreement.replace('-', ' ')}",
              f"  reconstruction PSNR {r.psnr:.1f} dB, SSIM {r.ssim:.3f}"]
    if result.novelty is not None:
        n = result.novelty
        lines.append(f"  novelty {n.score:.2f} ({n.level}) against {n.reference}")
    if result.position is not None:
        near = ", ".join(f"{x.image_id} ({x.label})" for x in result.neighbours[:3])
        lines += [f"  map ({result.position.x:.2f}, {result.position.y:.2f}); nearest lesions {near}"]
    return "\n".join([*lines, *(f"  note: {note}" for note in result.notes)])


def _bars(probabilities: Iterable[tuple[str, float]]) -> list[str]:
    ranked = sorted(probabilities, key=lambda item: -item[1])
    return [f"    {full_name(key):<38}{value:6.3f}  {'#' * round(BAR * value)}" for key, value in ranked]
