"""What a trained network's reading of a phantom depends on, and what its label depends on: two truths, and where.

Model truth comes from rendering the patient again with factors changed and all else fixed, noise too: the exact Shapley
share of each factor in the change of the output, and the places that change with the factors which the network uses.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from regard.core.spatial import box_mean
from regard.evidence.measure import Places
from regard.phantoms.truth import STEP, USED, VISIBLE, shapley
from regard.studies.bmd.config import BMDConfig
from regard.studies.bmd.phantoms import again
from regard.studies.run import StudyRun

__all__ = ["CaseTruth", "Rendered", "case_truth", "data_places", "rendered"]


@dataclass(frozen=True, eq=False)
class Rendered:
    """One patient's middle slice, rendered again with factors changed.

    Parameters
    ----------
    factors
        Their names.
    mixtures
        HU (2^k, 1, row, column): image s keeps the factors whose bits are set in s; the others are at the far end.
    ends
        HU (k, 2, 1, row, column): each factor at 0 and at 1.
    places
        (k, row, column) of bool: pixels that change visibly with each factor.
    """

    factors: tuple[str, ...]
    mixtures: Tensor
    ends: Tensor
    places: Tensor


def rendered(
    run: StudyRun, config: BMDConfig, patient: str, factors: Sequence[str], *, dose: float | None = None
) -> Rendered:
    """Render a patient again for every mixture of factors; kept as a piece of the run."""
    names = tuple(factors)

    def make() -> dict[str, Tensor]:
        _, own = again(run, config, patient, [], dose=dose)
        drawn = {f: min(max(own[f], 0.0), 1.0) for f in names}
        far = {f: 1.0 if drawn[f] < 0.5 else 0.0 for f in names}
        changes = []
        for kept in itertools.product((False, True), repeat=len(names)):
            held = dict(zip(reversed(names), kept, strict=True))
            changes.append({f: far[f] for f in names if not held[f]})
        ends = [{f: value} for f in names for value in (0.0, 1.0)]
        steps = [{f: min(max(drawn[f] + s, 0.0), 1.0)} for f in names for s in (-STEP, STEP)]
        images, _ = again(run, config, patient, [*changes, *ends, *steps], dose=dose)
        n, k = len(changes), len(names)
        low_high = images[n + 2 * k :].unflatten(0, (k, 2))[:, :, 0]
        size = (low_high[:, 1] - low_high[:, 0]).abs()
        largest = size.amax((1, 2), keepdim=True)
        return {
            "mixtures": images[:n],
            "ends": images[n : n + 2 * k].unflatten(0, (k, 2)),
            "places": ((size > VISIBLE * largest) & (largest > 0)).to(torch.uint8),
        }

    name = f"weigh/rendered-{patient}" + ("" if dose is None else f"-decoy{dose:g}")
    found = run.tensors(name, make)
    return Rendered(names, found["mixtures"], found["ends"], found["places"].bool())


@dataclass(frozen=True, eq=False)
class CaseTruth:
    """What one network's reading of one patient depends on.

    Parameters
    ----------
    shapley
        Share of each factor in f(patient) - f(every factor at its far end) [g/cm2].
    change
        f with the factor at 1 minus f with it at 0 [g/cm2].
    places
        Core: where the factors that the network uses show.
    """

    shapley: dict[str, float]
    change: dict[str, float]
    places: Places


def _marked(core: Tensor, inside: Tensor, decoy: Tensor, spacing: tuple[float, ...]) -> Places:
    band = box_mean(core[None, None].float(), 3)[0, 0] > 0
    allowed = (band | inside) & ~core
    return Places(core, allowed, decoy & ~core & ~allowed, spacing)


def case_truth(
    function: Callable[[Tensor], Tensor], made: Rendered, decoy: str, spacing: tuple[float, ...]
) -> CaseTruth:
    """Model truth of one case.

    Parameters
    ----------
    function
        HU (n, 1, row, column) to densities (n,): the network with all that comes before it.
    made
        The patient, rendered again.
    decoy
        Name of the decoy's factor.
    spacing
        Of a pixel [mm].
    """
    k = len(made.factors)
    with torch.no_grad():
        worth = function(made.mixtures).double()
        ends = function(made.ends.flatten(0, 1)).double().unflatten(0, (k, 2))
    shares = shapley(worth)
    sizes = shares.abs() / shares.abs().sum().clamp_min(1e-300)
    used = [n for n in range(k) if float(sizes[n]) >= USED] or [int(sizes.argmax())]
    core = made.places[used].any(0)
    at = made.factors.index(decoy) if decoy in made.factors else None
    mark = torch.zeros_like(core) if at is None else made.places[at]
    return CaseTruth(
        dict(zip(made.factors, shares.tolist(), strict=True)),
        dict(zip(made.factors, (ends[:, 1] - ends[:, 0]).tolist(), strict=True)),
        _marked(core, torch.zeros_like(core), mark, spacing),
    )


def data_places(vertebra: Tensor, decoy: Tensor, spacing: tuple[float, ...]) -> Places:
    """Data truth: L1 itself, whose mineral is the label; pixels that it fills in part count neither way.

    Parameters
    ----------
    vertebra
        Share of each pixel that L1 fills, (row, column).
    decoy
        Pixels of the decoy, (row, column) of bool.
    spacing
        Of a pixel [mm].
    """
    return _marked(vertebra > 0.5, vertebra > 0.02, decoy, spacing)
