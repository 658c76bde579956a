"""Stage I: train the VAE (or the plain autoencoder) on unlabelled images.

Train and val lesions only: calib and test never enter. Terms are nats per image; PSNR and SSIM are
of the reconstruction from mu for validation, from a sample during training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from PIL import Image
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from dermdemo.config import PretrainConfig
from dermdemo.data.corruption import Corruption
from dermdemo.data.loader import LESION_VIEWS, shard_batches, to_float
from dermdemo.data.sources import LesionTable
from dermdemo.data.splits import Split
from dermdemo.models.vae import VAE, Posterior
from dermdemo.runtime import generator
from dermdemo.training.losses import ELBOTerms, free_bits_kl, gaussian_kl, gaussian_nll, laplace_nll, sigma_nll
from dermdemo.training.pixel_task import PixelTask
from dermdemo.training.schedules import kl_beta
from dermdemo.training.telling import Tell, untold

ACTIVE_VARIANCE = 0.01
VARIANCE_MOMENTUM = 0.95
GRID_IMAGES = 8
SSIM_IMAGES = 8


def psnr(mse: float) -> float:
    """Peak signal-to-noise ratio in dB for images in [0, 1]."""
    return -10 * math.log10(max(mse, 1e-12))


class PretrainTask(PixelTask):
    """What the loop needs to know of Stage I."""

    stage = "pretrain"
    forward_methods: tuple[str, ...] = ("encode", "decode")
    config: PretrainConfig
    module: VAE

    def __init__(self, config: PretrainConfig, table: LesionTable, split: Split, fabric: Fabric) -> None:
        self.config, self.table, self.split, self.fabric = config, table, split, fabric
        torch.manual_seed(config.seed)
        self.module = VAE(config.encoder, latent=config.latent, size=config.size,
                          layer_scale=config.layer_scale, ae=config.ae)
        self.train_rows = split.rows("train")
        self.val_rows = split.rows("val")[:config.val_limit]

    # -- set-up
    def start_phase(self, size: int, tell: Tell = untold) -> None:
        super().start_phase(size, tell)
        self.pixels = 3 * size * size

    def beta(self, progress: float) -> float:
        c = self.config
        if c.ae:
            return 0.0
        return kl_beta(progress, epochs=c.epochs, beta=c.beta, warmup=c.kl_warmup,
                       fraction=c.kl_warmup_fraction, cycles=c.kl_cycles)

    # -- one step
    def training_loss(self, model: Any, batch: Tensor, *, epoch: int, step: int, progress: float
                      ) -> tuple[Tensor, dict[str, Tensor]]:
        rank, world = self.fabric.global_rank, self.fabric.world_size
        g = generator("view", self.config.seed, epoch, step, 0)
        x = to_float(self.train_store.batch(batch).to(self.fabric.device))
        x = LESION_VIEWS(x, g, rank=rank, world=world).contiguous(memory_format=torch.channels_last)
        noise = torch.randn((len(x) * world, self.config.latent), generator=g)[rank::world].to(x.device)
        given = Corruption(mask=self.config.mask, blur=self.config.blur)(x, g, rank=rank, world=world)
        x_hat, q = model(given.contiguous(memory_format=torch.channels_last), noise)
        mse = (x_hat - x).square().mean()
        terms = self._terms(x, x_hat, q, mse, self.beta(progress))
        with torch.no_grad():
            few = slice(SSIM_IMAGES)  # on the whole batch it costs 8 % of a step
            ssim = structural_similarity_index_measure(x_hat[few], x[few], data_range=1.0)
            self._track_variance(mse.detach())
        logs = {"rec": terms.rec, "kl": terms.kl, "mse": mse, "ssim": ssim, "loss": terms.loss}
        return terms.loss / self.pixels, logs  # nats per pixel value, so that clipping knows its scale

    def _terms(self, x: Tensor, x_hat: Tensor, q: Posterior, mse: Tensor, beta: float) -> ELBOTerms:
        kl = gaussian_kl(q.mu, q.logvar)
        if self.config.likelihood == "sigma":
            shared = self.fabric.all_reduce(mse.detach().clone(), reduce_op="mean")
            rec = sigma_nll(mse, self.pixels, shared)
        elif self.config.likelihood == "gaussian":
            rec = gaussian_nll(mse * self.pixels, self.pixels, self.config.sigma**2)
        else:
            rec = laplace_nll((x_hat - x).abs().mean() * self.pixels, self.pixels, self.config.sigma)
        if self.config.ae:
            return ELBOTerms(rec, rec, torch.zeros_like(rec))
        return ELBOTerms(rec + beta * free_bits_kl(kl, self.config.free_bits), rec, kl.sum(1).mean())

    def _track_variance(self, mse: Tensor) -> None:
        """Running decoder variance, frozen for evaluation."""
        shared = self.fabric.all_reduce(mse.clone(), reduce_op="mean")
        buffer = self.module.noise_variance
        fresh = bool(buffer == 1)
        buffer.copy_(shared if fresh else VARIANCE_MOMENTUM * buffer + (1 - VARIANCE_MOMENTUM) * shared)

    # -- measuring
    def train_metrics(self, model: Any, sums: Mapping[str, Tensor], count: int, epoch: int) -> dict[str, Any]:
        """Means over the epoch's augmented batches, in training mode (SSIM: of a few images of each)."""
        means = super().train_metrics(model, sums, count, epoch)
        return means | {"psnr": psnr(means["mse"])} if sums else {}

    @torch.no_grad()
    def validate(self, model: Any, epoch: int) -> dict[str, Any]:
        """Negative ELBO at full beta with sigma frozen, one noise draw per image, seeded by its position."""
        dims = self.config.latent
        totals = torch.zeros(5, dtype=torch.float64)  # rec, kl, sse of mu, ssim, images
        per_dim = torch.zeros((3, dims), dtype=torch.float64)  # kl, sum mu, sum mu^2
        for batch in shard_batches(len(self.val_rows), self.config.batch_size, self.fabric.global_rank,
                                   self.fabric.world_size):
            x = to_float(self.val_store.batch(batch).to(self.fabric.device))
            x = x.contiguous(memory_format=torch.channels_last)
            noise = torch.stack([torch.randn(dims, generator=generator("noise", int(k))) for k in batch])
            with self.fabric.autocast():  # in a single process Fabric does so for `forward` alone
                q = model.encode(x)
                sampled = model.decode(self.module.sample(q, noise=noise), x.shape[-1]).float()
                x_hat = model.decode(q.mu, x.shape[-1]).float()
            kl = gaussian_kl(q.mu, q.logvar)
            ssim = structural_similarity_index_measure(x_hat, x, data_range=1.0, reduction="none")
            sse = (x_hat - x).square().sum((1, 2, 3))
            totals += torch.stack([self._val_nll(x, sampled).sum(), kl.sum(), sse.sum(), ssim.sum(),
                                   torch.tensor(float(len(x)), device=x.device)]).double().cpu()
            per_dim += torch.stack([kl.sum(0), q.mu.sum(0), q.mu.square().sum(0)]).double().cpu()
        totals = self.fabric.all_reduce(totals, reduce_op="sum").cpu()
        per_dim = self.fabric.all_reduce(per_dim, reduce_op="sum").cpu()
        return self._val_record(totals, per_dim)

    def _val_nll(self, x: Tensor, x_hat: Tensor) -> Tensor:
        if self.config.likelihood == "l1":
            return laplace_nll((x_hat - x).abs().sum((1, 2, 3)), self.pixels, self.config.sigma)
        variance = self.module.noise_variance if self.config.likelihood == "sigma" else self.config.sigma**2
        return gaussian_nll((x_hat - x).square().sum((1, 2, 3)), self.pixels, variance)

    def _val_record(self, totals: Tensor, per_dim: Tensor) -> dict[str, Any]:
        n = float(totals[4])
        rec, kl, mse, ssim = (totals[:4] / n).tolist()
        mse /= self.pixels
        variance = per_dim[2] / n - (per_dim[1] / n).square()
        weight = 0.0 if self.config.ae else self.config.beta
        return {"loss": rec + weight * kl, "rec": rec, "kl": kl, "mse": mse, "psnr": psnr(mse), "ssim": ssim,
                "kl_per_dim": (per_dim[0] / n).tolist(), "active_units": int((variance > ACTIVE_VARIANCE).sum()),
                "noise_variance": float(self.module.noise_variance)}

    # -- after an epoch
    @torch.no_grad()
    def after_epoch(self, model: Any, epoch: int, folder: Path, record: Mapping[str, Any]) -> None:
        """Every `grid_every` epochs, and at the end: originals above their reconstructions."""
        if epoch % self.config.grid_every and epoch != self.config.epochs:
            return
        count = min(GRID_IMAGES, len(self.val_rows))
        x = to_float(self.val_store.batch(torch.arange(count)).to(self.fabric.device))
        x_hat = self.module.reconstruct(x).float()
        rows = torch.cat([torch.cat(list(part), 2) for part in (x, x_hat)], 1)  # (3, 2S, count*S)
        pixels = rows.mul(255).round().byte().permute(1, 2, 0).cpu().numpy()
        (folder / "grids").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(folder / "grids" / f"epoch-{epoch:04d}.png")

    def warnings(self, history: list[dict[str, Any]]) -> list[tuple[str, str]]:
        return vae_warnings(history, latent=self.config.latent, ae=self.config.ae)


def vae_warnings(history: list[dict[str, Any]], *, latent: int, ae: bool) -> list[tuple[str, str]]:
    """Names what is wrong with a Stage I run so far: ``kl-vanishing``, ``divergence``."""
    found = []
    trained = [h for h in history if h["epoch"] > 0]
    if not trained:
        return []
    last = trained[-1]
    if not ae and (last["val"]["kl"] < 1.0 or last["val"]["active_units"] < 0.02 * latent):
        found.append(("kl-vanishing", f"The KL term is {last['val']['kl']:.2f} nats with "
                      f"{last['val']['active_units']} of {latent} dimensions in use: the decoder ignores the "
                      "latent. Try a longer KL warm-up, a smaller beta, or free bits."))
    same_size = [h["val"]["rec"] for h in trained if h["size"] == last["size"]]
    # a single bad epoch is usual at a high learning rate
    if len(same_size) >= 4 and min(same_size[-2:]) > min(same_size) + 0.1 * abs(min(same_size)):
        found.append(("divergence", "The validation reconstruction term has been more than 10 % above its best for "
                      "two epochs: training diverges. Lower the learning rate."))
    return found
