"""Random networks with hand-set weights and patients of their own."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from regard.core import randomness, recording
from regard.core.quantity import Quantity, Sign
from regard.core.recording import Network
from regard.core.spatial import blur
from regard.core.target import Output
from regard.evidence.measure import Exhibit, Explain, Places

__all__ = ["Oracle", "oracle_map"]

_SIDE = 32


class _Linear(nn.Module):
    """Sum over places of weight times intensity."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight[None, None].clone())

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.weight).sum((1, 2, 3))[:, None]


class _Convolutional(nn.Module):
    """A convolution that finds bright and dark spots, ReLU, and a weighted sum of places; without biases."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        spot = blur(functional.pad(torch.ones(1, 1, 1, 1), [3] * 4), 1.0)
        self.kernel = nn.Parameter(torch.cat([spot, -spot]))
        self.weight = nn.Parameter(torch.stack([weight, -weight])[None].clone())

    def forward(self, x: Tensor) -> Tensor:
        found = functional.relu(functional.conv2d(x, self.kernel, padding=3))
        return (found * self.weight).sum((1, 2, 3))[:, None]


def oracle_map(network: Network, x: Tensor) -> Tensor:
    """Intensity times derivative, (1, 1, \\*space): exact for these networks, which are homogeneous of degree 1.

    Euler: f(x) is the sum of x times its derivative, so that nothing is left to a reference of 0 (Ancona et al., ICLR
    2018, section 3).
    """
    leaf = x.detach().clone().requires_grad_()
    with recording.intact(network) as plain:
        value = plain(leaf).sum()  # type: ignore[operator]
        (slope,) = torch.autograd.grad(value, leaf)
    return (slope * x).sum(1, keepdim=True).detach()


@dataclass(frozen=True)
class Oracle:
    """One hand-set network and its patients: smooth random images, 32 by 32.

    Parameters
    ----------
    number
        Which network: even numbers are linear, odd ones convolutional; places, sizes and signs are drawn.
    seed
        Which draw of all.
    """

    number: int
    seed: int

    @property
    def _key(self) -> str:
        return f"oracle-{self.number:04d}"

    def _weight(self) -> Tensor:
        """A place that raises the output and one that lowers it, (32, 32)."""
        draws = randomness.uniform((8,), self.seed, self._key, "weights")
        axis = torch.arange(_SIDE, dtype=torch.float32)
        found = torch.zeros(_SIDE, _SIDE)
        for n, sign in enumerate((1.0, -1.0)):
            row, column, size, strength = draws[4 * n : 4 * n + 4].tolist()
            centre = [5 + (_SIDE - 10) * row, 5 + (_SIDE - 10) * column]
            width = 2.0 + 1.5 * size
            square = (axis[:, None] - centre[0]) ** 2 + (axis[None] - centre[1]) ** 2
            found += sign * (0.7 + 0.6 * strength) * torch.exp(-square / (2 * width**2))
        return torch.where(found.abs() > 0.1, found, 0.0)

    @property
    def network(self) -> nn.Module:
        """The network."""
        weight = self._weight()
        return _Linear(weight) if self.number % 2 == 0 else _Convolutional(weight)

    def image(self, patient: int) -> Tensor:
        """Image of a patient, (1, 1, 32, 32): white noise blurred by 2 voxels, of mean 0 and standard deviation 1."""
        drawn = blur(torch.randn(1, 1, _SIDE, _SIDE, generator=self._generator(f"image {patient}")), 2.0)
        return (drawn - drawn.mean()) / drawn.std()

    def _generator(self, draw: str) -> torch.Generator:
        return randomness.generator(self.seed, self._key, draw)

    @property
    def places(self) -> Places:
        """Where the weights are."""
        return Places(self._weight() != 0)

    def exhibit(self, patient: int, explain: Explain, *, spread: float | None, truth: bool) -> Exhibit:
        """The map that ``explain`` gives of a patient, ready to be weighed."""
        network, x = self.network, self.image(patient)
        return Exhibit(
            network, x, Output(0), explain(network, x), Quantity.CONTRIBUTION, Sign.RAISED,
            case=f"{self._key}-{patient:02d}", spread=spread, places=self.places if truth else None, explain=explain,
            reference=torch.zeros_like(x), seed=self.seed, batch_size=1024,
        )  # fmt: skip

    def spread(self, n_patients: int) -> float:
        """Standard deviation of the output over the patients."""
        with torch.no_grad():
            return float(self.network(torch.cat([self.image(n) for n in range(n_patients)])).std())
