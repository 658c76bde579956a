"""The pipeline a user would write with the usual packages: nothing shared, nothing kept.

timm networks with the same weights in full for both arms and the VAE, torchvision transforms,
pytorch-grad-cam, umap-learn's transform and scikit-learn's nearest neighbours.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision import transforms

from dermdemo.analysis.analyser import Analyser
from dermdemo.models.checkpoint import CheckpointMeta
from dermdemo.models.classifier import Classifier
from dermdemo.models.encoder import MEAN, STD, Encoder
from dermdemo.models.vae import VAE

NEIGHBOURS = 8


def timm_network(encoder: Encoder) -> nn.Module:
    """timm's own network with the encoder's weights."""
    net: nn.Module = timm.create_model(encoder.name, pretrained=False, num_classes=0)
    state = {f"head.{k}" if k.startswith("norm.") else k: v.clone() for k, v in encoder.state_dict().items()}
    net.load_state_dict(state)
    return net.eval()


class PlainClassifier(nn.Module):
    """Normalised images -> logits."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.net = timm_network(model.encoder)
        self.head = model.head
        self.last_stage = list(self.net.stages)[-1]  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.net(x))
        return logits


@dataclass(frozen=True)
class PlainResult:
    """What both pipelines answer; used to check that they answer the same."""

    probs: dict[str, np.ndarray]
    cams: dict[str, np.ndarray]
    mu: np.ndarray
    x_hat: np.ndarray
    position: np.ndarray | None
    neighbours: np.ndarray | None


class PlainPipeline:
    """Everything loaded and warmed up; calling it analyses one image.

    Args:
        analyser: whose weights and atlas are taken (copied, not shared).
        frugal: take the logits that pytorch-grad-cam computes anyway instead of a forward pass of its own.
    """

    def __init__(self, analyser: Analyser, models: dict[str, Classifier], vae: VAE, *, frugal: bool = False) -> None:
        from pytorch_grad_cam import GradCAM

        self.metas: dict[str, CheckpointMeta] = dict(analyser.arms)
        self.vae_meta, self.vae, self.frugal = analyser.vae, vae, frugal
        self.device = torch.device(analyser.device)
        self.classifiers = {arm: PlainClassifier(model).to(self.device).eval() for arm, model in models.items()}
        self.vae_net = timm_network(vae.encoder).to(self.device)
        self.cams = {arm: GradCAM(model=m, target_layers=[m.last_stage]) for arm, m in self.classifiers.items()}
        self.transforms = {arm: _transform(meta) for arm, meta in self.metas.items()}
        self.vae_transform = _transform(self.vae_meta)
        self.umap, self.index = _fit_map(analyser)

    def __call__(self, image: Image.Image) -> PlainResult:
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        probs, cams = {}, {}
        for arm, model in self.classifiers.items():
            x = self.transforms[arm](image)[None].to(self.device)
            if self.frugal:
                cams[arm] = self.cams[arm](input_tensor=x, targets=None)[0]
                logits = self.cams[arm].outputs.detach()
            else:
                with torch.no_grad():
                    logits = model(x)
                target = ClassifierOutputTarget(int(logits.argmax()))
                cams[arm] = self.cams[arm](input_tensor=x, targets=[target])[0]
            probs[arm] = logits.softmax(1)[0].cpu().numpy()
        with torch.no_grad():
            x = self.vae_transform(image)[None].to(self.device)
            q = self.vae.posterior_of(self.vae_net.forward_features(x))  # type: ignore[operator]
            x_hat = self.vae.decoder(q.mu, x.shape[-1])[0].cpu().numpy()
        mu = q.mu.cpu().numpy()
        position = self.umap.transform(mu)[0] if self.umap is not None else None
        near = self.index.kneighbors(mu, NEIGHBOURS, return_distance=False)[0] if self.index is not None else None
        return PlainResult(probs, cams, mu[0], x_hat, position, near)


def _transform(meta: CheckpointMeta) -> Any:
    spec = meta.input
    size: int | tuple[int, int] = spec.size if spec.crop == "center" else (spec.size, spec.size)
    return transforms.Compose([
        transforms.Resize(size, transforms.InterpolationMode.BICUBIC), transforms.CenterCrop(spec.size),
        transforms.ToTensor(), transforms.Normalize(MEAN, STD)])


def _fit_map(analyser: Analyser) -> tuple[Any, Any]:
    """umap-learn and scikit-learn fitted on what the atlas was fitted on; None without an atlas."""
    if analyser.atlas is None:
        return None, None
    import umap
    from sklearn.neighbors import NearestNeighbors

    atlas = analyser.atlas
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = umap.UMAP(n_neighbors=atlas.meta.map.n_neighbors, min_dist=atlas.meta.map.min_dist,
                           metric=atlas.meta.map.metric, random_state=0).fit(atlas.mu[atlas.train])
    return fitted, NearestNeighbors(n_neighbors=NEIGHBOURS).fit(atlas.mu)
