"""The standing parts of study.md: how to read it, and how it was made."""

from __future__ import annotations

from dermdemo.evaluation.seeds.facts import StudyFacts
from dermdemo.evaluation.seeds.variants import PIXELS


def limits(facts: StudyFacts) -> list[str]:
    """What the figures do not say."""
    n = len(facts.finished_seeds)
    points = [
        "Every pretrained arm starts from one encoder: seeds vary the head's initialisation, dropout, the order of "
        "the data, which augmentation view a step takes and, for the untrained arms, the encoder. How much another "
        "pretraining run or another draw of views would change is not in the intervals. Test lesions are the same "
        "for all seeds.",
        "Few seeds are a small sample: the part of the intervals that comes from them is rather too narrow."
        if n > 1 else "With a single seed, chance in training is not in the intervals at all.",
        "All arms have the same split, head, augmentation, schedule and settings; none was tuned by itself, and what "
        "suits one arm may not suit another.",
        "`scratch` trains every stage, so nothing of it can be kept between epochs and it sees a fresh view in every "
        "step, where the others see a fixed number of views.",
        "`random`, `random-head` and the like show what the head and the last stage reach without any pretraining; "
        "`-ls1` starts with layer scale 1, as 1e-6 leaves an untrained ConvNeXt little more than its stem and "
        "downsampling. Head-only arms are no like-for-like comparison with arms that train their last stage.",
        "ECE is biased upward on small sets. A class with few lesions has a wide interval, or none.",
        "HAM10000 has no skin-tone labels and comes from two sites; whether this holds elsewhere is not known.",
    ]
    points += [f"Not finished, and not in any figure: {', '.join(facts.missing)}."] if facts.missing else []
    return ["## How to read this", "", *(f"- {p}" for p in (*points, *facts.notes))]


def how_made(facts: StudyFacts) -> list[str]:
    """Settings, versions, hashes, readings."""
    hours = sum(m.hours for m in facts.models)
    hardware = ", ".join(dict.fromkeys(m.hardware for m in facts.models))
    origins = dict(reversed([(m.arm, m.origin) for m in facts.models]))
    origins = {a: origins[a] for a in facts.networks}
    settings = ", ".join(f"{k} {v}" for k, v in facts.config.items())
    lines = [
        f"- Data: {facts.data}, hash `{facts.data_hash[:12]}`; split seed {facts.split_seed}, hash "
        f"`{facts.split_hash[:12]}`.",
        f"- Encoder {facts.encoder}. Settings: {settings}.",
        *(f"- `{arm}` starts from: {origin}{_hash(facts, arm)}." for arm, origin in origins.items()),
        f"- {len(facts.models)} models, {hours:.2f} hours of training on {hardware}.",
        f"- Versions: {', '.join(f'{k} {v}' for k, v in facts.versions.items())}.",
        f"- Resampling: {facts.n_resamples} draws, seed {facts.resampling_seed}.",
    ]
    if facts.control_readings is not None:
        lines.append(f"- `{PIXELS}` has no weights to choose. Readings of test for it on that machine, by all "
                     f"studies of these data: {facts.control_readings}.")
    rows = [f"| `{m.arm}` | {m.seed} | `{m.sha256[:12]}` | {m.readings} | {m.epochs} | {m.finished or ''} |"
            for m in facts.models]
    return ["## How it was made", "", *lines, "", "| arm | seed | model (SHA-256) | test read | epochs | finished |",
            "|---|---|---|---|---|---|", *rows]


def _hash(facts: StudyFacts, arm: str) -> str:
    start = facts.starts.get(arm.split("-")[0], "")
    return f" (SHA-256 {start[:12]})" if len(start) == 64 else ""
