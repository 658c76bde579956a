"""Stage II: encoder + MLP head. Both arms use this module; only the encoder's weights differ.

Unusual here: `forward` accepts images, `forward_features` the cached output of the frozen part;
a head that has never been trained says so (`head_trained`) and is refused by the analyser.
"""

from __future__ import annotations

from torch import Tensor, nn

from dermdemo.models.encoder import STAGES, Encoder


class Head(nn.Sequential):
    """Linear - GELU - dropout - linear: (N, width) -> (N, K) logits."""

    def __init__(self, width: int, hidden: int, classes: int, dropout: float) -> None:
        super().__init__(nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, classes))


class Classifier(nn.Module):
    """Encoder with a head; the last `unfrozen` stages train, the rest is frozen.

    Args:
        encoder: the encoder, weights already in place.
        classes: number K of classes.
        unfrozen: trained stages, 0 (head only) to 4 (all).
    """

    def __init__(self, encoder: Encoder, classes: int, *, hidden: int = 256, dropout: float = 0.3,
                 unfrozen: int = 1) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = Head(encoder.width, hidden, classes, dropout)
        self.classes, self.hidden, self.dropout, self.unfrozen = classes, hidden, dropout, unfrozen
        self.head_trained = False
        encoder.trainable_from(unfrozen)

    @property
    def frozen_stages(self) -> int:
        """Stages below the first trained one (0 to 4); with 4 trained there is no frozen part."""
        return STAGES - self.unfrozen

    def frozen_part(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) -> output of the frozen part; the images themselves if all stages train.

        (N, C, h, w) feature map, or (N, width) pooled features if only the head trains.
        """
        if self.unfrozen >= STAGES:
            return x
        if self.unfrozen == 0:
            return self.encoder(x)
        return self.encoder.trunk(x, self.frozen_stages)

    def forward_features(self, features: Tensor) -> Tensor:
        """Output of `frozen_part` -> logits (N, K)."""
        if self.unfrozen >= STAGES:
            features = self.encoder(features)
        elif self.unfrozen > 0:
            features = self.encoder.pool(self.encoder.top(features, self.frozen_stages))
        return self.head(features).float()

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] -> logits (N, K)."""
        return self.forward_features(self.frozen_part(x))

    def parameter_groups(self, *, lr: float, stage_lr: float, decay: float, weight_decay: float) -> list[dict]:
        """AdamW groups: head at `lr`, stages at `stage_lr` falling by `decay` downwards; no decay on 1-D."""
        layers: list[tuple[nn.Module, float]] = [(self.head, lr)]
        if self.unfrozen > 0:
            layers.append((self.encoder.norm, stage_lr))
        for depth in range(min(self.unfrozen, STAGES)):
            layers.append((self.encoder.stages[STAGES - 1 - depth], stage_lr * decay**depth))
        if self.unfrozen >= STAGES:
            layers.append((self.encoder.stem, stage_lr * decay**STAGES))
        groups = []
        for module, rate in layers:
            for wide in (True, False):
                params = [p for p in module.parameters() if p.requires_grad and (p.ndim > 1) == wide]
                if params:
                    groups.append({"params": params, "lr": rate, "base_lr": rate,
                                   "weight_decay": weight_decay if wide else 0.0})
        return groups
