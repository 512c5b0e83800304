"""How often a cohort's regions are called by networks that learned nothing; ``python docs/retrained_tests.py``.

Small regressors on planted images of 24 x 24 pixels in 16 square regions, explained by the gradient on 25 test images.
Networks are trained on shuffled labels, and others are left untrained; every network in question is ranked among 19 of
the first kind that are not its own, and among 19 of each kind, and it is tested over patients against copies with
weights drawn anew (``--null randomised``). The table says in how many networks any region has p_maxT of at most 0.05.
"""

import argparse
import sys
from collections.abc import Sequence

import numpy as np
import torch
from scipy.stats import binomtest
from torch import Tensor, nn

from regard.cohort.means import mean_test
from regard.cohort.regions import RegionFigures, region_figures
from regard.cohort.retrained import FEWEST_NETWORKS, rank_test
from regard.evidence.controls import randomised
from regard.evidence.sanity.labels import shuffled
from regard.explainers.gradient.gradient import Gradient
from regard.models.zoo.small import SmallRegressor
from regard.training.retraining import Recipe, drawn_anew, train_from_scratch

SIDE, BLOCK, TRUE = 24, 6, 5
"""Pixels of an image and of a region; the region that the label is written in, from 0."""

N_LEARN, N_TEST = 128, 25
PLACE = np.kron(np.arange(16).reshape(4, 4) + 1, np.ones((BLOCK, BLOCK), dtype=int))
RECIPE = Recipe(n_epochs=12, batch_size=16)


def images(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Textured images (case, 1, i, j), and labels (case,): how bright one region is."""
    rng = np.random.default_rng(seed)
    fine = rng.normal(size=(n, SIDE, SIDE))
    coarse = np.kron(rng.normal(size=(n, 4, 4)), np.ones((BLOCK, BLOCK)))
    label = rng.normal(size=n)
    made = 0.7 * fine + 0.7 * coarse + label[:, None, None] * (TRUE + 1 == PLACE)
    return torch.tensor(made, dtype=torch.float32)[:, None], torch.tensor(label, dtype=torch.float32)


def densities(network: nn.Module, x: Tensor) -> np.ndarray:
    """Density of the gradient's size in each region, (case, region)."""
    maps = Gradient(network).attribute(x).sum(1).numpy()
    rows = [region_figures(m[..., None], PLACE[..., None], 16).plain() for m in maps]
    return RegionFigures.stacked(rows).density[:, :16]


def against_drawn(network: nn.Module, own: np.ndarray, x: Tensor, seed: int) -> np.ndarray:
    """p of each region against a copy with weights drawn anew for each patient, as ``--null randomised`` does."""
    null = [densities(randomised(network, seed=seed, case=str(k), draw="null"), x[k : k + 1])[0] for k in range(len(x))]
    return mean_test(own - np.array(null), seed=seed, n_draws=999).p


def share(hits: Sequence[bool]) -> str:
    """A share with its exact 95 % interval, in percent."""
    bounds = binomtest(int(sum(hits)), len(hits)).proportion_ci(method="exact")
    return f"{100 * np.mean(hits):.0f} ({100 * bounds.low:.0f}-{100 * bounds.high:.0f})"


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the table to standard output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=100, help="of each kind that knows nothing")
    n = parser.parse_args(arguments).networks
    base = SmallRegressor(2, widths=(4, 8), head="flatten", cells=4)
    learn, labels = images(N_LEARN, 0)
    test, test_labels = images(N_TEST, 1)
    pool = [train_from_scratch(base, learn, shuffled(labels, k), RECIPE, seed=k) for k in range(n)]
    true = [train_from_scratch(base, learn, labels, RECIPE, seed=10_000 + k) for k in range(max(2, n // 4))]
    untrained = [drawn_anew(base, 20_000 + k).eval() for k in range(4 * n)]
    spread = np.stack([densities(network, test).mean(0) for network in untrained])
    means = np.stack([densities(network, test).mean(0) for network in pool])
    with torch.no_grad():
        r = [float(np.corrcoef(network(test)[:, 0], test_labels)[0, 1]) for network in true]
    sys.stdout.write(f"Networks on true labels: r on test images {np.mean(r):.2f} ({min(r):.2f} to {max(r):.2f}).\n\n")
    kinds = {
        "trained on shuffled labels": pool,
        "with drawn weights, untrained": untrained,
        "trained on true labels": true,
    }
    sys.stdout.write(
        "| network | n | retrained and untrained | the true region | retrained alone | randomised |\n"
        + "| --- " * 6
        + "|\n"
    )
    for name, networks in kinds.items():
        now, there, alone, before = [], [], [], []
        for k, network in enumerate(networks):
            own, rng = densities(network, test), np.random.default_rng(k)
            chosen, drawn = (
                values[
                    rng.choice([m for m in range(len(nets)) if nets[m] is not network], FEWEST_NETWORKS, replace=False)
                ]
                for nets, values in ((pool, means), (untrained, spread))
            )
            p = rank_test(own.mean(0), np.concatenate([chosen, drawn])).p
            alone.append(bool((rank_test(own.mean(0), chosen).p <= 0.05).any()))
            now.append(bool((p <= 0.05).any()))
            there.append(bool(p[TRUE] <= 0.05))
            before.append(bool((against_drawn(network, own, test, k) <= 0.05).any()))
        sys.stdout.write(
            f"| {name} | {len(now)} | {share(now)} | {share(there)} | {share(alone)} | {share(before)} |\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
