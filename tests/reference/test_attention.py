"""Both rollouts again, as literal loops in float64 from the equations, with gradients by differences."""

import numpy as np
import pytest
import torch

from regard.core.explainer import AbstractExplainer, Attribution, Query
from regard.core.inputs import Inputs
from regard.core.recording import intact
from regard.core.spatial import interpolate
from regard.explainers.attention.attention_rollout import AttentionRollout
from regard.explainers.attention.gradient_rollout import GradientRollout

from .transformer import GRID, Literal, SmallTransformer

KINDS = [("module", "class"), ("batch-first", "mean"), ("fused", "class"), ("by-hand", "mean"), ("by-hand", "class")]


def exact(explainer: AbstractExplainer, x: np.ndarray) -> Attribution:
    """What the method computes before its map is handed out as float32."""
    with intact(explainer.network) as network:
        return explainer._attribute(Query(network, Inputs.of(torch.from_numpy(x)[None, None])))


def drawn(rows: np.ndarray, pool: str) -> torch.Tensor:
    """Relevance of tokens (row, column) as the map of the image."""
    row = rows[0, 1:] if pool == "class" else rows.mean(0)
    return interpolate(torch.from_numpy(row.copy()).reshape(1, 1, *GRID), (4, 6))


@pytest.mark.parametrize(("attention", "pool"), KINDS)
def test_attention_rollout(attention: str, pool: str) -> None:
    network, x = SmallTransformer(attention, pool), np.random.default_rng(1).normal(size=(4, 6))
    value, probabilities = Literal(network).run(x)
    n = probabilities[0].shape[-1]
    rolled = np.eye(n)
    for heads in probabilities:
        mixed = np.zeros((n, n))
        for i in range(n):
            for j in range(n):
                mixed[i, j] = 0.5 * sum(heads[h, i, j] for h in range(len(heads))) / len(heads) + 0.5 * (i == j)
        rolled = mixed @ rolled
    found = exact(AttentionRollout(network), x)
    torch.testing.assert_close(found.relevance[0], drawn(rolled, pool), rtol=0, atol=1e-12)
    assert float(found.value) == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize(("attention", "pool"), KINDS)
def test_gradient_rollout(attention: str, pool: str) -> None:
    network, x = SmallTransformer(attention, pool), np.random.default_rng(1).normal(size=(4, 6))
    literal = Literal(network)
    _, probabilities = literal.run(x)
    n = probabilities[0].shape[-1]
    rolled = np.eye(n)
    for heads, slopes in zip(probabilities, literal.slopes(x), strict=True):
        mean = np.zeros((n, n))
        for h in range(len(heads)):
            for i in range(n):
                for j in range(n):
                    mean[i, j] += max(0.0, slopes[h, i, j] * heads[h, i, j]) / len(heads)  # eq. 5
        rolled = rolled + mean @ rolled  # eq. 6
    found = exact(GradientRollout(network), x)
    torch.testing.assert_close(found.relevance[0], drawn(rolled - np.eye(n), pool), rtol=0, atol=1e-8)
    assert float(found.relevance[0].max()) > 0.01
