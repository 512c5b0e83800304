"""The local null space of a network: smooth directions that its output hardly answers to, and how far they hold."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from regard.core import batching
from regard.core.errors import InputError, ShapeError
from regard.core.rows import counted
from regard.core.spatial import has_space, n_space, space
from regard.explainers.generative.controls import equal_blur, gaussian_filter, identity
from regard.explainers.generative.detectability import Detectability
from regard.explainers.generative.invariances import Invariances, calibrate, check
from regard.explainers.generative.jacobian import Jacobian
from regard.explainers.generative.noise import Noise

__all__ = ["NullSpace", "cosines", "follow_null_space", "hidden_amplitude", "null_space"]

Function = Callable[[Tensor], Tensor]

_COSINES = {1: 64, 2: 16, 3: 6}
"""Cosines along each axis by the number of axes, a few hundred directions in all."""

_SHARES = 2.0 ** torch.arange(-8.0, 0.5, 0.5).double()
"""Amplitudes that are tried, as shares of the largest."""


@dataclass(frozen=True, eq=False)
class NullSpace:
    """Gains of a network at an image, and the directions of least gain.

    Parameters
    ----------
    gains
        Singular values of the Jacobian in the span of smooth directions, smallest first (direction,): what the
        output's root mean square changes by, of that of the image. 1 for all in the identity.
    directions
        The ones of least gain, largest voxel 1 (k, channel, \\*space).
    """

    gains: Tensor
    directions: Tensor


_LESS = torch.tensor([1.0, 1 - 1e-4, 0.98, 0.95, 0.9, 0.8, 0.6, 0.3, 0.1, 0.0]).double()
"""Shares of the interpolated amplitude that are tried until one is within the tolerance."""


def cosines(shape: tuple[int, ...], n: int) -> Tensor:
    """Orthonormal cosines (n^axes, \\*space): the n lowest along each axis, of at least 2 side / (n - 1) in wavelength.

    Raises
    ------
    ShapeError
        If an axis has fewer than n voxels.
    """
    if min(shape) < n:
        raise ShapeError(f"an image of {shape}", f"at least {n} voxels along each axis")
    found = torch.ones(1, dtype=torch.float64)
    axes = []
    for side in shape:
        places, orders = torch.arange(side).double() + 0.5, torch.arange(n).double()
        axis = torch.cos(torch.pi * orders[:, None] * places / side)
        axes.append(axis / axis.norm(dim=1, keepdim=True))
    for k, axis in enumerate(axes):
        # (n^k, space so far) times (n, side) gives (n^k, n, space so far, side).
        found = torch.einsum("a...,bs->ab...s", found.reshape(n**k, *shape[:k]), axis).flatten(0, 1)
    return found


def null_space(function: Function, image: Tensor, *, n_cosines: int | None = None, k: int = 8) -> NullSpace:
    r"""Smooth directions in which the output changes least, to first order: exact singular vectors of the Jacobian.

    Parameters
    ----------
    function
        Images (1, channel, \*space) to images or values.
    image
        x (1, channel, \*space); a direction is the same in all channels.
    n_cosines
        Cosines along each axis that directions are made of: the structure that counts, down to half a wavelength of
        side / (n_cosines - 1) voxels. Noise of single voxels is always free and says nothing. None: 16 in a slice, 6
        in a volume.
    k
        How many directions are kept.

    Raises
    ------
    InputError
        If there are fewer directions than ``k``.
    """
    per_axis = n_cosines or min(_COSINES[n_space(image)], *space(image))
    basis = cosines(space(image), per_axis).to(image).unsqueeze(1)
    if not 1 <= k <= len(basis):
        raise InputError(f"{k} directions", f"1 to {len(basis)}")
    channels = image.shape[1]
    basis = (basis / channels**0.5).expand(-1, channels, *space(image)).contiguous()
    jacobian = Jacobian(function, image, basis)
    columns: list[Tensor] = []
    batching.run(
        lambda items: jacobian.forward(torch.eye(len(basis))[items.start].to(image)), len(basis),
        lambda _, column: columns.append(column), batch_size=1, label="gains",
    )  # fmt: skip
    _, values, vectors = torch.linalg.svd(torch.stack(columns, 1).double(), full_matrices=True)
    gains = torch.cat([values, values.new_zeros(len(basis) - len(values))]).flip(0)
    directions = (vectors.flip(0)[:k].to(basis) @ basis.flatten(1)).reshape(-1, *image.shape[1:])
    largest = directions.flatten(1).abs().amax(1).reshape(-1, *[1] * (directions.ndim - 1))
    return NullSpace(gains.cpu(), directions / largest)


def hidden_amplitude(
    function: Function,
    image: Tensor,
    direction: Tensor,
    outside: Detectability | None,
    tolerance: float,
    largest: float,
    *,
    bounds: tuple[float, float] | None = None,
) -> float:
    r"""How far one can go from an image in a direction before the output shows it; negative for the other way.

    Parameters
    ----------
    function
        Images (batch, channel, \*space) to the same, or to values (batch,).
    image
        x (1, channel, \*space).
    direction
        What is added, of an amplitude of 1; broadcasts to the image.
    outside
        Visibility in an output image; None for values.
    tolerance
        Largest d' of ``f(x + amplitude * direction) - f(x)``, or largest change of a value.
    largest
        Largest amplitude to try, in the image's unit.
    bounds
        Intensities that the network can see; what is tried stays within.

    Returns
    -------
    float
        Amplitude up to which all are within the tolerance, interpolated between those that are tried; the larger one
        of both ways, with its sign.
    """
    amplitudes = largest * _SHARES
    function = counted(function)

    def visible(amounts: Tensor) -> Tensor:
        tried = image + amounts.reshape(-1, *[1] * (image.ndim - 1)).to(image) * direction.to(image)
        tried = tried if bounds is None else tried.clamp(*bounds)
        changes = [function(part) - before for part in tried.split(8)]
        return torch.cat([c.abs() if outside is None else outside.largest(c) for c in changes]).double().cpu()

    found = []
    with torch.no_grad():
        before = function(image)
        for sign in (1.0, -1.0):
            seen = visible(sign * amplitudes)
            over = torch.nonzero(seen > tolerance).flatten()
            if not len(over):
                found.append(sign * largest)
                continue
            k = int(over[0])
            start, under = (float(amplitudes[k - 1]), float(seen[k - 1])) if k else (0.0, 0.0)
            share = (tolerance - under) / max(float(seen[k]) - under, 1e-12)
            # Between two that are tried the network need not be linear: less, until it is within.
            further = share * _LESS * (float(amplitudes[k]) - start)
            within = visible(sign * (start + further)) <= tolerance
            first = int(torch.nonzero(within)[0]) if bool(within.any()) else -1
            found.append(sign * (start + float(further[first])))
    return max(found, key=abs)


def follow_null_space(
    function: Function,
    image: Tensor,
    noise: Noise,
    *,
    n: int = 8,
    tolerance: float | None = None,
    limit: float = 3.0,
    n_draws: int = 16,
    n_cosines: int | None = None,
    bounds: tuple[float, float] | None = None,
    seed: int = 0,
    case: str = "case",
) -> tuple[Invariances, NullSpace]:
    """Follow the directions that the output answers to least, each as far as the tolerance lets it go.

    Parameters
    ----------
    n
        How many directions: of the least gain, at the image.
    n_cosines
        As `null_space`.
    function, image, noise, tolerance, limit, n_draws, bounds, seed, case
        As `find_invariances`.

    Returns
    -------
    Invariances
        One sample for each direction, least gain first. The controls, for image outputs, are the furthest changes
        along the same directions that the identity and a Gaussian filter of equal noise reduction hide.
    NullSpace
        The gains and the directions.
    """
    calibration = calibrate(function, image, noise, n_draws=n_draws, seed=seed, case=case)
    scalar = calibration.outside is None
    allowed = tolerance if tolerance is not None else (calibration.spread if scalar else 1.0)
    found = null_space(function, image, n_cosines=n_cosines, k=n)
    largest = limit * noise.deviation

    def followed(f: Function, outside: Detectability | None) -> Tensor:
        far = [hidden_amplitude(f, image, d, outside, allowed, largest, bounds=bounds) for d in found.directions]
        return found.directions * torch.tensor(far).reshape(-1, *[1] * (image.ndim - 1)).to(found.directions)

    samples = image + followed(function, calibration.outside)
    samples = samples if bounds is None else samples.clamp(*bounds)
    with torch.no_grad():
        output = function(image)
    checked = check(function, image, samples, calibration, allowed)
    noisiest = float(calibration.structure.max())
    facts: dict[str, float | str] = {
        "noise in the image": noise.deviation,
        "noise in the output": calibration.spread,
        "largest change of a voxel": largest,
        "most visible blob of noise": noisiest,
        "form": "null space of the Jacobian",
        "smooth directions": float(len(found.gains)),
        "least gain": float(found.gains[0]),
        "median gain": float(found.gains.median()),
    }
    controls: dict[str, Tensor] = {}
    if calibration.outside is not None:
        others: dict[str, Function] = {"identity": identity}
        if has_space(output) and output.shape[1:] == image.shape[1:]:
            sigma = equal_blur(calibration.noise, calibration.spread / noise.deviation)
            facts["width of the blur of equal noise reduction"] = sigma
            others["gaussian"] = gaussian_filter(sigma)
            blurred = null_space(others["gaussian"], image, n_cosines=n_cosines, k=1)
            facts["least gain of the blur"] = float(blurred.gains[0])
        for name, f in others.items():
            outside = Detectability.of_noise(f(calibration.noise), calibration.outside.scales)
            controls[name] = calibration.inside.largest(followed(f, outside))
    made = Invariances(
        image=image,
        output=output,
        samples=samples,
        kinds=tuple("anatomy" if d > noisiest else "noise" for d in checked["distance"].tolist()),
        scales=(float("nan"),) * n,
        tolerance=allowed,
        calibration=calibration,
        controls=controls,
        curve={},
        facts=facts,
        **checked,
    )
    return made, found
