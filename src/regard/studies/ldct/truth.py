"""Where the answer is known: a linear function, a denoiser that was taught to ignore one structure, the identity."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from regard.core import randomness
from regard.core.spatial import blur
from regard.explainers.generative.controls import identity
from regard.explainers.generative.invariances import find_invariances
from regard.explainers.generative.jacobian import principal_angles
from regard.explainers.generative.level_set import onto_level_set
from regard.explainers.generative.noise import NoiseModel
from regard.models.zoo.denoisers import CNN10
from regard.phantoms.lowdose import Lesion
from regard.training.restore import Standardised, fit_restorer
from regard.training.resumable import seeded

__all__ = [
    "Planted",
    "contrast_left",
    "found_structures",
    "gaussian_truth",
    "identity_hides",
    "planted_images",
    "train_ignoring",
]

SIDE = 48
CONTRAST, NOISE = 60.0, 20.0
OUTER, INNER = 5.0, 3.0
"""Radii of the ring [pixel]; a disc has the same area."""
_LATTICE = ((13, 13), (13, 35), (35, 13), (35, 35), (24, 24))


@dataclass(frozen=True, eq=False)
class Planted:
    """Images with one ring and four discs of equal contrast and area at random of five places.

    Parameters
    ----------
    noisy
        (case, 1, row, column).
    whole, without
        Without noise, with all structures and without the ring.
    covers
        Share of each pixel that a structure covers (case, structure, row, column), the ring first.
    """

    noisy: Tensor
    whole: Tensor
    without: Tensor
    covers: Tensor

    def of(self, numbers: Sequence[int]) -> "Planted":
        """Some of the images."""
        some = list(numbers)
        return Planted(self.noisy[some], self.whole[some], self.without[some], self.covers[some])


def planted_images(n: int, *, seed: int = 0, first: int = 0) -> Planted:
    """Draw images: a smooth background, five structures, white noise."""
    radius = (OUTER**2 - INNER**2) ** 0.5
    found: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    for k in range(first, first + n):
        like = torch.zeros(1, 1, SIDE, SIDE)
        background = blur(randomness.normal(like, seed, "planted", f"background {k}"), 6.0)
        background = background * (20.0 / float(background.std()))
        u = randomness.uniform((11,), seed, "planted", f"places {k}").tolist()
        ring = int(u[10] * len(_LATTICE))
        order = [ring, *(m for m in range(len(_LATTICE)) if m != ring)]
        covers = []
        for kind, place in enumerate(order):
            row, column = (_LATTICE[place][a] + 3 * (u[2 * place + a] - 0.5) + 0.5 - SIDE / 2 for a in (0, 1))
            inner = INNER if kind == 0 else 0.0
            covers.append(Lesion(row, column, OUTER if kind == 0 else radius, 1.0, inner).cover(SIDE, 1.0))
        cover = torch.stack(covers).float()
        without = background[0] + CONTRAST * cover[1:].sum(0)
        whole = without + CONTRAST * cover[0]
        noise = NOISE * randomness.normal(like[0], seed, "planted", f"noise {k}")
        found.append((whole + noise, whole, without, cover))
    stacked = [torch.stack(part) for part in zip(*found, strict=True)]
    return Planted(stacked[0], stacked[1], stacked[2], stacked[3])


def train_ignoring(*, n_images: int = 60, n_steps: int = 500, width: int = 24, seed: int = 0) -> Standardised:
    """A CNN-10 that was taught to take out noise and rings, and to leave discs."""
    images = planted_images(n_images, seed=seed)
    with seeded(seed, "ignoring"):
        network = CNN10(width)
    return fit_restorer(
        network, images.noisy, images.without, n_steps=n_steps, patch=SIDE, batch_size=6, learning_rate=2e-3, seed=seed
    )


def found_structures(
    function: Callable[[Tensor], Tensor], images: Planted, *, n_samples: int = 8, n_steps: int = 40, seed: int = 0
) -> tuple[list[float], list[float]]:
    """How far the search changes the ring, and how far each disc, in their contrast [share].

    The search knows nothing of rings or discs; afterwards the accepted changes are projected on each structure (its
    cover less that around it), and the root mean square over samples is taken.

    Returns
    -------
    ring
        One value per image.
    discs
        Four per image.
    """
    noise = NoiseModel(torch.full((SIDE, SIDE), NOISE), 1, 1, "given")
    ring: list[float] = []
    discs: list[float] = []
    for k, image in enumerate(images.noisy):
        found = find_invariances(
            function, image[None], noise, n=n_samples, n_control=0, n_steps=n_steps, anatomy=(2.0,), seed=seed,
            case=f"planted {k}",
        )  # fmt: skip
        kept = found.accepted & (torch.tensor(found.scales) > 0)
        changes = (found.samples - found.image)[kept][:, 0]
        for number, cover in enumerate(images.covers[k]):
            weight = _contrast_of(cover)
            size = (changes * weight).sum((1, 2)) / float((cover * weight).sum()) / CONTRAST
            value = float(size.square().mean().sqrt()) if len(size) else 0.0
            (ring if number == 0 else discs).append(value)
    return ring, discs


def _contrast_of(cover: Tensor) -> Tensor:
    """Weights that measure a structure's contrast: the structure against what is near and outside it."""
    near = (blur(cover[None, None], 2.0)[0, 0] > 0.05).float() * (1 - cover)
    return cover / cover.sum() - near / near.sum()


def contrast_left(outputs: Tensor, images: Planted) -> list[list[float]]:
    """Contrast of each structure in the outputs as a share of its own (image, structure), the ring first."""
    return [
        [float((out[0] * _contrast_of(cover)).sum()) / CONTRAST for cover in covers]
        for out, covers in zip(outputs, images.covers, strict=True)
    ]


def identity_hides(images: Planted, *, n_samples: int = 6) -> float:
    """Largest d' in the image of what the search finds in the identity, at a tolerance of 1."""
    noise = NoiseModel(torch.full((SIDE, SIDE), NOISE), 1, 1, "given")
    found = [find_invariances(identity, i[None], noise, n=n_samples, n_control=0, n_steps=20) for i in images.noisy]
    return max(float(f.distance[f.accepted].max()) for f in found)


def gaussian_truth(n: int, *, n_coefficients: int = 12, n_outputs: int = 5, seed: int = 0) -> dict[str, float]:
    """Images x = B c of Gaussian coefficients and a linear f: samples against the conditional Gaussian.

    Parameters
    ----------
    n
        Samples.
    n_coefficients, n_outputs
        Coefficients of an image, at most 16, and numbers that f gives.
    seed
        Of B, f, x and the samples.

    Returns
    -------
    dict
        ``mean_error``: of the coefficients' mean, in standard deviations of its own error; ``largest_eigenvalue`` and
        ``smallest_eigenvalue`` of the free directions (truth: 1), ``fixed_eigenvalue`` (truth: 0); ``angle``: largest
        principal angle to the true null space [rad]; ``leakage``: largest |f(x~) - f(x)| / |x~ - x|.
    """
    generator = randomness.generator(seed, "gaussian truth", n)
    shared = randomness.generator(seed, "gaussian truth", "system")
    basis = torch.randn(n_coefficients, SIDE * SIDE, generator=shared, dtype=torch.float64)
    basis = blur(basis.reshape(n_coefficients, 1, SIDE, SIDE), 3.0).flatten(1)
    filters = torch.randn(n_outputs, SIDE * SIDE, generator=shared, dtype=torch.float64) / SIDE
    matrix = filters @ basis.T
    truth = torch.randn(1, n_coefficients, generator=shared, dtype=torch.float64)
    wanted = truth @ matrix.T
    start = torch.randn(n, n_coefficients, generator=generator, dtype=torch.float64)
    found = onto_level_set(lambda c: c @ matrix.T, start, wanted, n_steps=1)
    mean = matrix.T @ torch.linalg.solve(matrix @ matrix.T, wanted[0])
    null = torch.linalg.svd(matrix, full_matrices=True)[2][n_outputs:]
    n_free = n_coefficients - n_outputs
    images, reference = found @ basis, truth @ basis
    leakage = ((images - reference) @ filters.T).norm(dim=1) / (images - reference).norm(dim=1)
    _, values, directions = torch.linalg.svd(found - found.mean(0), full_matrices=False)
    eigenvalues = values.square() / (n - 1)
    return {
        "mean_error": float((found.mean(0) - mean).norm()) * (n / n_free) ** 0.5,
        "largest_eigenvalue": float(eigenvalues[0]),
        "smallest_eigenvalue": float(eigenvalues[n_free - 1]),
        "fixed_eigenvalue": float(eigenvalues[n_free:].max()),
        "angle": float(principal_angles(directions[:n_free], null).max()),
        "leakage": float(leakage.max()),
    }
