"""Words of the Models tab: what is loaded, how good it is, and the study.

Losing is said as plainly as winning; no gap without the absolute score beside it; n always.
"""

TAB = "Models"
NOTHING_TITLE = "No models are loaded"
PROBLEMS_TITLE = "Not everything could be read"

LOADED_TITLE = "What is loaded"
LOADED_INTRO = "Every file of weights, where it came from, and its SHA-256. A file that has changed is not loaded."
VAE_NAME, BASE_NAME = "VAE", "Pretrained encoder"
KIND_VAE = "encoder and decoder; reconstruction, novelty, map"
KIND_ARM = "classifier: pretrained encoder, last {stages} of 4 stages and the head trained with labels"
KIND_BASE = "lends its lower stages to an arm"
FACT_ORIGIN, FACT_ENCODER, FACT_INPUT, FACT_LATENT = "Encoder weights", "Encoder", "Input", "Latent"
FACT_TRAINED, FACT_DATA, FACT_LICENCE, FACT_MODEL = "Trained", "Data", "Licence", "Whole model"
INPUT = "{size} × {size} px, RGB, {crop}"
CROPS = {"center": "centre crop", "squash": "squashed to a square"}
LATENT = "{latent} dimensions"
TRAINED = "{epochs} epochs ({schedule}, px × epochs), {hours} h on {hardware}, seed {seed}"
TRAINED_ON = "finished {day}: "
DATA = "{name}: {images} images, {groups} groups"
PARTS_HEAD = ("File", "From", "SHA-256")
PART_OWN, PART_BORROWED = "this training", "{checkpoint}"
PARTS = {"trunk": "trunk: stem, stages 1 to 3", "top": "top: stage 4, norm", "head": "head", "decoder": "decoder"}

SERVED_TITLE = "Version {number} is served"
SERVED_SHIPPED = "Version 0 is served: the shipped models"
SERVED_NOT = "The version that was made live last could not be served; the one below goes on. The log says why."
SERVED_HASH = "SHA-256 over all its files"

METRICS_TITLE = "How good are they?"
METRICS_N = (
    "{images} test images of {lesions} lesions that no training saw; 95 % intervals by bootstrap over "
    "lesions. {read}"
)
READ_ONCE = "Test was read once for each arm."
READ_OFTEN = "Test was read {n} times for the {arm}."
METRICS_NONE = (
    "No test figures are stored with these models: run `python -m dermdemo evaluate CHECKPOINT SOURCE "
    "--save`."
)
BASELINE_NAME = "Pixels only"
BASELINE_NOTE = "Pixels only: {description}. A floor that any pretraining should clear; no interval is stored for it."
METRIC_HEAD = "Metric"
METRICS = {
    "balanced_accuracy": ("Balanced accuracy", "mean sensitivity of the classes"),
    "macro_auc": ("Macro AUC", "one against the rest"),
    "accuracy": ("Accuracy", "share of images right"),
    "macro_f1": ("Macro F1", ""),
    "mcc": ("MCC", "0 for a constant answer"),
    "malignant_auc": ("Malignant AUC", "malignant or pre-malignant against benign"),
    "brier": ("Brier score ↓", "0 to 2, lower is better"),
    "nll": ("NLL ↓", "nats, lower is better"),
    "ece": ("ECE ↓", "top label, 15 bins"),
    "classwise_ece": ("Classwise ECE ↓", "mean of the classes"),
}
HEADLINE, HEADLINE_LABEL = "balanced_accuracy", "Balanced accuracy on test"
CHANCE = "a constant answer: {value}"
MAJORITY = "always naming {name}: {value}"
NO_INTERVAL = "no interval"
TO = "to"
BEATS = "The {arm} beats the pixel baseline in {metric} ({ours} against {floor}, n = {n})."
ABOVE = (
    "The {arm} is above the pixel baseline in {metric}, but not clearly: {ours} against {floor}, which its "
    "interval includes (n = {n})."
)
BELOW = (
    "The {arm} is below the pixel baseline in {metric}, if not clearly: {ours} against {floor}, which its "
    "interval includes (n = {n})."
)
LOSES = "The {arm} loses to the pixel baseline in {metric}: {ours} against {floor} (n = {n})."

KEPT_TITLE = "What the VAE keeps of a lesion"
KEPT_N = (
    "{images} images of {lesions} lesions of the {split} split, which neither the VAE nor the PCA beside it was "
    "fitted to; 95 % intervals by bootstrap over lesions."
)
KEPT_PSNR, KEPT_SSIM = "PSNR, dB", "SSIM"
KEPT_IN, AND = {"psnr": "PSNR", "ssim": "SSIM"}, " and "
KEPT_VAE, KEPT_PCA, KEPT_DIFFERENCE = "VAE, {n} numbers", "PCA of the pixels, {n} numbers", "VAE minus PCA"
KEPT_VAE_SHORT, KEPT_PCA_SHORT = "VAE", "PCA of the pixels"
KEPT_LOSES = "The VAE reconstructs lesions worse than PCA of the pixels with as many numbers, by {what}."
KEPT_WINS = "The VAE reconstructs lesions better than PCA of the pixels with as many numbers, by PSNR and SSIM."
KEPT_TOLD = (
    "Share of reconstructions that are nearer to their own original than to that of any other lesion of the class "
    "(mean squared error, one image of each lesion):"
)
KEPT_CLASS, KEPT_LESIONS = "Class", "{n} lesions"
KEPT_NOTE = "{active} of {latent} latent dimensions are in use; an image's code holds {kl} nats on average (KL)."

CLASSES_TITLE = "Sensitivity by class"
CLASSES_NOTE = (
    "Share of the images of a class that the arm names first; the pale band is the 95 % interval. Where n is "
    "small, the interval says more than the bar. spec. = specificity against all other classes."
)
CLASS_N = "n = {images}"
CLASS_N_LESIONS = "n = {images} of {lesions} lesions"
SPECIFICITY = "spec. {value}"

CONFUSION_TITLE = "What is taken for what"
CONFUSION_NOTE = "Rows: labelled class. Columns: named class. Images, shaded by their share of the row."
CONFUSION_CELL = "{n} of {total} images labelled {true} were named {guess}"
CONFUSION_CORNER = "labelled ↓ named →"
CONFUSION_REGION = "Confusion matrix of the {arm}, scrolls sideways"

MALIGNANCY_TITLE = "Malignant or pre-malignant against benign"
MALIGNANCY_NOTE = (
    "{malignant} malignant or pre-malignant images (melanoma, basal cell carcinoma, actinic keratosis), "
    "{benign} benign. The thresholds were fixed on the validation split and are applied as they are, so the "
    "specificity reached on test may differ from the one asked for."
)
MALIGNANCY_HEAD = "Figure"
MALIGNANCY_AUC = "AUC"
MALIGNANCY_SENSITIVITY = "Sensitivity at {target} specificity"
MALIGNANCY_SPECIFICITY = "specificity reached"
MALIGNANCY_MISSED = "{missed} of {n} missed"

CALIBRATION_TITLE = "Are the probabilities to be trusted?"
CALIBRATION_NOTE = (
    "Temperature was fitted on lesions of the calibration split. On the diagonal a confidence of 0.7 is right"
    " in 7 of 10 images; below it the arm is over-confident. ECE is biased upward on small sets. One "
    "temperature cannot undo a loss weighted by class: read the classwise ECE too."
)
TEMPERATURE, UNCALIBRATED = "Temperature", "none stored: not calibrated"
ECE, CLASSWISE_ECE = "ECE", "Classwise ECE"
RELIABILITY = "Reliability of the {arm}"
RELIABILITY_X, RELIABILITY_Y = "confidence (probability of the named class)", "share right"
RELIABILITY_IDEAL = "perfectly calibrated"

TABLE_REGION = "{title}: table, scrolls sideways"
CARDS_TITLE = "Model cards"
NO_CARD = "No card is stored with this checkpoint."

SEEDS_TITLE = "The study over {n} seeds"
SEEDS_TITLE_ONE = "The study over seeds: one so far"
SEEDS_INTRO = (
    "{models} models, every arm trained anew with each seed by one recipe ({schedule}, px × epochs; learning rate of "
    "the last stage {lr}); means, 95 % intervals over {drawn}. Test was {read}."
)
SEEDS_OTHERS = "They are other models than those served: this tells what the method does, and not how good those are."
SEEDS_VAE = {
    True: "The VAE arm starts from the VAE that is served.",
    False: "The VAE arm starts from another VAE than the one that is served.",
}
SEEDS_ARM, SEEDS_MINUS = "Arm", "{arm} minus {reference}"
SEEDS_REGION = "Study over seeds"

STUDY_TITLE = "The study: does pretraining without labels overfit less?"
STUDY_NONE = (
    "No comparison of the two arms is stored with these checkpoints. Make one: `python -m dermdemo compare "
    "RUN_A RUN_B --save STORE`."
)
STUDY_OTHER = "A study that came with the shipped models (version 0) is of those, not of the ones served now."
STUDY_INTRO = (
    "Both arms get the same head, recipe and split; only the origin of the encoder differs. Left: this "
    "package. Right: the figures as published by {citation}, on other data, another split and another image "
    "size: not like for like."
)
STUDY_STALE = (
    "This comparison is of other checkpoints than those served now. Its curves and figures do not describe "
    "the models above: compare their runs anew."
)
STUDY_WARNINGS = (
    "A gap says nothing alone. A constant predictor has a gap of zero, and an underfitted model has a small one: "
    "read every gap beside the absolute score.",
    "In the published figures the ImageNet arm is better in both absolute validation figures; only the gap speaks "
    "for the VAE.",
)
STUDY_OURS, STUDY_PAPER = "This package", "The paper"
STUDY_ROW = "Figure"
GROUP_ROWS = {
    "val_loss": "Validation loss",
    "val_accuracy": "Validation accuracy",
    "train_accuracy": "Train accuracy",
    "val_balanced_accuracy": "Validation balanced accuracy",
}
ABOUT_CHANGE, ROW_SINCE_FIRST = "before the first update → end", "since epoch 1"
AT_LAST, AT_BEST = "At the last epoch", "At the best epoch"
AT_MATCHED = "At train accuracy {target}"
ABOUT_EPOCH = "epoch"
ROW_ACCURACY_GAP, ABOUT_ACCURACY_GAP = "Accuracy gap", "train − validation accuracy"
ROW_LOSS_GAP, ABOUT_LOSS_GAP = "Loss gap", "validation − train loss"
ROW_PAPER_GAP, ABOUT_PAPER_GAP = "Gap as the paper states it", "it does not say which gap"
STUDY_REGION = "Study table"
OUTCOME = (
    "At the last epoch the {small} has the smaller accuracy gap ({small_gap} against {large_gap}) and the "
    "{score} validation {metric}: {small_score} against {large_score} for the {large}."
)
OUTCOME_LOWER, OUTCOME_HIGHER, OUTCOME_SAME = "lower", "higher", "same"
OUTCOME_ACCURACY, OUTCOME_BALANCED = "accuracy", "balanced accuracy"
SIGNATURES_TITLE = "What the curves say"
SIGNATURE = "{arm}: {text}"
SETTINGS_TITLE = "Settings that differ: {a} | {b}"
SETTINGS_NONE = "The stored settings of both runs are the same, but for the origin of the encoder."
NOTES_TITLE = "Notes on these figures"

CURVES_TITLE = "Curves of both arms"
CURVES_NOTE = (
    "Measured in evaluation mode on images without augmentation; epoch 0 is before the first update. The "
    "circle marks the epoch with the lowest validation loss."
)
CURVES_X = "epoch"
CURVE_LOSS, CURVE_ACCURACY = "Loss", "Accuracy"
CURVE_LOSS_GAP, CURVE_ACCURACY_GAP = "Loss gap", "Accuracy gap"
CURVE_BALANCED_GAP, UNIT_BALANCED_GAP = "Balanced accuracy gap", "train − validation balanced accuracy"
CURVE_BALANCED = "Balanced accuracy"
UNIT_LOSS, UNIT_ACCURACY = "focal loss, mean per image", "share of images right"
UNIT_BALANCED = "mean sensitivity of the classes"
UNIT_LOSS_GAP, UNIT_ACCURACY_GAP = "validation − train loss", "train − validation accuracy"
LEGEND_VAL, LEGEND_TRAIN = "validation (solid)", "training (dashed)"
SAID_VAL, SAID_TRAIN, SAID_GAP = "{arm}, validation", "{arm}, training", "{arm}"
CURVE_FIGURES = "The figures behind the curves"
CURVE_HEAD = ("Epoch", "train loss", "val. loss", "train acc.", "val. acc.", "val. bal. acc.")

PAIRED_TITLE = "Differences between the arms on the same images"
PAIRED_INTRO = (
    "{images} {split} images of {lesions} lesions; {a} minus {b}, from the same resampled lesions for both, "
    "95 % intervals; probabilities as trained (temperature 1)."
)
PAIRED_NONE = "There are no paired differences: the two runs hold no predictions of the same images."
PAIRED_HEAD = ("Metric", "Difference", "In words", "Around zero")
PAIRED_BETTER, PAIRED_OPEN = "{arm} better", "not told apart"
PAIRED_SENSITIVITY = "Sensitivity, {name}"
PAIRED_MCNEMAR = (
    "McNemar, exact, one image of each of {n} lesions: only the {a} right {only_a}, only the {b} right "
    "{only_b}, {p}."
)

NAVIGATION = "On this page"
SECTIONS = {
    "loaded": "Loaded models", "figures": "Figures", "classes": "By class", "confusions": "Confusions",
    "malignancy": "Malignancy", "calibration": "Calibration", "kept": "Reconstruction",
    "seeds": "Seeds", "study": "Study", "curves": "Curves", "differences": "Differences",
}  # fmt: skip
