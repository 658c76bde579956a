"""Every word the app shows, in one place; and how its numbers are written.

Wording rules: a probability is a model's output, never a finding; nothing is called a diagnosis of the
picture; an arm is named by how its encoder was pretrained, and the origin stored with the weights is shown
as it stands.
"""

from __future__ import annotations

import math

from dermdemo import RESEARCH_NOTICE
from dermdemo.types import AgreementLevel, NoveltyLevel

TITLE = "dermdemo"
TAGLINE = "A VAE on dermoscopy against supervised pretraining"
NOTICE = RESEARCH_NOTICE
NOTICE_MORE = "Do not decide anything about a patient with it."

TAB_ANALYSE = "Analyse"
TAB_SEVERAL = "Several images"
TAB_RECONSTRUCTION = "Reconstruction"
TAB_ATTRIBUTION = "Attribution"
TAB_LATENT = "Latent space"
TAB_MODELS = "Models"
TAB_ADMINISTRATION = "Administration"
SUBJECT_NONE = "No image yet. Choose one in the Analyse tab; this page then shows it."
SUBJECT_GONE = "This result is no longer kept. Give the image again in the Analyse tab."

UPLOAD_LABEL = "Dermoscopic image"
UPLOAD_HINT = "Drop an image here\nor choose a file"
UPLOAD_ALT = "The image that was uploaded"
FORMATS = "JPEG, PNG, WebP, TIFF, BMP or HEIC, up to 50 MB. Paste and camera: the icons below the box."
PRIVACY = "Read once, in memory. The uploaded file is deleted within a minute; nothing of it is kept."
EXAMPLES_TITLE = "Or try an example"
EXAMPLES_NOTE = "Synthetic pictures, painted by a program. No patient, no proof of anything."
EXAMPLES_NONE = "No examples are installed. Run scripts/make_examples.py to paint them."
EXAMPLE_NAME = "Synthetic example, painted as: {label}"
EXAMPLE_ALT = "Synthetic picture painted as {label}"
SHORT_LABELS = {
    "akiec": "actinic", "bcc": "basal cell", "bkl": "keratosis", "df": "fibroma", "mel": "melanoma",
    "nv": "nevus", "vasc": "vascular",
}  # fmt: skip

EMPTY_TITLE = "Nothing analysed yet"
EMPTY_TEXT = "Give it an image. Both arms read it; you see where they agree, where they looked, "
EMPTY_TEXT += "and how unusual it is."
EMPTY_STEPS = (
    ("Probabilities", "of seven classes, calibrated, from both arms side by side"),
    ("Attention", "Grad-CAM maps of both arms on one colour scale"),
    ("Reconstruction", "what the VAE keeps of the image, and what it loses"),
    ("Known lesions", "the nearest ones in latent space, and how unusual this one is"),
)
NO_MODELS_TITLE = "No models are loaded"
NO_MODELS_TEXT = "The page works, but images cannot be analysed until the checkpoints are in place or a version of "
NO_MODELS_TEXT += "the models is promoted; no restart is needed."
FAILED_TITLE = "This image was not analysed"
FAILED_INTERNAL = "Something went wrong inside the app; the log has the details. Try again, or try another image."
NO_FILE = "No file arrived. Upload an image file."
GONE = "The uploaded file is no longer there. Upload it again."

ARM_NAMES = {
    "vae": "VAE arm", "ae": "Autoencoder arm", "ssl": "Contrastive arm",
    "imagenet": "Natural-image arm", "scratch": "From-scratch arm", "random": "Frozen random arm",
}  # fmt: skip
ORIGIN = "Encoder weights: {origin}"
MALIGNANT_TAG = "malignant*"
MALIGNANT_SHARE = "malignant in all {share}"
MALIGNANT = "Malignant or pre-malignant"
BENIGN = "Benign"
MALIGNANT_NOTE = "* counted as malignant or pre-malignant: these classes' probabilities add up to the bar below them."
PREDICTION_SET = "Prediction set: {classes}"
PREDICTION_SET_NONE = "No prediction set is stored with this model."
PROBABILITIES = "Calibrated probabilities"
PROBABILITIES_NOTE = "Temperature scaling was fitted on held-out lesions."

AGREEMENT_CHIP: dict[AgreementLevel, str] = {
    "agree": "Arms agree",
    "disagree": "Arms disagree",
    "disagree-on-malignancy": "Arms disagree on malignancy",
}
SENTENCE_AGREE = {1: "{name} comes first", 2: "Both arms put {name} first", 3: "All arms put {name} first"}
SENTENCE_DIFFER = "The arms put different classes first"
SENTENCE_MALIGNANCY = "The arms differ, and on malignancy too"
NOVELTY_CHIP: dict[NoveltyLevel, str] = {
    "typical": "Typical image",
    "unusual": "Unusual image",
    "far": "Far from known lesions",
}
NOVELTY_TEXT: dict[NoveltyLevel, str] = {
    "typical": "The image looks like the lesions the models were trained on.",
    "unusual": "The image is unusual among the lesions the models were trained on: read its probabilities with care.",
    "far": "The image is far from any lesion the models were trained on: the probabilities mean little here.",
}
NOVELTY_TITLE = "How unusual is it?"
NOVELTY_NONE = "Novelty cannot be judged: no atlas of known lesions is installed."
NOVELTY_SCORE = "{share} of the reference lesions are less unusual than this image."
NOVELTY_REFERENCE = "Reference: {reference}"
NOVELTY_DISTANCE = "Latent distance to the nearest known lesions: larger than for {share} of the reference."
NOVELTY_DETAIL = "Fine detail in the input: more than in {share} of the reference; both tails count."
NOVELTY_FEATURES = "Features in the natural-image encoder: further from known lesions than {share} of the reference."
NOVELTY_ERROR = "Reconstruction error: larger than for {share} of the reference; both tails count."

SEEN_TITLE = "Exactly what the arms see"
SEEN_ALT = "The input of the {arm}"
SEEN_NOTE = ("The short side is scaled to the arm's size and the centre is cut out. What lies outside was not read. "
             "What the VAE sees is on the tab Reconstruction.")

ATTENTION_TITLE = "Where each arm looked"
ATTENTION_CAPTION = "{arm}: for {target}"
ATTENTION_GRID = "computed on a coarse {rows} × {columns} grid, smoothed over {size} px"
ATTENTION_FLAT = "no positive evidence found: the map is empty"
ATTENTION_SCALE = "Grad-CAM, share of each map's own maximum"
ATTENTION_ALT = "Grad-CAM of the {arm} for {target}, laid over the grey model input"

RECONSTRUCTION_TITLE = "What the VAE keeps of the image"
RECONSTRUCTION_INPUT = "Exact model input"
RECONSTRUCTION_IMAGE = "Reconstruction"
RECONSTRUCTION_ERROR = "Error map"
RECONSTRUCTION_SIZE = "{size} × {size} px"
RECONSTRUCTION_FIGURES = "PSNR {psnr} · SSIM {ssim}"
RECONSTRUCTION_MEAN = "mean {error}"
RECONSTRUCTION_FROM = "decoded from {latent} numbers (posterior mean)"
RECONSTRUCTION_SCALE = "Absolute error, mean of the three channels, RGB in 0 to 1"

NEIGHBOURS_TITLE = "Nearest known lesions"
NEIGHBOURS_NOTE = "By distance in the VAE's latent space. Likeness to the VAE is not likeness to a dermatologist."
NEIGHBOURS_NONE = "No atlas of known lesions is installed, so there is nothing to compare with."
NEIGHBOURS_HEAD = ("Lesion", "Labelled as", "Distance", "Split", "About")

DETAILS_TITLE = "Models, hashes and timing"
DETAILS_MODEL, DETAILS_HASH, DETAILS_STEP, DETAILS_TIME = "Model", "SHA-256", "Step", "Time"
DETAILS_DEVICE = "Computed on {device}. Times are those of this one image."
TIMING_STEPS = {
    "decode": "Decode", "forward": "Both arms and VAE", "attribution": "Attention maps", "latent": "Latent search",
}  # fmt: skip
TIMING_TOTAL = "Total"
SOURCE_SIZE = "{width} × {height} px"


def arm_name(key: str) -> str:
    """Display name of an arm."""
    return ARM_NAMES.get(key, f"Arm {key}")


def percent(share: float) -> str:
    """A share in [0, 1] as per cent with one decimal; never a false 0 or 100."""
    if not math.isfinite(share):
        return "unknown"
    if 0 < share < 0.001:
        return "< 0.1 %"
    if 0.999 < share < 1:
        return "> 99.9 %"
    return f"{100 * share:.1f} %"


def decibel(value: float) -> str:
    """A ratio in dB."""
    return "∞ dB" if value == math.inf else f"{value:.1f} dB"


def milliseconds(value: float) -> str:
    """A wall time."""
    return f"{value / 1000:.1f} s" if value >= 10_000 else f"{value:.0f} ms"
