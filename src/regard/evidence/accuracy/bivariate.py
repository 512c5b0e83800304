"""The bivariate model of sensitivity and false positive rate: by a normal approximation, or with exact binomials."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from scipy import optimize, special, stats

from regard.core.errors import InputError
from regard.evidence.accuracy.tables import Floats, Tables

__all__ = ["FEWEST", "Fit", "Likelihood", "fit_binomial", "fit_normal", "log_likelihood"]

FEWEST = 4
"""Studies below which nothing is pooled: five numbers are estimated."""

Likelihood: TypeAlias = Literal["restricted", "full"]

_BOUNDARY = 1e-3
_NODES = 21


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted model.

    Parameters
    ----------
    effects
        Means of the logits (sensitivity, false positive rate), (2,); or with groups (2 x groups,): of sensitivity for
        each column of the design, then of the false positive rate.
    covariance
        Of the effects.
    between
        Covariance of the logits between studies, (2, 2).
    log_likelihood
        At the optimum.
    n
        Studies.
    model
        In words.
    """

    effects: Floats
    covariance: Floats
    between: Floats
    log_likelihood: float
    n: int
    model: str

    @property
    def errors(self) -> Floats:
        """Standard errors of the effects."""
        return np.sqrt(np.diag(self.covariance))

    @property
    def deviations(self) -> Floats:
        """Standard deviations between studies, (2,)."""
        return np.sqrt(np.diag(self.between))

    @property
    def correlation(self) -> float:
        """Of the two logits between studies; NaN where one of them does not vary."""
        product = float(self.deviations.prod())
        return float(np.clip(self.between[0, 1] / product, -1, 1)) if product > 1e-8 else float("nan")

    @property
    def at_boundary(self) -> bool:
        """Whether the correlation is 1 or -1, or a variance 0: then nothing is known of how the two go together."""
        return bool(np.isnan(self.correlation) or abs(self.correlation) > 1 - _BOUNDARY)

    @property
    def p(self) -> Floats:
        """Of each effect, two-sided, by the normal distribution."""
        return np.asarray(2 * stats.norm.sf(np.abs(self.effects / self.errors)))

    def rates(self, level: float = 0.95) -> Floats:
        """Pooled sensitivity and false positive rate with bounds, (2, 3): value, low, high."""
        z = stats.norm.ppf((1 + level) / 2)
        ends = np.stack([self.effects, self.effects - z * self.errors, self.effects + z * self.errors], 1)
        return np.asarray(special.expit(ends[:2]))


def _between(parameters: Floats) -> Floats:
    """Covariance from the logarithms of two standard deviations and the Fisher z of their correlation."""
    a, b = np.exp(parameters[:2])
    rho = np.tanh(parameters[2])
    return np.array([[a * a, rho * a * b], [rho * a * b, b * b]])


def _enough(tables: Tables) -> None:
    if len(tables) < FEWEST:
        raise InputError(f"{len(tables)} studies", f"at least {FEWEST} to pool", "show them one by one")


def _starts(logits: Floats) -> list[Floats]:
    spread = np.log(np.maximum(logits.std(0, ddof=1), 0.1))
    return [np.array([*(spread + shift), z]) for shift in (0.0, -1.0) for z in (0.0, 1.0, -1.0)]


def fit_normal(tables: Tables, *, design: Floats | None = None, likelihood: Likelihood = "restricted") -> Fit:
    """Fit y_i ~ N(X_i b, Psi + S_i) for y_i the two logits of study i and S_i their variances within it.

    Parameters
    ----------
    tables
        The studies.
    design
        What the means depend on, (study, column); by default one mean for all.
    likelihood
        ``"restricted"`` (REML); ``"full"`` (ML), whose values may be compared between designs.

    Raises
    ------
    InputError
        If there are fewer than `FEWEST` studies.

    Notes
    -----
    Reitsma et al. 2005, J Clin Epidemiol 58(10). A half is added to all counts where one is 0.
    """
    _enough(tables)
    y, v = tables.logits, tables.variances
    x = np.ones((len(y), 1)) if design is None else np.asarray(design, float)
    n_columns = 2 * x.shape[1]
    whole = np.zeros((len(y), 2, n_columns))
    whole[:, 0, : x.shape[1]] = x
    whole[:, 1, x.shape[1] :] = x

    def solved(parameters: Floats) -> tuple[float, Floats, Floats]:
        total = _between(parameters)[None] + v[:, :, None] * np.eye(2)
        inverse = np.linalg.inv(total)
        information = np.einsum("kia,kij,kjb->ab", whole, inverse, whole)
        effects = np.linalg.solve(information, np.einsum("kia,kij,kj->a", whole, inverse, y))
        off = y - whole @ effects
        value = np.linalg.slogdet(total)[1].sum() + np.einsum("ki,kij,kj->", off, inverse, off)
        value += (2 * len(y) - (n_columns if likelihood == "restricted" else 0)) * np.log(2 * np.pi)
        if likelihood == "restricted":
            # The constant of the design makes values independent of its units.
            value += np.linalg.slogdet(information)[1] - np.linalg.slogdet(np.einsum("kia,kib->ab", whole, whole))[1]
        return -0.5 * float(value), effects, np.linalg.inv(information)

    best = _optimum(lambda p: -solved(p)[0], _starts(y))
    value, effects, covariance = solved(best)
    word = "REML" if likelihood == "restricted" else "ML"
    return Fit(effects, covariance, _between(best), value, len(y), f"bivariate normal model, {word}")


def _optimum(loss: Callable[[Floats], float], starts: list[Floats]) -> Floats:
    """The best of several searches, made exact; correlations and variances may run to their ends, which are flat."""
    bounds = [(-12.0, 3.0), (-12.0, 3.0), (-9.0, 9.0)]
    rough = [optimize.minimize(loss, start, method="L-BFGS-B", bounds=bounds) for start in starts]
    best = min(rough, key=lambda r: float(r.fun)).x
    options = {"xatol": 1e-7, "fatol": 1e-10, "maxiter": 4000}
    return np.asarray(optimize.minimize(loss, best, method="Nelder-Mead", bounds=bounds, options=options).x)


def fit_binomial(tables: Tables) -> Fit:
    """Fit TP_i and FP_i as binomials whose two logits are jointly normal between studies, by maximum likelihood.

    Empty cells need no correction. The likelihood of a study is integrated over the two logits by adaptive
    Gauss-Hermite quadrature, around the mode of its integrand and by its curvature there.

    Raises
    ------
    InputError
        If there are fewer than `FEWEST` studies.

    Notes
    -----
    Chu and Cole 2006, J Clin Epidemiol 59(12); Liu and Pierce 1994, Biometrika 81(3), for the quadrature.
    """
    _enough(tables)
    found = np.stack([tables.counts[:, 0], tables.counts[:, 2]], 1)
    n = np.stack([tables.counts[:, :2].sum(1), tables.counts[:, 2:].sum(1)], 1)

    def loss(parameters: Floats) -> float:
        return -log_likelihood(found, n, parameters[:2], _between(parameters[2:]))

    approximate = fit_normal(tables, likelihood="full")
    deviations = np.log(np.maximum(approximate.deviations, 0.05))
    rho = 0.0 if np.isnan(approximate.correlation) else np.clip(approximate.correlation, -0.95, 0.95)
    bounds = [(-12.0, 12.0)] * 2 + [(-6.0, 3.0)] * 2 + [(-6.0, 6.0)]
    start = np.array([*approximate.effects, *deviations, np.arctanh(rho)])
    options = {"maxiter": 500}
    results = [optimize.minimize(loss, start, method="L-BFGS-B", bounds=bounds, options=options)]
    start[4] = 0.0
    results.append(optimize.minimize(loss, start, method="L-BFGS-B", bounds=bounds, options=options))
    best = np.asarray(min(results, key=lambda r: float(r.fun)).x)
    fixed = best.copy()

    def of_means(means: Floats) -> float:
        return loss(np.concatenate([means, fixed[2:]]))

    covariance = np.linalg.inv(_curvature(of_means, best[:2]))
    between = _between(best[2:])
    value = -loss(best)
    return Fit(
        best[:2],
        np.asarray(covariance, np.float64),
        between,
        value,
        len(tables),
        "bivariate binomial mixed model, ML by quadrature",
    )


def _curvature(function: Callable[[Floats], float], at: Floats, step: float = 1e-3) -> Floats:
    """Second derivatives by central differences."""
    size = len(at)
    found = np.empty((size, size))
    shifts = np.eye(size) * step
    for i in range(size):
        for j in range(size):
            total = sum(s * t * function(at + s * shifts[i] + t * shifts[j]) for s in (1, -1) for t in (1, -1))
            found[i, j] = total / (4 * step**2)
    return found


def log_likelihood(found: Floats, n: Floats, means: Floats, between: Floats, n_nodes: int = _NODES) -> float:
    """Of binomial counts ``found`` (study, 2) of ``n``, for logits with ``means`` (2,) and ``between`` (2, 2)."""
    root = np.linalg.cholesky(between + 1e-12 * np.eye(2))
    # In standardised effects u: logits are means + root u, and the integrand is binomial(u) exp(-|u|^2 / 2).
    u = np.zeros_like(found)
    for _ in range(50):
        share = special.expit(means + u @ root.T)
        slope = (found - n * share) @ root - u
        weight = n * share * (1 - share)
        curve = np.einsum("ai,ka,aj->kij", root, weight, root) + np.eye(2)
        move = np.linalg.solve(curve, slope[..., None])[..., 0]
        u += move / np.maximum(1.0, np.abs(move).max(1, keepdims=True) / 2)
        if np.abs(move).max() < 1e-10:
            break
    spread = np.linalg.cholesky(np.linalg.inv(curve))
    nodes, weights = np.polynomial.hermite_e.hermegauss(n_nodes)
    grid = np.stack(np.meshgrid(nodes, nodes, indexing="ij"), -1).reshape(-1, 2)
    log_weights = np.log(np.outer(weights, weights)).ravel()
    places = u[:, None] + np.einsum("kij,qj->kqi", spread, grid)
    logits = means + places @ root.T
    log_binomial = (found[:, None] * logits - n[:, None] * np.logaddexp(0, logits)).sum(-1)
    inside = log_binomial - 0.5 * (places**2).sum(-1) + 0.5 * (grid**2).sum(-1) + log_weights
    choices = special.gammaln(n + 1) - special.gammaln(found + 1) - special.gammaln(n - found + 1)
    each = special.logsumexp(inside, axis=1) + np.linalg.slogdet(spread)[1] - np.log(2 * np.pi)
    return float((each + choices.sum(1)).sum())
