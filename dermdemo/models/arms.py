"""Which folder of a store holds the classifier of an arm: by its metadata, not by its name."""

from __future__ import annotations

from pathlib import Path

from dermdemo.errors import CheckpointError
from dermdemo.models.checkpoint import META_FILE, CheckpointMeta, load_meta


def find_arm(root: Path, arm: str) -> Path:
    """Folder of the classifier whose metadata name this arm; ``<arm>-arm`` if there are several.

    Raises:
        CheckpointError: none, or several and none of that name.
    """
    metas, unreadable = read_metas(root)
    found = [folder for folder, meta in metas.items() if meta.kind == "classifier" and meta.arm == arm]
    preferred = root / f"{arm}-arm"
    if preferred in unreadable:
        raise unreadable[preferred]
    if preferred in found:
        return preferred
    if len(found) == 1:
        return found[0]
    if found:
        raise CheckpointError(f"'{root}' holds several classifiers of the arm '{arm}' "
                              f"({', '.join(f.name for f in found)}): name the one to serve '{preferred.name}'.")
    raise CheckpointError(f"'{root}' holds no classifier of the arm '{arm}'. Train one: `python -m dermdemo train "
                          f"SOURCE --arm {arm} --store {root}`.")


def read_metas(root: Path) -> tuple[dict[Path, CheckpointMeta], dict[Path, CheckpointError]]:
    """Metadata of every checkpoint below `root`, and the folders whose meta.json is something else."""
    metas, unreadable = {}, {}
    for path in sorted(root.glob(f"[!.]*/{META_FILE}")):
        try:
            metas[path.parent] = load_meta(path.parent)
        except CheckpointError as error:
            unreadable[path.parent] = error
    return metas, unreadable
