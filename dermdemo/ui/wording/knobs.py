"""The settings of a retraining job in words: a label and a line of help for each."""

from __future__ import annotations

from typing import NamedTuple


class Words(NamedTuple):
    label: str
    help: str


KNOBS: dict[str, Words] = {
    "pretrain.schedule": Words("Schedule", "Sizes in pixels x epochs, such as 64x15,128x3; sizes must not shrink."),
    "pretrain.batch_size": Words("Batch size", "Images in a step; more need more memory."),
    "pretrain.lr": Words("Learning rate", "Highest step size of AdamW, reached after the warm-up."),
    "pretrain.weight_decay": Words("Weight decay", "How strongly weights are pulled towards zero."),
    "pretrain.latent": Words("Latent dimensions", "Numbers that an image is described by."),
    "pretrain.beta": Words("Beta", "Weight of the KL term; 0 leaves reconstruction alone."),
    "pretrain.kl_warmup": Words("KL warm-up", "How beta comes in: at once, in a line, or in cycles."),
    "pretrain.layer_scale": Words("Layer scale", "Factor that each block's output begins with."),
    "train.schedule": Words("Schedule", "One size in pixels x epochs, such as 128x30."),
    "train.batch_size": Words("Batch size", "Images in a step; more need more memory."),
    "train.lr": Words("Learning rate of the head", "Highest step size of AdamW for the new layers."),
    "train.stage_lr": Words("Learning rate of the last stage", "For the last trained stage of the encoder."),
    "train.lr_decay": Words("Decay by stage", "Each stage below learns so many times as fast: 0.5 is half."),
    "train.weight_decay": Words("Weight decay", "How strongly weights are pulled towards zero."),
    "train.unfrozen_stages": Words("Trained stages", "Of the encoder, that learn: 0 is the head alone, 4 is all."),
    "train.views": Words("Views", "Augmented versions of each training image, made once; each needs memory."),
    "train.early_stopping": Words("Patience", "Epochs without a better validation loss before it ends; 0 for never."),
    "train.label_fraction": Words("Share of labels", "Part of the training lesions whose labels are used, up to 1."),
    "train.alpha": Words("Class weights", "How rare classes count more in the loss: not, by root or by frequency."),
    "train.gamma": Words("Gamma", "How strongly the focal loss turns to what is hard; 0 is cross-entropy."),
    "train.dropout": Words("Dropout", "Share of the head's inputs left out in each step."),
}
RECIPES = "Stage I: {pretrain} Stage II: {train}"
CPU_NOTE = "The processor; {cores} cores."
CUDA_NOTE = "{names}; each job has one of its own."
NO_CUDA_TORCH = "The installed torch is built without CUDA."
NO_GPU = "No GPU is seen here (nvidia-smi names none)."
SLURM_NOTE = "The cluster: {where}, {gpus} GPUs, {nodes} nodes, {cpus} CPUs."
SLURM_COST = "What it takes on the cluster is not known here."
NOT_USABLE = "Jobs cannot run on '{device}' here. {note}"
