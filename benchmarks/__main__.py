"""`python -m benchmarks`: measure, print a table, and with --json the same as JSON."""

from __future__ import annotations

import dataclasses
import json
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import tyro

from benchmarks.timing import Ratio, Timed
from dermdemo.config import DeviceName, environment
from dermdemo.errors import DermdemoError
from dermdemo.runtime import resolve_device
from dermdemo.training.loop import hardware, versions


@dataclass(frozen=True)
class Settings:
    """Ratios within one run: one analysis against its bare passes and a plain pipeline; loops against bare ones."""

    checkpoints: Path = dataclasses.field(default_factory=lambda: environment().checkpoints)
    """Store to analyse with; by default the shipped checkpoints."""
    only: Literal["all", "analysis", "training"] = "all"
    """Which benchmarks to run."""
    repeats: int = 20
    """Measured rounds of the analysis."""
    epochs: int = 5
    """Measured epochs of each training loop."""
    encoder: str = "convnext_tiny"
    """Encoder of the training benchmarks."""
    device: DeviceName = "auto"
    threads: int = 0
    """Threads of torch; 0 leaves its own choice."""
    plain: bool = True
    """Against the plain pipeline too; needs `pip install -r requirements-bench.txt`."""
    json: bool = False
    """Print JSON instead of the table."""


def run(settings: Settings) -> dict[str, object]:
    """Measure what is asked for: times in milliseconds, speeds in images per second, ratios with their aims."""
    times: list[dict[str, object]] = []
    speeds: list[dict[str, object]] = []
    ratios: list[Ratio] = []
    if settings.only != "training":
        from benchmarks.analysis import measure_analysis

        timed, found = measure_analysis(settings.checkpoints, device=settings.device, repeats=settings.repeats,
                                        plain=settings.plain)
        times, ratios = [_times(t) for t in timed], ratios + found
    if settings.only != "analysis":
        from benchmarks.training import measure_training

        raced = measure_training(encoder=settings.encoder, device=settings.device, repeats=settings.epochs)
        speeds = [{"name": s.name, "ours": statistics.median(s.ours), "bare": statistics.median(s.bare)}
                  for s in raced]
        ratios += [s.ratio() for s in raced]
    return {"hardware": hardware(resolve_device(settings.device)), "threads": torch.get_num_threads(),
            "versions": versions(), "times_ms": times, "images_per_second": speeds,
            "ratios": [dataclasses.asdict(r) | {"met": r.met} for r in ratios]}


def _times(timed: Timed) -> dict[str, object]:
    ms = [1000 * s for s in timed.seconds]
    return {"name": timed.name, "median": statistics.median(ms), "low": min(ms), "high": max(ms), "rounds": len(ms)}


def render(result: dict[str, object]) -> str:
    """The result as a table for people."""
    lines = [f"{result['hardware']}, torch threads {result['threads']}", ""]
    for t in result["times_ms"]:  # type: ignore[attr-defined]
        spread = f"({t['low']:.1f} to {t['high']:.1f}, {t['rounds']} rounds)"
        lines.append(f"{t['name']:<50}{t['median']:>10.1f} ms   {spread}")
    for s in result["images_per_second"]:  # type: ignore[attr-defined]
        lines.append(f"{s['name']:<50}{s['ours']:>10.1f} images/s   (bare loop {s['bare']:.1f})")
    lines.append("")
    for r in result["ratios"]:  # type: ignore[attr-defined]
        aim = f"aim {r['bound']} {r['aim']:g}: {'met' if r['met'] else 'MISSED'}" if r["aim"] else "for information"
        lines.append(f"{r['name']:<70}{r['value']:>7.2f}   ({r['low']:.2f} to {r['high']:.2f})   {aim}")
    return "\n".join(lines)


def main() -> int:
    """Exit code 0 whatever the ratios are; 1 if something could not be measured."""
    settings = tyro.cli(Settings, prog="python -m benchmarks")
    if settings.threads:
        torch.set_num_threads(settings.threads)
    try:
        result = run(settings)
    except DermdemoError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        print(f"benchmarks: {error}. Install requirements-bench.txt, or add --no-plain.", file=sys.stderr)
        return 1
    print(json.dumps(result, indent=2) if settings.json else render(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
