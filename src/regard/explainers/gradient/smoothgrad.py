"""The derivative averaged over noisy copies of the image."""

import torch
from torch import Tensor

from regard.core import batching, randomness
from regard.core.explainer import AbstractExplainer, Attribution, Form, Query
from regard.core.quantity import Promise, Quantity, Sign
from regard.core.recording import Network
from regard.explainers.knobs import real, whole
from regard.explainers.monte_carlo import RunningMean

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
    breaks = {Promise.COMPLETE: "a mean slope around one point, not a share of the output"}

    def __init__(
        self,
        network: Network,
        *,
        noise: float = 0.1,
        n_samples: int = 64,
        tolerance: float | None = 0.05,
        form: Form = "signed",
    ) -> None:
        super().__init__(network, form=form)
        self.noise = real("noise", noise, 0)
        self.n_samples = whole("n_samples", n_samples)
        self.tolerance = None if tolerance is None else real("tolerance", tolerance, 0)

    def _attribute(self, query: Query) -> Attribution:
        inputs = query.inputs.tensors
        widths = [self.noise * float(x.max() - x.min()) for x in inputs]
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
        batching.run(evaluate, self.n_samples, add, batch_size=query.items_at_once(self.n_samples), label="smoothgrad")
        maps, errors = running.means, running.standard_errors()
        if self.form == "published":
            largest = [m.abs().argmax(1, keepdim=True) for m in maps]
            maps = tuple(m.abs().gather(1, i) for m, i in zip(maps, largest, strict=True))
            errors = tuple(e.gather(1, i) for e, i in zip(errors, largest, strict=True))
        return Attribution(
            maps,
            value,
            standard_error=tuple(e.float() for e in errors),
            notes={"n_samples_used": running.n},
        )
