"""What a batch of pairs of embeddings looks like: do pairs lie together, do all of them spread, over how many axes.

All are of embeddings scaled to unit length. Sources: alignment and uniformity, Wang & Isola 2020, Understanding
Contrastive Representation Learning through Alignment and Uniformity on the Hypersphere (arXiv 2005.10242); effective
rank, Roy & Vetterli 2007, used for embeddings by Garrido et al. 2023, RankMe (arXiv 2210.02885).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def pair_figures(first: Tensor, second: Tensor) -> dict[str, Tensor]:
    """Of two views (N, D) of the same N >= 2 images, in the same order; scalars.

    ``accuracy``: share of the 2N embeddings whose nearest by cosine is their own other view, 1 / (2N - 1) by chance.
    ``alignment``: mean squared distance within pairs, 0 (equal) to 4.
    ``uniformity``: log of the mean of exp(-2 d^2) over the distances d within a view, mean of both; 0 where all
    embeddings are equal, about -4 where many are spread evenly over the sphere.
    """
    first, second = F.normalize(first.float(), dim=1), F.normalize(second.float(), dim=1)
    both = torch.cat([first, second])
    nearest = (both @ both.T).fill_diagonal_(-torch.inf).argmax(1)
    partner = torch.arange(len(both), device=both.device).roll(len(first))
    spread = [F.pdist(view).square().mul(-2).exp().mean().log() for view in (first, second)]
    return {"accuracy": (nearest == partner).float().mean(),
            "alignment": (first - second).square().sum(1).mean(), "uniformity": torch.stack(spread).mean()}


def spread_figures(z: Tensor) -> dict[str, Tensor]:
    """Of embeddings (N, D); scalars.

    ``std``: standard deviation, mean over dimensions; 0 where all are equal, 1 / sqrt(D) where they fill the sphere.
    ``effective_rank``: exp of the entropy of the singular values' shares, from 1 (one direction) to min(N, D).
    """
    z = F.normalize(z.float(), dim=1)
    # of the D x D matrix of moments: cheaper than singular values, and in double precision as exact
    values = torch.linalg.eigvalsh(z.double().T @ z.double()).clamp_min(0).sqrt()
    shares = values / values.sum()
    return {"std": z.std(0, correction=0).mean(), "effective_rank": torch.special.entr(shares).sum().exp().float()}
