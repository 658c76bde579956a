"""What is loaded: every model, where each of its files came from, and how it was trained."""

from __future__ import annotations

from dermdemo.models.checkpoint import CheckpointMeta
from dermdemo.ui import text
from dermdemo.ui.evidence.gather import Evidence, tones
from dermdemo.ui.evidence.parts import hashed, note, number, section
from dermdemo.ui.figures import escape
from dermdemo.ui.wording import models as words


def loaded(evidence: Evidence) -> str:
    """One card per model."""
    cards = "".join(_model(evidence, meta) for meta in evidence.models)
    return section(words.LOADED_TITLE, f'{note(words.LOADED_INTRO)}<div class="dd-models-grid">{cards}</div>',
                   anchor="loaded")


def model_name(meta: CheckpointMeta) -> str:
    """Name of a model as the page calls it."""
    if meta.arm is not None:
        return text.arm_name(meta.arm)
    return words.VAE_NAME if meta.latent is not None else words.BASE_NAME


def _model(evidence: Evidence, meta: CheckpointMeta) -> str:
    tone = tones(tuple(evidence.arms)).get(meta.arm or "", "plain")
    kind = words.KIND_VAE if meta.name == evidence.vae.name else words.KIND_BASE
    kind = words.KIND_ARM.format(stages=meta.unfrozen_stages) if meta.arm is not None else kind
    facts = "".join(f"<div><dt>{escape(k)}</dt><dd>{v}</dd></div>" for k, v in _facts(meta).items())
    return (
        f'<article class="dd-model is-{tone}"><header><h3>{escape(model_name(meta))}</h3>'
        f"<code>{escape(meta.name)}</code><p>{escape(kind)}</p></header>"
        f'<dl class="dd-facts">{facts}</dl>{_parts(meta)}</article>'
    )


def _facts(meta: CheckpointMeta) -> dict[str, str]:
    """Label -> HTML of what is known of a model."""
    crop = words.CROPS.get(meta.input.crop, meta.input.crop)
    facts = {words.FACT_ORIGIN: escape(meta.origin_text), words.FACT_ENCODER: escape(meta.encoder),
             words.FACT_INPUT: escape(words.INPUT.format(size=meta.input.size, crop=crop))}  # fmt: skip
    if meta.latent is not None:
        facts[words.FACT_LATENT] = escape(words.LATENT.format(latent=meta.latent))
    if meta.spent:
        facts[words.FACT_TRAINED] = escape(trained(meta))
    if meta.data:
        counts = {k: number(meta.data.get(k)) for k in ("images", "groups")}
        facts[words.FACT_DATA] = escape(words.DATA.format(name=meta.data.get("name", "?"), **counts))
    facts[words.FACT_LICENCE] = escape(meta.licence)
    facts[words.FACT_MODEL] = f"SHA-256 {hashed(meta.sha256)}"
    return facts


def trained(meta: CheckpointMeta) -> str:
    """When, how long and on what a model was trained, as far as it is stored."""
    spent = meta.spent
    hours = spent.get("hours")
    said = words.TRAINED.format(
        epochs=spent.get("epochs", "?"), schedule=spent.get("schedule", "?"), seed=meta.seed,
        hours=f"{hours:.2f}" if isinstance(hours, int | float) else "?",
        hardware=spent.get("hardware", "?"))  # fmt: skip
    return (words.TRAINED_ON.format(day=spent["finished"]) if spent.get("finished") else "") + said


def _parts(meta: CheckpointMeta) -> str:
    """Every file of weights a model runs on, and whose it is."""
    rows = [(part, words.PART_OWN, sha256) for part, sha256 in meta.files.items()]
    rows += [(b.part, words.PART_BORROWED.format(checkpoint=b.checkpoint), b.sha256) for b in meta.base]
    head = "".join(f'<th scope="col">{escape(h)}</th>' for h in words.PARTS_HEAD)
    body = "".join(
        f"<tr><td>{escape(words.PARTS.get(part, part))}</td><td>{escape(whose)}</td><td>{hashed(sha256)}</td></tr>"
        for part, whose, sha256 in sorted(rows, key=lambda row: list(words.PARTS).index(row[0]))
        if part in words.PARTS
    )
    return f'<table class="dd-table dd-parts"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
