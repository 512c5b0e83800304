"""The derivative averaged over noisy copies of the image."""

from collections.abc import Sequence

import torch
from torch import Tensor

from regard.core import batching, randomness
from regard.core.errors import InputError
from regard.core.explainer import AbstractExplainer, Attribution, Form, Query
from regard.core.quantity import Promise, Quantity, Sign
from regard.core.recording import Network
from regard.core.spatial import space
from regard.explainers.knobs import real, whole
from regard.explainers.monte_carlo import RunningMean
from regard.explainers.reference import input_name

__all__ = ["SmoothGrad"]


class SmoothGrad(AbstractExplainer):
    """Mean derivative over copies of the image with Gaussian noise, with its Monte-Carlo standard error.

    The map keeps its channels, (batch, channel, \\*space), in output units per unit of intensity, whatever the number
    of samples.

    Parameters
    ----------
    network
        A network that gradients pass through.
    noise
        Standard deviation of the noise, as a share of the input's range (largest minus smallest value of the case).
    feature_noise
        Standard deviation of the noise on the features of inputs without space (batch, feature), in their own units:
        one number, or one per feature, such as a tenth of each column's standard deviation over reference cases.
        Unlike features have no range in common: without it no noise is put on them, and their map is NaN.
    n_samples
        Samples at most.
    tolerance
        Stop when the median standard error is at most this share of the map's size (99th percentile of the absolute
        mean), looked at every 8 samples; None for all samples.
    form
        ``"published"`` is the largest absolute value over the channels.

    Raises
    ------
    InputError
        If a knob is out of its range.

    Notes
    -----
    Smilkov et al. 2017 (arXiv 1706.03825), section 3.1.
    """

    quantity = Quantity.SENSITIVITY
    sign = Sign.RAISES
    published_meaning = (Quantity.SENSITIVITY, Sign.UNSIGNED)
    without_space = "a mean derivative for each feature with feature_noise, NaN without it"
    breaks = {Promise.COMPLETE: "a mean slope around one point, not a share of the output"}

    def __init__(
        self,
        network: Network,
        *,
        noise: float = 0.1,
        feature_noise: float | Sequence[float] | None = None,
        n_samples: int = 64,
        tolerance: float | None = 0.05,
        form: Form = "signed",
    ) -> None:
        super().__init__(network, form=form)
        self.noise = real("noise", noise, 0)
        self.feature_noise = None if feature_noise is None else _read_widths(feature_noise)
        self.n_samples = whole("n_samples", n_samples)
        self.tolerance = None if tolerance is None else real("tolerance", tolerance, 0)

    def _attribute(self, query: Query) -> Attribution:
        inputs = query.inputs.tensors
        widths, unknown, warnings = self._widths(query)
        running = RunningMean()

        def evaluate(items: range) -> tuple[Tensor, ...]:
            noisy = []
            for n, (x, width) in enumerate(zip(inputs, widths, strict=True)):
                drawn = [randomness.normal(x, query.seed, query.case, f"{n}/{draw}") for draw in items]
                noisy.append(x + width * torch.cat(drawn))
            return query.gradient(noisy)[1]

        def add(items: range, gradients: tuple[Tensor, ...]) -> bool:
            for n in range(len(items)):
                running.add([g[n : n + 1] for g in gradients])
                if running.enough(self.tolerance):
                    return True
            return False

        with torch.no_grad():
            value = query.score([x.clone() for x in inputs]).detach()
        at_once = query.items_at_once(self.n_samples, backward=True)
        batching.run(evaluate, self.n_samples, add, batch_size=at_once, label="smoothgrad")
        maps, errors = running.means, running.standard_errors()
        if self.form == "published":
            largest = [m.abs().argmax(1, keepdim=True) for m in maps]
            maps = tuple(m.abs().gather(1, i) for m, i in zip(maps, largest, strict=True))
            errors = tuple(e.gather(1, i) for e, i in zip(errors, largest, strict=True))
        maps = tuple(torch.full_like(m, torch.nan) if n else m for m, n in zip(maps, unknown, strict=True))
        errors = tuple(torch.full_like(e, torch.nan) if n else e for e, n in zip(errors, unknown, strict=True))
        return Attribution(
            maps,
            value,
            standard_error=tuple(e.float() for e in errors),
            notes={"n_samples_used": running.n},
            warnings=warnings,
        )

    def _widths(self, query: Query) -> tuple[list[Tensor], list[bool], list[str]]:
        """Standard deviation of each input's noise, whether none is known for it, and sentences for the reader."""
        widths, unknown, warnings = [], [], []
        for n, x in enumerate(query.inputs.tensors):
            name, features = input_name(query.inputs, n), not space(x)
            if features and self.feature_noise is not None and len(self.feature_noise) not in (1, x.shape[1]):
                raise InputError(
                    f"feature_noise of {len(self.feature_noise)} numbers for {name} of {x.shape[1]} features",
                    "one number, or one per feature",
                    "set feature_noise accordingly",
                )
            width = x.new_zeros(()) if features else self.noise * (x.max() - x.min())
            if features and self.feature_noise is not None:
                width = x.new_tensor(self.feature_noise)
            elif features:
                warnings.append(
                    f"{name} has no space (batch, feature), and its features no range in common: no noise is put on it "
                    "and its map is NaN; give feature_noise=..., such as a share of each column's spread over "
                    "reference cases"
                )
            elif not bool(width > 0):
                warnings.append(f"{name} is constant, so that its noise, a share of its range, is 0: a plain gradient")
            widths.append(width)
            unknown.append(features and self.feature_noise is None)
        return widths, unknown, warnings


def _read_widths(value: float | Sequence[float]) -> tuple[float, ...]:
    values = value if isinstance(value, Sequence) else (value,)
    return tuple(real("feature_noise", v, 0, open_low=False) for v in values)
