"""The seven HAM10000 diagnoses: keys, full names, and which of them count as malignant.

Source: Tschandl, Rosendahl, Kittler 2018 (HAM10000). Malignant or pre-malignant: mel, bcc, akiec.
"""

from collections.abc import Sequence

NAMES: dict[str, str] = {
    "akiec": "Actinic keratosis / Bowen's disease",
    "bcc": "Basal cell carcinoma",
    "bkl": "Benign keratosis-like lesion",
    "df": "Dermatofibroma",
    "mel": "Melanoma",
    "nv": "Melanocytic nevus",
    "vasc": "Vascular lesion",
}
HAM10000_CLASSES: tuple[str, ...] = tuple(NAMES)
MALIGNANT: frozenset[str] = frozenset({"akiec", "bcc", "mel"})


def full_name(key: str) -> str:
    """Full name of a diagnosis; an unknown key is returned as it is."""
    return NAMES.get(key, key)


def malignant_classes(classes: Sequence[str]) -> tuple[str, ...]:
    """Those of `classes` that count as malignant or pre-malignant, in the given order."""
    return tuple(c for c in classes if c in MALIGNANT)
