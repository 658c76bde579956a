"""A set of models that is served together: VAE, arms, atlas, with their calibration and thresholds.

Whether a folder holds one whole set, made for each other, is decided here from hashes and metadata; no
weights are loaded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dermdemo.errors import CheckpointError, NotFittedError
from dermdemo.jobs.files import canonical, sha256_of

if TYPE_CHECKING:
    from dermdemo.analysis.atlas_files import AtlasMeta
    from dermdemo.models.checkpoint import BasePart, CheckpointMeta


@dataclass(frozen=True, kw_only=True)
class ModelSet:
    """What a folder holds.

    Attributes:
        files: path below the folder -> SHA-256, every file of it: weights, metadata (with temperature,
            thresholds and prediction sets), atlas, cards.
        models: ``vae``, each arm and ``atlas`` -> SHA-256 of the model.
        classes: of every arm, in one order. `data_hash`: of the lesions the atlas was made from.
    """

    files: Mapping[str, str]
    models: Mapping[str, str]
    classes: tuple[str, ...]
    data_hash: str

    @property
    def sha256(self) -> str:
        """One hash for the whole set, over all files."""
        return set_hash(self.files)


def set_hash(files: Mapping[str, str]) -> str:
    """One hash over paths and hashes of a set's files."""
    return hashlib.sha256(canonical(dict(files))).hexdigest()


def hash_files(root: Path) -> dict[str, str]:
    """Path below `root` -> SHA-256 of every file; hidden ones at the top are left out.

    Raises:
        CheckpointError: no folder, a link in it, or a file that cannot be read.
    """
    if not root.is_dir():
        raise CheckpointError(f"There is no set of models in '{root}'.")
    found = {}
    try:
        for path in sorted(root.rglob("*")):
            name = path.relative_to(root).as_posix()
            if name.startswith("."):
                continue
            if path.is_symlink():
                raise CheckpointError(f"'{path}' is a link: a set of models holds its files itself.")
            if path.is_file():
                found[name] = sha256_of(path)
    except OSError as error:
        raise CheckpointError(f"The set of models in '{root}' cannot be read: {error}.") from error
    return found


def inspect_set(root: Path) -> ModelSet:
    """Check that `root` holds one whole set whose parts belong together.

    Raises:
        CheckpointError: a part is missing or changed, or was made for another VAE or arm.
        NotFittedError: an arm's head has never been trained.
    """
    from dermdemo.analysis.serving import ARMS, Store
    from dermdemo.models.arms import find_arm
    from dermdemo.models.checkpoint import load_meta

    files, names = hash_files(root), Store(root=root)
    folders = {"vae": root / names.vae, **{f"{arm} arm": find_arm(root, arm) for arm in ARMS}}
    metas = {key: load_meta(folder) for key, folder in folders.items()}
    for key, meta in metas.items():
        _check_kind(folders[key], meta, "vae" if key == "vae" else "classifier")
        _check_parts(root, folders[key], meta.files, files)
        for base in meta.base:
            _check_base(root, folders[key], base, files)
    arms = {key: meta for key, meta in metas.items() if key != "vae"}
    classes = {meta.classes for meta in arms.values()}
    if len(classes) != 1:
        raise CheckpointError(f"The arms in '{root}' do not have the same classes in the same order.")
    atlas = _atlas(root / str(names.atlas), metas["vae"].sha256, {k: m.sha256 for k, m in arms.items()})
    _check_parts(root, root / str(names.atlas), atlas.files, files, suffix="")
    models = {key: meta.sha256 for key, meta in metas.items()} | {"atlas": atlas.sha256}
    return ModelSet(files=files, models=models, classes=classes.pop(), data_hash=atlas.source_hash)


def _check_kind(folder: Path, meta: CheckpointMeta, kind: str) -> None:
    if meta.kind != kind:
        raise CheckpointError(f"'{folder}' holds a {meta.kind}, not a {kind}.")
    if kind == "classifier" and not meta.head_trained:
        raise NotFittedError(f"The head of '{folder}' has never been trained: it is not served.")


def _check_parts(root: Path, folder: Path, parts: Mapping[str, str], files: Mapping[str, str], *,
                 suffix: str = ".safetensors") -> None:
    """Raise CheckpointError unless every part is there with the hash its metadata give."""
    for part, sha256 in parts.items():
        name = (folder / f"{part}{suffix}").relative_to(root).as_posix()
        if name not in files:
            raise CheckpointError(f"'{root / name}' is missing: the set is incomplete.")
        if files[name] != sha256:
            raise CheckpointError(f"'{root / name}' has changed since it was saved (SHA-256 differs).")


def _check_base(root: Path, folder: Path, base: BasePart, files: Mapping[str, str]) -> None:
    """Raise CheckpointError unless the borrowed part lies in the set, unchanged."""
    from dermdemo.models.checkpoint import find_base

    holder = find_base(folder, base)
    _check_parts(root, holder, {base.part: base.sha256}, files)


def _atlas(folder: Path, vae: str, arms: Mapping[str, str]) -> AtlasMeta:
    """Metadata of the atlas, made with these very models. Raises CheckpointError."""
    from dermdemo.analysis.atlas_files import read_meta

    meta = read_meta(folder)
    if meta.vae_sha256 != vae or {f"{arm} arm": part.sha256 for arm, part in meta.arms.items()} != arms:
        raise CheckpointError(f"The atlas '{folder}' was made with other models than those beside it: sets are not "
                              "mixed. Build it again: `python -m dermdemo embed`.")
    return meta
