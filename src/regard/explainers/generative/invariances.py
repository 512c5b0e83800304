"""Invariances of a network at one image, without training: drawn, checked, and divided into noise and anatomy."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from regard.core import batching, randomness
from regard.core.batching import BatchSize
from regard.core.errors import InputError
from regard.core.rows import counted
from regard.core.spatial import blur, has_space, space
from regard.explainers.generative.controls import equal_blur, gaussian_filter, identity
from regard.explainers.generative.detectability import Detectability, usable_scales
from regard.explainers.generative.hidden import Search, hidden_changes, hidden_noise
from regard.explainers.generative.level_set import smooth_level_set
from regard.explainers.generative.noise import Noise

__all__ = ["Calibration", "Invariances", "Kind", "calibrate", "check", "find_invariances"]

Function: TypeAlias = Callable[[Tensor], Tensor]
Kind: TypeAlias = Literal["noise", "anatomy"]

OUTPUT_SCALES = (0.0, 1.0, 2.0, 4.0, 8.0)
"""Blobs that the output is watched with [voxel]; 0 is a voxel alone."""
ANATOMY_SCALES = (2.0, 4.0, 8.0)
"""Blobs that count as structure in the image [voxel]; a subset of the output's, so that the identity hides nothing."""
NOISE_EVERY = 4
"""Every so many-th sample of an image output starts from noise instead of blobs."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """What repeated noise does to an image and to the network's output.

    Parameters
    ----------
    noise
        Draws (draw, channel, \\*space).
    inside
        Visibility in the image.
    outside
        Visibility in the output image; None for a scalar.
    spread
        Of a scalar output: its standard deviation over repeated noise, in its unit; of an image: that of a voxel.
    structure
        Visibility of the most visible blob of each draw, (draw,): above all of them a change is anatomy.
    """

    noise: Tensor
    inside: Detectability
    outside: Detectability | None
    spread: float
    structure: Tensor


@dataclass(frozen=True, eq=False)
class Invariances:
    """Other inputs that give the same output.

    Parameters
    ----------
    image, output
        x (1, channel, \\*space) and f(x), (1, channel, \\*space) or (1,).
    samples
        x~ (sample, channel, \\*space).
    outputs
        f(x~), of each sample.
    distance
        Visibility of x~ - x in the image's noise: its largest d' over places and scales of structure, (sample,).
    d_prime
        Largest d' of f(x~) - f(x) over places and scales; of a scalar, the change over the spread, (sample,).
    leakage
        Norm of f(x~) - f(x) over that of x~ - x, in output per intensity, (sample,).
    accepted
        Whether the tolerance holds, (sample,).
    kinds
        ``"anatomy"`` where the distance is more than in every draw of noise, else ``"noise"``.
    scales
        Blob that each sample was made of [voxel]; 0: noise.
    tolerance
        In d', or in the unit of a scalar.
    calibration
        See `Calibration`.
    controls
        Distances of the same search in networks that hide nothing, by name.
    curve
        Tolerance to distances of the search at it.
    facts
        What was found and chosen on the way, for the reader.
    """

    image: Tensor
    output: Tensor
    samples: Tensor
    outputs: Tensor
    distance: Tensor
    d_prime: Tensor
    leakage: Tensor
    accepted: Tensor
    kinds: tuple[Kind, ...]
    scales: tuple[float, ...]
    tolerance: float
    calibration: Calibration
    controls: Mapping[str, Tensor] = field(default_factory=dict)
    curve: Mapping[float, Tensor] = field(default_factory=dict)
    facts: Mapping[str, float | str] = field(default_factory=dict)

    @property
    def is_image(self) -> bool:
        """Whether the output is an image."""
        return has_space(self.output)

    def of_kind(self, kind: Kind) -> Tensor:
        """Accepted samples of a kind (sample, channel, \\*space)."""
        return self.samples[self.accepted & torch.tensor([k == kind for k in self.kinds])]

    def spread_map(self, kind: Kind) -> Tensor:
        """Standard deviation of the accepted samples of a kind around x (channel, \\*space); 0 where there is none."""
        found = self.of_kind(kind) - self.image
        return found.square().mean(0).sqrt() if len(found) else torch.zeros_like(self.image[0])


def _of(noise: Tensor, function: Function, image: Tensor) -> Tensor:
    """What draws of noise do to the output."""
    function = counted(function)
    with torch.no_grad():
        before = function(image)
        return torch.cat([function(image + one[None]) - before for one in noise])


def calibrate(
    function: Function,
    image: Tensor,
    noise: Noise,
    *,
    n_draws: int = 16,
    scales: Sequence[float] = OUTPUT_SCALES,
    anatomy: Sequence[float] = ANATOMY_SCALES,
    seed: int = 0,
    case: str = "case",
) -> Calibration:
    """Repeat the noise of an image, and measure what it does to the image and to the output.

    The change of the output is taken around its mean over the draws, as more noise may also shift it.

    Parameters
    ----------
    function
        Images (batch, channel, \\*space) to images (batch, channel, \\*space) or to values (batch,).
    image
        x (1, channel, \\*space).
    noise
        Of the image.
    n_draws
        How often it is repeated.
    scales, anatomy
        Blobs that the output and the image are watched with [voxel].
    seed, case
        Key of the draws.
    """
    drawn = noise.draw(image, range(n_draws), seed=seed, case=case)
    fitting = usable_scales(anatomy, space(image))
    inside = Detectability.of_noise(drawn, fitting)
    change = _of(drawn, function, image)
    change = (change - change.mean(0)) * (n_draws / (n_draws - 1)) ** 0.5
    spread = float(change.double().square().mean().sqrt())
    if not spread > 0:
        raise InputError(
            "an output that noise does not change",
            "one that depends on the image",
            "give --tolerance (tolerance= in Python)",
        )
    outside = None
    if has_space(change):
        outside = Detectability.of_noise(change, usable_scales(sorted({*scales, *fitting}), space(change)))
    return Calibration(drawn, inside, outside, spread, inside.largest(drawn))


def check(
    function: Function, image: Tensor, samples: Tensor, calibration: Calibration, tolerance: float
) -> dict[str, Tensor]:
    """Run the network on each sample and compare: outputs, distance, d_prime, leakage and accepted, (sample, ...)."""
    function = counted(function)
    with torch.no_grad():
        before = function(image)
        outputs = torch.cat([function(s[None]) for s in samples])
    change = outputs - before
    inside = calibration.inside.largest(samples - image)
    if calibration.outside is not None:
        d_prime = calibration.outside.largest(change)
        accepted = d_prime <= tolerance
    else:
        d_prime = change.abs() / calibration.spread
        accepted = change.abs() <= tolerance
    norm = (samples - image).flatten(1).norm(dim=1)
    leakage = change.reshape(len(change), -1).norm(dim=1) / norm.clamp_min(1e-30)
    return {"outputs": outputs, "distance": inside, "d_prime": d_prime, "leakage": leakage, "accepted": accepted}


def find_invariances(
    function: Function,
    image: Tensor,
    noise: Noise,
    *,
    n: int = 100,
    tolerance: float | None = None,
    limit: float = 3.0,
    n_draws: int = 16,
    n_steps: int = 40,
    anatomy: Sequence[float] = ANATOMY_SCALES,
    n_control: int = 8,
    curve: Sequence[float] = (),
    bounds: tuple[float, float] | None = None,
    seed: int = 0,
    case: str = "case",
    batch_size: BatchSize = "auto",
) -> Invariances:
    """Find inputs that differ from an image as much as can be, and give the same output.

    Of an image output, blobs of each scale of structure are searched by `hidden_changes`, and every fourth sample is
    another realisation of the noise (`hidden_noise`). Of a scalar, smooth random changes are moved onto its level set.

    Parameters
    ----------
    function
        Images (batch, channel, \\*space) to images (batch, channel, \\*space) or to values (batch,).
    image
        x (1, channel, \\*space), in its intensities.
    noise
        Of the image; see `estimate_noise`.
    n
        Number of samples.
    tolerance
        Largest d' of an output image's change, or largest change of a scalar in its unit; None: the spread over
        repeated noise, which is a d' of 1.
    limit
        Largest change of a voxel, in standard deviations of the noise.
    n_draws
        How often the noise is repeated to find the spread.
    n_steps
        Steps of the search.
    anatomy
        Scales of structure [voxel].
    n_control
        Samples that the controls (image outputs only) are searched with.
    curve
        Multiples of the tolerance at which the search is repeated with ``n_control`` samples.
    bounds
        Intensities that the network can see; samples stay within.
    seed, case
        Key of the draws.
    batch_size
        Samples at once.

    Raises
    ------
    InputError
        If a number is not usable, or the output does not depend on the image.
    """
    if n < 1 or not limit > 0 or (tolerance is not None and not tolerance > 0):
        raise InputError(f"{n} samples, limit {limit:g}, tolerance {tolerance}", "numbers above 0")
    function = counted(function)
    calibration = calibrate(function, image, noise, n_draws=n_draws, anatomy=anatomy, seed=seed, case=case)
    scalar = calibration.outside is None
    allowed = tolerance if tolerance is not None else (calibration.spread if scalar else 1.0)
    amplitude = limit * noise.deviation
    scales = calibration.inside.scales
    size = batching.auto_batch_size(image, n) if batch_size == "auto" else batch_size
    within = (lambda x: x) if bounds is None else (lambda x: x.clamp(*bounds))

    def search(f: Function, outside: Detectability, at: float) -> Search:
        return Search(f, image, calibration.inside, outside, at, amplitude, n_steps, seed, case)

    def draw(numbers: range) -> Tensor:
        if calibration.outside is None:
            return _smooth(function, image, numbers, scales, amplitude, allowed, seed, case)
        this = search(function, calibration.outside, allowed)
        found = torch.zeros(len(numbers), *image.shape[1:]).to(image)
        blobs = [k for k in numbers if _scale_of(k, scales) > 0]
        others = [k for k in numbers if _scale_of(k, scales) == 0]
        if blobs:
            changes = hidden_changes(this, [_scale_of(k, scales) for k in blobs], blobs)
            found[[k - numbers.start for k in blobs]] = changes
        if others:
            keys = [range(n_draws + k, n_draws + k + 1) for k in others]
            drawn = torch.cat([noise.draw(image, key, seed=seed, case=case) for key in keys])
            found[[k - numbers.start for k in others]] = hidden_noise(this, drawn)
        return found

    parts: list[Tensor] = []
    batching.run(draw, n, lambda _, t: parts.append(t), batch_size=size, label="searching")
    samples = within(image + torch.cat(parts))
    found = check(function, image, samples, calibration, allowed)
    noisiest = float(calibration.structure.max())
    kinds: tuple[Kind, ...] = tuple("anatomy" if d > noisiest else "noise" for d in found["distance"].tolist())
    made_of = tuple(_scale_of(k, scales) if not scalar else scales[k % len(scales)] for k in range(n))
    facts: dict[str, float | str] = {
        "noise in the image": noise.deviation,
        "noise in the output": calibration.spread,
        "largest change of a voxel": amplitude,
        "most visible blob of noise": noisiest,
    }
    controls: dict[str, Tensor] = {}
    curves: dict[float, Tensor] = {}
    if calibration.outside is not None:
        numbers = [k for k in range(4 * n_control) if _scale_of(k, scales) > 0][:n_control]
        wanted = [_scale_of(k, scales) for k in numbers]

        def distances(f: Function, outside: Detectability, at: float) -> Tensor:
            changes = hidden_changes(search(f, outside, at), wanted, numbers)
            return calibration.inside.largest(changes)

        if n_control:
            others: dict[str, Function] = {"identity": identity}
            if found["outputs"].shape[1:] == image.shape[1:]:
                # A layer's activation has no noise to compare with the image's.
                sigma = equal_blur(calibration.noise, calibration.spread / noise.deviation)
                facts["width of the blur of equal noise reduction"] = sigma
                others["gaussian"] = gaussian_filter(sigma)
            for name, f in others.items():
                other = Detectability.of_noise(f(calibration.noise), calibration.outside.scales)
                controls[name] = distances(f, other, allowed)
        for factor in curve:
            curves[factor * allowed] = distances(function, calibration.outside, factor * allowed)
    return Invariances(
        image=image,
        output=_call(function, image),
        samples=samples,
        kinds=kinds,
        scales=made_of,
        tolerance=allowed,
        calibration=calibration,
        controls=controls,
        curve=curves,
        facts=facts,
        **found,
    )


def _call(function: Function, image: Tensor) -> Tensor:
    with torch.no_grad():
        return function(image)


def _scale_of(number: int, scales: Sequence[float]) -> float:
    """Scale of the blobs of a sample; 0 for those that start from noise."""
    if number % NOISE_EVERY == NOISE_EVERY - 1:
        return 0.0
    return scales[(number - number // NOISE_EVERY) % len(scales)]


def _smooth(
    function: Function,
    image: Tensor,
    numbers: range,
    scales: Sequence[float],
    amplitude: float,
    tolerance: float,
    seed: int,
    case: str,
) -> Tensor:
    """Smooth random changes on the level set of a scalar (sample, channel, \\*space)."""
    found = []
    for k in numbers:
        scale = scales[k % len(scales)]
        field_ = blur(randomness.normal(image, seed, case, f"field {k}"), scale)
        field_ = field_ * (amplitude / 3 / field_.std().clamp_min(1e-30))
        moved = smooth_level_set(function, image, field_, scale, tolerance=tolerance, limit=amplitude)
        found.append(moved)
    return torch.cat(found)
