"""A linear surrogate of the network over superpixels or supervoxels."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from regard.core import batching, randomness
from regard.core.explainer import AbstractExplainer, Attribution, Form, Query
from regard.core.quantity import Promise, Quantity, Sign
from regard.core.recording import Network
from regard.core.spatial import space
from regard.explainers.knobs import real, whole
from regard.explainers.perturbation.copies import Copies, value_of
from regard.explainers.perturbation.fillers import Filler, FillerLike, known, nothing_known
from regard.explainers.perturbation.segments import parts_of, segment_size
from regard.explainers.reference import value_at, whole_reference

__all__ = ["LIME", "Surrogate", "fit_surrogate"]

_POOR_R2 = 0.5


@dataclass(frozen=True)
class Surrogate:
    """A weighted ridge regression.

    Parameters
    ----------
    effects, standard_errors
        Coefficient of each column and its standard error (robust to unequal spread), (n,).
    r2
        Weighted share of the values' variance that the surrogate explains; 1 when there is none to explain.
    """

    effects: Tensor
    standard_errors: Tensor
    r2: float


def fit_surrogate(shown: Tensor, values: Tensor, weights: Tensor, ridge: float) -> Surrogate:
    """Fit values (n_samples,) on shown (n_samples, n) by weighted least squares with an unpenalised intercept.

    Minimises sum of weight (value - b - shown . effects)^2 + ridge s |effects|^2, in float64, where s, the mean
    weighted sum of squares of a centred column, makes ``ridge`` a share that does not depend on the weights.
    """
    share, values = weights / weights.sum(), values - values[0]
    centre, level = share @ shown, share @ values
    z, y = shown - centre, values - level
    normal = (z * weights[:, None]).T @ z
    penalty = ridge * normal.diagonal().mean() * torch.eye(z.shape[1], dtype=z.dtype)
    inverse = torch.linalg.pinv(normal + penalty, hermitian=True)
    effects = inverse @ (z.T @ (weights * y))
    left = y - z @ effects
    spread, unexplained = float(weights @ y.square()), float(weights @ left.square())
    free = max(1, len(values) - z.shape[1] - 1)
    scores = (z * (weights * left)[:, None]) @ inverse
    errors = (scores.square().sum(0) * len(values) / free).sqrt()
    return Surrogate(effects, errors, 1 - unexplained / spread if spread > 0 else 1.0)


class LIME(AbstractExplainer):
    """Effect of each superpixel or supervoxel in a linear surrogate fitted to the network around the image.

    Segments are shown or replaced by the filler at random; samples near the whole image weigh more: exp(-d^2 / width^2)
    with d the cosine distance between the shown segments and all of them. The R2 of the surrogate is always noted: a
    map with a low one does not describe the network. Every voxel of a segment carries the segment's effect, in output
    units. All channels are hidden together; of several inputs one at a time. With a reference, hidden segments are
    filled from it unless a filler is named. Of an input without space (batch, feature) each feature is a segment.

    Parameters
    ----------
    network
        Any callable; no gradient is needed.
    n_segments
        Segments wanted.
    n_samples
        Samples; the first shows everything.
    ridge
        Penalty on the squared effects, as a share of the weight of the samples in them.
    kernel_width
        Width of the weights, in cosine distance.
    compactness
        Weight of nearness against intensity when segments are cut.
    filler
        ``"mean"``, ``"blur"``, ``"noise"``, ``"neighbour"`` (local mean), ``"reference"``, or a number in the network's
        input units; ``"auto"``: the reference where one is given, else ``"mean"``.
    sigma
        Width in voxels of the blur that fills; by default half a segment.
    form
        Both forms are the same.

    Raises
    ------
    InputError
        If a knob is out of its range.

    Notes
    -----
    Ribeiro, Singh and Guestrin 2016 (arXiv 1602.04938), eqs. 1 and 2, fitted to the target itself, so that a regression
    is the same as a class.
    """

    quantity = Quantity.EFFECT
    sign = Sign.RAISED
    needs = frozenset()
    takes_reference = True
    without_space = "each feature is a segment of its own, filled from a reference or with a number; else NaN"
    breaks = {Promise.COMPLETE: "slopes of a surrogate, whose R2 says how much of the network it describes"}

    def __init__(
        self,
        network: Network,
        *,
        n_segments: int = 50,
        n_samples: int = 500,
        ridge: float = 1e-3,
        kernel_width: float = 0.25,
        compactness: float = 0.1,
        filler: FillerLike = "auto",
        sigma: float | None = None,
        form: Form = "signed",
    ) -> None:
        super().__init__(network, form=form)
        self.n_segments = whole("n_segments", n_segments)
        self.n_samples = whole("n_samples", n_samples, 2)
        self.ridge = real("ridge", ridge, 0, open_low=False)
        self.kernel_width = real("kernel_width", kernel_width, 0)
        self.compactness = real("compactness", compactness, 0)
        self.filler = Filler(filler).kind
        self.sigma = None if sigma is None else real("sigma", sigma, 0)

    def _attribute(self, query: Query) -> Attribution:
        value = value_of(query)
        filler = Filler(self.filler, self.sigma, usual="mean")
        warnings: list[str] = []
        found = [self._map(query, which, filler, warnings) for which in range(len(query.inputs.tensors))]
        fits = [fit for _, _, fit in found if fit is not None]
        worst = min((fit.r2 for fit in fits), default=math.nan)
        if worst < _POOR_R2:
            warnings.append(
                f"the surrogate explains R2 = {worst:.2f} of the network's output around the image, so that the map "
                "does not describe the network; take more segments or samples"
            )
        reference = whole_reference(query)
        return Attribution(
            tuple(effects for effects, _, _ in found),
            value,
            reference_value=None if reference is None else value_at(query, reference),
            standard_error=tuple(errors.float() for _, errors, _ in found),
            notes={
                "r2": worst,
                "n_segments_used": sum(len(fit.effects) for fit in fits),
                "filler": filler.words(query),
                "distance": "cosine",
            },
            warnings=warnings,
        )

    def draw(self, n_segments: int, which: int, draw: int, seed: int, case: str) -> Tensor:
        """Which segments of an input a sample shows, (n_segments,), bool; the first sample shows all."""
        if draw == 0:
            return torch.ones(n_segments, dtype=torch.bool)
        return randomness.uniform((n_segments,), seed, case, f"{which}/{draw}") < 0.5

    def _map(
        self, query: Query, which: int, filler: Filler, warnings: list[str]
    ) -> tuple[Tensor, Tensor, Surrogate | None]:
        """Effects and their standard errors, each (1, 1, \\*space) or (1, feature), and the surrogate."""
        x = query.inputs.tensors[which]
        undefined = filler.undefined(query, which)
        if undefined is not None:
            warnings.append(undefined)
            return nothing_known(x), nothing_known(x), None
        segments = parts_of(x, self.n_segments, compactness=self.compactness)
        filling = filler.image(query, which, segment_size(segments))
        same, sentences = filler.unchanged(query, which, filling)
        warnings += sentences
        if bool(same.all()):
            return nothing_known(x), nothing_known(x), None
        n_segments, on_device = int(segments.max()) + 1, segments.to(x.device)
        copies = Copies(query)
        shown = torch.stack([self.draw(n_segments, which, n, query.seed, query.case) for n in range(self.n_samples)])
        values = torch.zeros(self.n_samples, dtype=torch.float64)

        def evaluate(items: range) -> Tensor:
            buffer = copies.of(len(items))[which]
            for n, item in enumerate(items):
                visible = shown[item].to(x.device)[on_device]
                torch.where(visible, x[0], filling[0], out=buffer[n])
            return copies.score()

        def add(items: range, found: Tensor) -> None:
            values[items.start : items.stop] = found.cpu()

        batching.run(evaluate, self.n_samples, add, batch_size=query.items_at_once(self.n_samples), label="lime")
        z = shown.double()
        distance = 1 - z.mean(1).sqrt()
        weights = torch.exp(-distance.square() / self.kernel_width**2)
        fit = fit_surrogate(z, values, weights, self.ridge)

        def drawn(numbers: Tensor) -> Tensor:
            return known(numbers[segments].reshape(1, -1, *space(x)).to(x.device), x, same)

        return drawn(fit.effects), drawn(fit.standard_errors), fit
