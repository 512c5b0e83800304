"""What a network uses, and the pattern that goes along with its readings: against sums, and where both are known."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from regard.cohort.atlas import Atlas
from regard.models import Model
from regard.models.card import ModelCard
from regard.studies.brain_age.pattern import pattern_scores
from regard.studies.brain_age.regions import rank_correlation
from regard.studies.brain_age.uses import _mapped, uses_rows
from regard.studies.scoring.bootstrap import Score


def test_a_rank_correlation_is_spearmans() -> None:
    rng = np.random.default_rng(3)
    values, truth = rng.normal(size=(4, 11)), rng.integers(0, 4, 11).astype(float)
    assert rank_correlation(values, truth) == pytest.approx([spearmanr(v, truth).statistic for v in values])


class _Weighted(nn.Module):
    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.weights).flatten(1).sum(1, keepdim=True)


def test_what_a_linear_network_uses() -> None:
    generator = torch.Generator().manual_seed(4)
    weights, old, young = (torch.randn(1, 4, 4, 4, generator=generator) for _ in range(3))
    labels = np.zeros((4, 4, 4), np.int64)
    labels[0], labels[1:3] = 1, 2
    atlas = Atlas(labels, {1: "first", 2: "second"})
    card = ModelCard.model_validate(
        {"name": "linear", "licence": "none", "inputs": [{}], "output": {"kind": "regression", "units": ["year"]}}
    )
    found = _mapped(Model(_Weighted(weights), card), [old[None]], [young[None]], atlas)
    parts = (weights * (old - young))[0].numpy()
    sizes = np.array([np.abs(parts[labels == k]).mean() for k in (1, 2)])
    whole = np.abs(parts[labels > 0]).mean()
    assert found.regions[0] == pytest.approx(sizes / whole, rel=1e-5)
    assert found.change[0] == pytest.approx(parts.sum(), rel=1e-4)


def test_the_right_pattern_agrees_with_what_was_planted() -> None:
    rng = np.random.default_rng(5)
    labels = np.arange(12 * 8).reshape(12, 2, 4) // 8 + 1
    ages = rng.uniform(44, 80, 60)
    rates = labels / 300
    images = np.abs(1 + ages[:, None, None, None] * rates + rng.normal(0, 0.05, (60, *labels.shape)))
    # Around the regions the darkest and the brightest voxels, which the images are scaled by.
    images = np.concatenate([images, np.zeros_like(images), np.full_like(images, 30.0)], 3)
    labels = np.concatenate([labels, 0 * labels, 0 * labels], 2)
    cohort = SimpleNamespace(images=torch.from_numpy(images).float()[:, None], patients=[str(n) for n in range(60)])
    atlas = Atlas(labels, {n: f"region {n}" for n in range(1, 13)})
    effects = {f"region {n}": float(n) for n in range(1, 13)}
    readings = {"ages": ages}
    found = pattern_scores(SimpleNamespace(test=cohort), atlas, effects, readings)  # type: ignore[arg-type]
    assert found["ages"].value > 0.95
    turned = {f"region {n}": -float(n) for n in range(1, 13)}
    found = pattern_scores(SimpleNamespace(test=cohort), atlas, turned, readings)  # type: ignore[arg-type]
    assert found["ages"].value < -0.95


def test_rows_of_the_report() -> None:
    score = Score(0.5, 0.4, 0.6, 0.95, 10, 10, "1")
    rows = uses_rows({"uses_sfcn-member1": {"used_planted": score}, "uses_true_age": {"pattern_planted": score}})
    assert [r[""] for r in rows] == ["SFCN, plain regression, training 2", "the true age, in place of a reading"]
    assert rows[1]["what it uses, with what was planted"] == "-"
