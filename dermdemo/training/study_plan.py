"""What a study has left to do, and how long that takes going by what has finished."""

from __future__ import annotations

from dermdemo.evaluation.seeds.folder import RunPlace
from dermdemo.evaluation.seeds.variants import Variant
from dermdemo.training.events import read_events
from dermdemo.training.schedules import clock
from dermdemo.training.study import TO_TRAIN, StudyRequest


def plan(request: StudyRequest) -> str:
    """A line per run, and the time that is left in all. Nothing is loaded, trained or written."""
    places = request.places()
    known = _known_seconds(places)
    lines, total, unknown = [], 0.0, 0
    for variant, place in places:
        kind = place.kind
        seconds, by = estimate(variant, request, known)
        left = None if seconds is None else seconds * (1 - _done(place, request.config.epochs))
        text = {"done": "finished, test read", "trained": "finished, test to be read"}.get(kind, "")
        if kind in TO_TRAIN:
            after = f"goes on after epoch {_epoch(place)} of {request.config.epochs}"
            begun = "to train" if kind == "missing" else after
            text = f"{begun}, {'no finished run to go by' if left is None else f'about {clock(left)} {by}'}"
            total += left or 0.0
            unknown += left is None
        lines.append(f"{place.name:<24}{text}")
    todo = sum(place.kind in TO_TRAIN for _, place in places)
    end = f"{todo} of {len(places)} runs to train" + (f": about {clock(total)}" if todo > unknown else "")
    return "\n".join([*lines, end + (f", and {unknown} of unknown length" if unknown else "")])


def _known_seconds(places: list[tuple[Variant, RunPlace]]) -> dict[str, list[float]]:
    """Arm -> wall times of its finished runs, those that were broken off in between aside."""
    known: dict[str, list[float]] = {}
    for variant, place in places:
        model = place.model if place.kind not in TO_TRAIN else None
        if model is not None and model.seconds > 0:
            known.setdefault(variant.name, []).append(model.seconds)
    return known


def estimate(variant: Variant, request: StudyRequest, known: dict[str, list[float]]) -> tuple[float | None, str]:
    """Seconds of one run, and what they are gone by: runs of this arm, else of arms that train as many stages."""
    if variant.name in known:
        return _mean(known[variant.name]), f"(as {len(known[variant.name])} finished of this arm)"
    stages = {v.name: v.config(request.config, 0).unfrozen_stages for v in request.arms}
    alike = [s for name, found in known.items() if stages.get(name) == stages[variant.name] for s in found]
    return (_mean(alike), "(as arms that train as many stages)") if alike else (None, "")


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _epoch(place: RunPlace) -> int:
    """Last epoch of a run that was broken off."""
    if not (place.folder / "events.jsonl").exists():
        return 0
    return max((int(e["epoch"]) for e in read_events(place.folder) if e["kind"] == "checkpoint"), default=0)


def _done(place: RunPlace, epochs: int) -> float:
    return _epoch(place) / epochs if place.kind == "broken off" else 0.0
