"""Checkpoints: safetensors parts beside meta.json, hashed, written whole, loaded strictly.

Unusual here:
- an encoder is stored in two parts, `trunk` (stem, stages 0-2) and `top` (stage 3 and norm), so that
  a classifier whose body is frozen up to its last stage stores only what it trained and names the
  trunk it stands on by hash;
- matrices are stored as fp16, 1-D tensors as fp32 (a layer scale of 1e-6 shifts by 1.3 % in fp16);
- a model is built without memory and takes the stored tensors as they are: it is in memory once while it
  loads, and no time goes into random weights that are thrown away;
- nothing is unpickled, ever.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as dump_safetensors
from torch import Tensor

from dermdemo.errors import CheckpointError, NotFittedError
from dermdemo.models.classifier import Classifier
from dermdemo.models.decoder import blank_coarse
from dermdemo.models.encoder import ENCODERS, STAGES, Encoder, part_of
from dermdemo.models.vae import VAE
from dermdemo.types import InputSpec

SCHEMA_VERSION = 1
META_FILE = "meta.json"
M = TypeVar("M", bound=torch.nn.Module)
Kind = Literal["vae", "ae", "encoder", "ssl", "classifier"]
BARE = ("encoder", "ssl")  # trunk and top, nothing else
Parts = dict[str, dict[str, Tensor]]
Known = dict[str, dict[str, Tensor]]  # SHA-256 -> tensors of a part that has been read and checked


@dataclass(frozen=True, kw_only=True)
class BasePart:
    """A part that lives in another checkpoint: its folder name, part name and SHA-256."""

    checkpoint: str
    part: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class CheckpointMeta:
    """Everything known of a checkpoint; the content of meta.json.

    Attributes:
        origin: short slug of where the encoder's weights came from, such as ``vae:HAM10000``.
        origin_text: the same in words, shown to users.
        files: part name -> SHA-256 of ``<part>.safetensors``.
        base: parts taken from another checkpoint.
        data: source name, hash, image and group counts.
        spent: epochs, hours, hardware.
    """

    kind: Kind
    name: str
    encoder: str
    input: InputSpec
    origin: str
    origin_text: str
    licence: str
    arm: str | None = None
    classes: tuple[str, ...] = ()
    latent: int | None = None
    hidden: int | None = None
    unfrozen_stages: int | None = None
    head_trained: bool = False
    temperature: float | None = None
    thresholds: Mapping[str, Any] = field(default_factory=dict)
    conformal: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    base: tuple[BasePart, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    data: Mapping[str, Any] = field(default_factory=dict)
    split_hash: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    spent: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    @property
    def sha256(self) -> str:
        """One hash for the whole model: over all parts, own and borrowed."""
        lines = [f"{k}={v}" for k, v in self.files.items()] + [f"{b.part}={b.sha256}" for b in self.base]
        return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()

    @property
    def trunk_sha256(self) -> str:
        """SHA-256 of the trunk the model runs on, own or borrowed."""
        borrowed = {base.part: base.sha256 for base in self.base}
        return borrowed.get("trunk") or self.files["trunk"]

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> CheckpointMeta:
        """Parse meta.json; anything missing, unknown or of the wrong form is a CheckpointError."""
        try:
            values = json.loads(text)
            if values.get("schema_version") != SCHEMA_VERSION:
                raise CheckpointError(f"{where} has schema version {values.get('schema_version')}; this dermdemo "
                                      f"reads version {SCHEMA_VERSION}.")
            spec: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values["input"].items()}
            values["input"] = InputSpec(**spec)
            values["base"] = tuple(BasePart(**b) for b in values.get("base", ()))
            values["classes"] = tuple(values.get("classes", ()))
            meta = cls(**values)
            _check_form(meta)
            return meta
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CheckpointError(f"{where} is not a checkpoint's meta.json: {error}.") from error


_TEXTS = ("name", "origin", "origin_text", "licence")
_TABLES = ("thresholds", "conformal", "files", "config", "data", "versions", "spent", "metrics")
_COUNTS = {"latent": range(1, 65537), "hidden": range(1, 65537), "unfrozen_stages": range(STAGES + 1)}


def _check_form(meta: CheckpointMeta) -> None:
    """Raise ValueError naming the fields that JSON can hold but a checkpoint cannot: meta.json may be edited."""
    spec, heat = meta.input, meta.temperature
    fits = {name: isinstance(getattr(meta, name), str) for name in _TEXTS}
    fits |= {name: isinstance(getattr(meta, name), dict) for name in _TABLES}
    fits |= {name: getattr(meta, name) is None or getattr(meta, name) in known for name, known in _COUNTS.items()}
    fits["kind"] = meta.kind in get_args(Kind)
    fits["encoder"] = meta.encoder in ENCODERS
    fits["classes"] = all(isinstance(c, str) for c in meta.classes) and len(set(meta.classes)) == len(meta.classes)
    fits["temperature"] = heat is None or (isinstance(heat, int | float) and heat > 0)
    colours = len(spec.mean) == len(spec.std) == 3 and all(isinstance(v, int | float) for v in spec.mean + spec.std)
    fits["input"] = spec.size in range(32, 1025, 32) and spec.crop in ("center", "squash") and colours
    wrong = [name for name, ok in fits.items() if not ok]
    if wrong:
        raise ValueError(f"wrong value of {', '.join(wrong)}")


class Loaded(NamedTuple):
    """A module ready to use (eval mode, fp32) and the metadata it came with."""

    module: Any
    meta: CheckpointMeta


def storable(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Matrices to fp16, 1-D and smaller to fp32; contiguous CPU copies.

    Raises:
        CheckpointError: a weight is not finite in fp16.
    """
    out = {}
    for key, value in state.items():
        value = value.detach().cpu()
        if value.is_floating_point():
            value = value.to(torch.float16 if value.ndim > 1 else torch.float32)
            if not torch.isfinite(value).all():
                raise CheckpointError(f"The weight {key} is not finite once stored: the model is not saved.")
        out[key] = value.contiguous()
    return out


def encoder_parts(encoder: Encoder) -> Parts:
    """State of an encoder by part: trunk and top."""
    parts: Parts = {"trunk": {}, "top": {}}
    for key, value in encoder.state_dict().items():
        parts[part_of(key)][key] = value
    return parts


def save_checkpoint(folder: Path, meta: CheckpointMeta, parts: Parts) -> CheckpointMeta:
    """Write a checkpoint folder whole: built aside, then renamed (an old one is moved out of the way first).

    Returns:
        `meta` with the hashes of the files written.
    """
    blobs = {name: dump_safetensors(storable(state)) for name, state in parts.items()}
    files = {name: hashlib.sha256(blob).hexdigest() for name, blob in blobs.items()}
    meta = dataclasses.replace(meta, files=files, name=folder.name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        for name, blob in blobs.items():
            (staging / f"{name}.safetensors").write_bytes(blob)
        (staging / META_FILE).write_text(meta.to_json())
        _swap(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return meta


def _swap(staging: Path, folder: Path) -> None:
    staging.chmod(0o755)
    if folder.exists():
        old = folder.with_name(f".{folder.name}.old.{os.getpid()}")
        os.replace(folder, old)
        os.replace(staging, folder)
        shutil.rmtree(old)
    else:
        os.replace(staging, folder)


def rewrite_meta(folder: Path, meta: CheckpointMeta) -> None:
    """Replace meta.json alone (metrics, temperature); the weights stay as they are."""
    temporary = folder / f".{META_FILE}.tmp"
    temporary.write_text(meta.to_json())
    os.replace(temporary, folder / META_FILE)


def trim(folder: Path) -> CheckpointMeta:
    """Drop the `top` of an encoder checkpoint; its trunk keeps its hash and can still be borrowed.

    Raises:
        CheckpointError: not an encoder (a VAE and a classifier need all their parts).
    """
    meta = load_meta(folder)
    if meta.kind not in BARE:
        raise CheckpointError(f"'{folder}' holds a {meta.kind}: only a bare encoder can do without its top.")
    meta = dataclasses.replace(meta, files={k: v for k, v in meta.files.items() if k != "top"})
    rewrite_meta(folder, meta)
    (folder / "top.safetensors").unlink(missing_ok=True)
    return meta


def load_meta(folder: Path) -> CheckpointMeta:
    """Metadata of a checkpoint folder. Raises CheckpointError if there is none or it is malformed."""
    path = folder / META_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"'{folder}' is not a checkpoint: {META_FILE} cannot be read. Train one, or pass the "
                              "folder that holds it.") from error
    return CheckpointMeta.from_json(text, str(path))


def load_part(folder: Path, part: str, sha256: str) -> dict[str, Tensor]:
    """Tensors of one part in fp32, after checking the file's SHA-256.

    Raises:
        CheckpointError: missing, changed since it was saved, or not safetensors.
    """
    path = folder / f"{part}.safetensors"
    try:
        blob = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"'{path}' is missing: the checkpoint is incomplete.") from error
    if hashlib.sha256(blob).hexdigest() != sha256:
        raise CheckpointError(f"'{path}' has changed since it was saved (SHA-256 differs): it is not loaded. "
                              "Restore the file, or train the model again.")
    try:
        tensors = load_safetensors(blob)
    except SafetensorError as error:
        raise CheckpointError(f"'{path}' is not a safetensors file: {error}.") from error
    del blob
    stored = ((name, tensors.pop(name)) for name in list(tensors))  # each is freed once it is converted
    return {name: value.float() if value.is_floating_point() else value for name, value in stored}


def _own_part(folder: Path, meta: CheckpointMeta, part: str) -> dict[str, Tensor]:
    if part not in meta.files:
        raise CheckpointError(f"'{folder}' ships without its part '{part}'; it has "
                              f"{', '.join(meta.files) or 'none'}.")
    return load_part(folder, part, meta.files[part])


def find_base(folder: Path, base: BasePart) -> Path:
    """Folder of the checkpoint that holds a borrowed part: the named sibling, or any with that hash.

    Raises:
        CheckpointError: no sibling holds a part with that hash.
    """
    siblings = [folder.parent / base.checkpoint, *sorted(p for p in folder.parent.iterdir() if p.is_dir())]
    for candidate in siblings:
        with contextlib.suppress(CheckpointError):  # a broken neighbour is no concern of this checkpoint
            if load_meta(candidate).files.get(base.part) == base.sha256:
                return candidate
    raise CheckpointError(f"'{folder}' stands on the {base.part} of '{base.checkpoint}' with SHA-256 "
                          f"{base.sha256[:12]}..., which is not beside it. Put that checkpoint next to it.")


def load_strict(module: torch.nn.Module, state: Mapping[str, Tensor], where: str, *, assign: bool = False) -> None:
    """load_state_dict with every mismatch reported as a CheckpointError; `assign` keeps the tensors themselves."""
    try:
        module.load_state_dict(dict(state), strict=True, assign=assign)
    except RuntimeError as error:
        raise CheckpointError(f"The weights in '{where}' do not fit the model: {str(error).splitlines()[-1].strip()}"
                              ) from error


def _borrowed(folder: Path, meta: CheckpointMeta, part: str) -> dict[str, Tensor]:
    """A part of this checkpoint, wherever it lives."""
    for base in meta.base:
        if base.part == part:
            return load_part(find_base(folder, base), part, base.sha256)
    return _own_part(folder, meta, part)


def _encoder_state(folder: Path, meta: CheckpointMeta, known: Known, prefix: str = "") -> dict[str, Tensor]:
    """Trunk and top, own or borrowed; what is in `known` is taken from there, what is read goes there."""
    hashes = {**meta.files, **{base.part: base.sha256 for base in meta.base}}
    state: dict[str, Tensor] = {}
    for part in ("trunk", "top"):
        sha256 = hashes.get(part, "")
        if sha256 not in known:
            known[sha256] = _borrowed(folder, meta, part)
        state |= {f"{prefix}{k}": v for k, v in known[sha256].items()}
    return state


def _without_memory(build: Callable[[], M]) -> M:
    """A module whose weights are still to come; only the normalisation is in place."""
    with torch.device("meta"):
        module = build()
    for part in module.modules():
        if isinstance(part, Encoder):
            part.set_normalisation()
    return module


def load_encoder(folder: Path) -> Loaded:
    """The encoder of any checkpoint of ours, in eval mode. Raises CheckpointError."""
    meta = load_meta(folder)
    encoder = _without_memory(lambda: Encoder(meta.encoder))
    load_strict(encoder, _encoder_state(folder, meta, {}), str(folder), assign=True)
    return Loaded(encoder.eval(), meta)


def load_vae(folder: Path, known: Known | None = None) -> Loaded:
    """A VAE or autoencoder in eval mode; `known` as in `load_classifier`. Raises CheckpointError."""
    meta = load_meta(folder)
    latent = meta.latent
    if meta.kind not in ("vae", "ae") or latent is None:
        raise CheckpointError(f"'{folder}' holds a {meta.kind}, not a VAE.")
    vae = _without_memory(lambda: VAE(meta.encoder, latent=latent, size=meta.input.size, ae=meta.kind == "ae"))
    encoder = _encoder_state(folder, meta, {} if known is None else known, "encoder.")
    decoder = {f"decoder.{k}": v for k, v in blank_coarse(latent).items()} | _own_part(folder, meta, "decoder")
    load_strict(vae, encoder | decoder, str(folder), assign=True)
    return Loaded(vae.eval(), meta)


def load_classifier(folder: Path, known: Known | None = None) -> Loaded:
    """A classifier in eval mode.

    Args:
        known: parts already read, by SHA-256, and where those read now are put: models loaded with the same
            one share the tensors of equal parts, which is for models that are not trained any more.

    Raises:
        CheckpointError: it does not load strictly.
        NotFittedError: its head has never been trained.
    """
    meta = load_meta(folder)
    hidden, unfrozen = meta.hidden, meta.unfrozen_stages
    if meta.kind != "classifier" or hidden is None or unfrozen is None:
        raise CheckpointError(f"'{folder}' holds a {meta.kind}, not a classifier.")
    if not meta.head_trained:
        raise NotFittedError(f"The head of '{folder}' has never been trained: it is not served. Run "
                             "`python -m dermdemo train` first.")
    dropout = meta.config.get("dropout", 0.0)
    if not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise CheckpointError(f"'{folder}' names a dropout of {dropout!r}; it must lie in [0, 1).")
    model = _without_memory(lambda: Classifier(Encoder(meta.encoder), len(meta.classes), hidden=hidden,
                                               dropout=dropout, unfrozen=unfrozen))
    encoder = _encoder_state(folder, meta, {} if known is None else known, "encoder.")
    head = {f"head.{k}": v for k, v in _own_part(folder, meta, "head").items()}
    load_strict(model, encoder | head, str(folder), assign=True)
    model.head_trained = True
    return Loaded(model.eval(), meta)


def vae_parts(vae: VAE) -> Parts:
    """Parts of a VAE checkpoint: trunk, top, decoder (neck, posterior, decoder, noise variance)."""
    rest = {k: v for k, v in vae.state_dict().items() if not k.startswith("encoder.")}
    return encoder_parts(vae.encoder) | {"decoder": rest}


def classifier_parts(model: Classifier, base: Path | None) -> tuple[Parts, tuple[BasePart, ...]]:
    """Parts to store and parts to borrow: what stayed frozen is borrowed from `base` if there is one."""
    parts = encoder_parts(model.encoder) | {"head": model.head.state_dict()}
    frozen = {0: ("trunk", "top"), 1: ("trunk",)}.get(model.unfrozen, ())
    if base is None or not frozen:
        return parts, ()
    files = load_meta(base).files
    borrowed = tuple(BasePart(checkpoint=base.name, part=p, sha256=files[p]) for p in frozen if p in files)
    return {k: v for k, v in parts.items() if k not in {b.part for b in borrowed}}, borrowed
