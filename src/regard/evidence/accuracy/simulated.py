"""Studies with known truth, and how often the model's regions hold it."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import special, stats

from regard.core import randomness
from regard.evidence.accuracy.bivariate import Fit, fit_binomial, fit_normal
from regard.evidence.accuracy.curve import inside
from regard.evidence.accuracy.tables import Floats, Tables

__all__ = ["ERROR", "TRUTHS", "Truth", "covered", "simulated"]


ERROR = "error of logit sensitivity"


@dataclass(frozen=True)
class Truth:
    """What studies are drawn from.

    Parameters
    ----------
    sensitivity, false_positive_rate
        At the means of the logits.
    deviations
        Of the two logits between studies.
    correlation
        Of the two between studies: above 0 where studies differ in their threshold.
    """

    sensitivity: float
    false_positive_rate: float
    deviations: tuple[float, float] = (0.7, 0.6)
    correlation: float = 0.4

    @property
    def means(self) -> Floats:
        """Of the logits (sensitivity, false positive rate)."""
        return np.asarray(special.logit([self.sensitivity, self.false_positive_rate]))

    @property
    def root(self) -> Floats:
        """Of the covariance between studies."""
        a, b = self.deviations
        off = self.correlation * a * b
        return np.linalg.cholesky(np.array([[a * a, off], [off, b * b]]))


TRUTHS = {"modality A": Truth(0.90, 0.15), "modality B": Truth(0.88, 0.08)}
"""Of the studies that stand in where no table is given: two modalities that differ in their false positives."""


def simulated(truth: Truth, n: int, seed: int, name: str) -> Tables:
    """Counts of ``n`` studies of 20 to 200 patients with the condition, and as many without on average."""
    normal = randomness.normal(torch.empty(n, 4, dtype=torch.float64), seed, name, "studies").numpy()
    uniform = randomness.uniform((n, 2), seed, name, "counts").numpy().astype(float)
    logits = truth.means + normal[:, :2] @ truth.root.T
    sizes = np.rint(np.exp(np.clip(4.1 + 0.7 * normal[:, 2:], np.log(20), np.log(200))))
    rates = special.expit(logits)
    positive = stats.binom.ppf(np.clip(uniform, 1e-9, 1 - 1e-9), sizes, rates)
    found = np.stack([positive[:, 0], sizes[:, 0] - positive[:, 0], positive[:, 1], sizes[:, 1] - positive[:, 1]], 1)
    return Tables(tuple(f"{name}, study {k + 1}" for k in range(n)), found)


def covered(truth: Truth, n: int, seed: int, draw: int, *, exactly: bool = False) -> dict[str, float]:
    """One simulated meta-analysis of ``n`` studies: whether its intervals and regions hold the truth.

    Parameters
    ----------
    truth, n, seed, draw
        What the studies are drawn from, how many, and the key of the draw.
    exactly
        By the binomial mixed model, not the normal approximation.

    Returns
    -------
    dict
        ``sensitivity`` and ``false positive rate``: the 95 % interval holds the true mean; ``pooled point`` and ``new
        study``: the region holds the true mean, and the true rates of a further study; ``boundary``: the fit ended at a
        correlation of 1 or -1, where the study's report draws no region. `ERROR`: by how much the pooled logit of
        sensitivity is off.
    """
    studies = simulated(truth, n, seed, f"coverage {n}/{draw}")
    fit = fit_binomial(studies) if exactly else fit_normal(studies)
    normal = randomness.normal(
        torch.empty(1, 2, dtype=torch.float64), seed, f"coverage {n}/{draw}", "a further study"
    ).numpy()[0]
    further = truth.means + truth.root @ normal
    low, high = _bounds(fit)
    held = (low <= truth.means) & (truth.means <= high)
    return {
        "sensitivity": bool(held[0]), "false positive rate": bool(held[1]),
        "pooled point": inside(fit, truth.means), "new study": inside(fit, further, of_new_study=True),
        "boundary": fit.at_boundary, ERROR: float(fit.effects[0] - truth.means[0]),
    }  # fmt: skip


def _bounds(fit: Fit) -> tuple[Floats, Floats]:
    return fit.effects[:2] - 1.959964 * fit.errors[:2], fit.effects[:2] + 1.959964 * fit.errors[:2]
