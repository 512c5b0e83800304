"""What stands beside a network: what is known without one, and what a reader of the truth would reach."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from regard.core.errors import ShapeError
from regard.phantoms.brain.ageing import STRUCTURES
from regard.phantoms.brain.atlas import atlas
from regard.phantoms.brain.lattice import Lattice, sample
from regard.phantoms.brain.render import Brain

__all__ = ["FEATURES", "LinearPredictor", "hand_measurements", "histogram", "histogram_of", "structure_ages"]

_BINS = 32


@dataclass(frozen=True, eq=False)
class LinearPredictor:
    """Linear least squares with a penalty, on standardised features.

    Parameters
    ----------
    mean, spread
        Of each feature of the cases it was fitted on, (feature,).
    weights
        (feature,).
    constant
        Mean label of the cases it was fitted on.
    """

    mean: Tensor
    spread: Tensor
    weights: Tensor
    constant: float

    @classmethod
    def fit(cls, features: Tensor, labels: Sequence[float] | Tensor, penalty: float = 1.0) -> "LinearPredictor":
        """Fit ``features`` (case, feature) to ``labels`` (case,); without features it is the mean label.

        Parameters
        ----------
        features, labels
            One row and one label a case.
        penalty
            Ridge penalty, in cases.

        Raises
        ------
        ShapeError
            If there is not one label for each row.
        """
        x, y = features.double(), torch.as_tensor(labels, dtype=torch.float64)
        if x.ndim != 2 or y.shape != x.shape[:1]:
            raise ShapeError(f"features {tuple(x.shape)} and labels {tuple(y.shape)}", "(case, feature) and (case,)")
        mean = x.mean(0)
        spread = (x - mean).square().mean(0).sqrt().clamp_min(1e-12)
        z, constant = (x - mean) / spread, y.mean()
        normal = z.T @ z + penalty * torch.eye(x.shape[1], dtype=torch.float64)
        return cls(mean, spread, torch.linalg.solve(normal, z.T @ (y - constant)), float(constant))

    def __call__(self, features: Tensor) -> Tensor:
        """Predictions, (case,), of ``features`` (case, feature)."""
        return ((features.double() - self.mean) / self.spread) @ self.weights + self.constant


def _levels(image: Tensor) -> tuple[float, float]:
    """Intensities of fluid and of white matter of an image (i, j, k), by its own histogram."""
    inside = image[image > 0.05 * image.max()]
    white = float(torch.quantile(inside, 0.85))
    return 0.2 * white, white


def histogram(brain: Brain) -> Tensor:
    """As `histogram_of`, of a phantom."""
    return histogram_of(brain.image[0])


def histogram_of(image: Tensor) -> Tensor:
    """Share of the brain's voxels in each of 32 bins of intensity by white matter's, (32,), of an image (i, j, k)."""
    _, white = _levels(image)
    values = (image[image > 0.05 * white] / white).clamp(0, 1.499)
    return torch.histc(values, _BINS, 0.0, 1.5) / len(values)


@lru_cache(maxsize=1)
def _zones() -> tuple[Tensor, Lattice]:
    """Where a reader looks for the ventricles and about the hippocampi, (2, i, j, k) on the template at 1 mm."""
    regions = atlas()
    wanted = (("lateral ventricle", "third ventricle"), ("hippocampus", "fluid of the temporal horn"))
    zones = []
    for names, distance in zip(wanted, (9, 6), strict=True):
        away = ndimage.distance_transform_edt(~regions.mask(*names).numpy())
        zones.append(torch.from_numpy(away <= distance).float())
    return torch.stack(zones), regions.lattice


def hand_measurements(brain: Brain) -> dict[str, float]:
    """What a reader with a ruler would take from the image alone.

    Returns
    -------
    dict
        ``ventricles_ml``: fluid where ventricles are looked for, by intensity; ``hippocampal_fluid_ml``: fluid about
        the hippocampi; ``brain_ml``: everything brighter than fluid.

    Notes
    -----
    A voxel between fluid and grey matter counts by its share. The places are looked up in MNI152 space through the
    image's affine, never in the subject's truth.
    """
    image = brain.image[0]
    fluid, white = _levels(image)
    matrix = torch.tensor(brain.in_template.affine).float()
    index = torch.stack(torch.meshgrid(*[torch.arange(n, dtype=torch.float32) for n in image.shape], indexing="ij"))
    points = torch.einsum("ab,bijk->aijk", matrix[:3, :3], index) + matrix[:3, 3].reshape(3, 1, 1, 1)
    zones, lattice = _zones()
    ventricles, hippocampi = sample(zones, lattice, points, outside="zeros")
    grey = 0.68 * white
    dark = ((grey - image) / (grey - fluid)).clamp(0, 1)
    voxel = math.prod(brain.volume.spacing) / 1000
    return {
        "ventricles_ml": float((dark * ventricles).sum()) * voxel,
        "hippocampal_fluid_ml": float((dark * hippocampi).sum()) * voxel,
        "brain_ml": float((1 - dark)[image > 0.05 * white].sum()) * voxel,
    }


def structure_ages(brain: Brain) -> Tensor:
    """The truth a reader of the structures would have: their ages [year], (structure,), of those that age."""
    subject = brain.subject
    return torch.tensor([subject.structure_ages[s] for s in STRUCTURES if subject.doses[s]], dtype=torch.float64)


def _hand(brain: Brain) -> Tensor:
    return torch.tensor([np.log(max(v, 1e-3)) for v in hand_measurements(brain).values()], dtype=torch.float64)


FEATURES: Mapping[str, Callable[[Brain], Tensor]] = {
    "mean age": lambda brain: torch.zeros(0),
    "histogram": histogram,
    "ventricle": lambda brain: _hand(brain)[:1],
    "hand": _hand,
    "ceiling": structure_ages,
}
"""What each trivial predictor sees: nothing, the histogram, one measurement, all, or (the ceiling) the truth."""
