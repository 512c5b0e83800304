"""What a trained classifier's answer depends on, and where its label is written.

Model truth comes from rendering the patient again with findings or the letter taken out and all else fixed, noise and
display too: the exact Shapley share of each in the change of the log-odds, and the places of what the network uses.
What leaving the bones out does stands beside it; it is no share, as bones are everywhere.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from regard.core.spatial import box_mean
from regard.evidence.measure import Places
from regard.phantoms.truth import USED, VISIBLE, shapley
from regard.studies.run import StudyRun
from regard.studies.tuberculosis.config import TuberculosisConfig
from regard.studies.tuberculosis.phantoms import LETTER, again, state_of

__all__ = ["CaseTruth", "Rendered", "case_truth", "data_places", "rendered"]


@dataclass(frozen=True, eq=False)
class Rendered:
    """One patient, rendered again with findings or the letter changed.

    Parameters
    ----------
    factors
        The patient's findings, then the letter.
    present
        Whether each is there, as drawn.
    plain, soft
        (2^k, 1, row, column) with and without bones: image s keeps the factors whose bits are set in s as drawn, the
        others are changed.
    places
        (k, row, column) of bool: pixels of what the classifier takes that change visibly with each factor.
    """

    factors: tuple[str, ...]
    present: tuple[bool, ...]
    plain: Tensor
    soft: Tensor
    places: Tensor


def rendered(run: StudyRun, config: TuberculosisConfig, patient: str) -> Rendered:
    """Render a patient again for every mixture; kept as a piece of the run."""
    state = state_of(run, config, patient)
    names = tuple(state)

    def make() -> dict[str, Tensor]:
        changes = []
        for kept in itertools.product((False, True), repeat=len(names)):
            held = dict(zip(reversed(names), kept, strict=True))
            changes.append({f: not state[f] for f in names if not held[f]})
        plain, soft = again(run, config, patient, changes)
        whole = len(changes) - 1
        seen = functional.adaptive_avg_pool2d(plain, config.data.size)
        size = torch.stack([(seen[whole] - seen[whole ^ (1 << k)])[0].abs() for k in range(len(names))])
        largest = size.amax((1, 2), keepdim=True)
        return {
            "plain": plain,
            "soft": soft,
            "places": ((size > VISIBLE * largest) & (largest > 0)).to(torch.uint8),
        }

    found = run.tensors(f"weigh/rendered-{patient}", make)
    return Rendered(names, tuple(state.values()), found["plain"], found["soft"], found["places"].bool())


@dataclass(frozen=True, eq=False)
class CaseTruth:
    """What one network's answer to one patient depends on.

    Parameters
    ----------
    shapley
        Share of each factor in f(as drawn) - f(all changed), in log-odds.
    change
        f with the factor minus f without it, the others as drawn.
    bones
        f of the radiograph minus f of the same without bones.
    places
        Core: where the factors show that the network uses.
    """

    shapley: dict[str, float]
    change: dict[str, float]
    bones: float
    places: Places


def _marked(core: Tensor, letter: Tensor, pixel_mm: float) -> Places:
    band = (box_mean(core[None, None].float(), 3)[0, 0] > 0) & ~core
    return Places(core, band, letter & ~core & ~band, (pixel_mm, pixel_mm))


def case_truth(
    function: Callable[[Tensor, Tensor], Tensor],
    network: Callable[[Tensor], Tensor],
    made: Rendered,
    size: int,
    pixel_mm: float,
) -> CaseTruth:
    """Model truth of one case.

    Parameters
    ----------
    function
        Radiographs and their bone-free truth, each (n, 1, row, column), to log-odds (n,): whatever the network sees.
    network
        The network alone, images that it takes to log-odds: asked with and without bones.
    made
        The patient, rendered again.
    size, pixel_mm
        Pixels along each side of what the network takes, and their size.
    """
    k = len(made.factors)
    whole = 2**k - 1
    with torch.no_grad():
        worth = function(made.plain, made.soft).double()
        ends = torch.cat([made.plain[whole:], made.soft[whole:]])
        bones = -torch.diff(network(functional.adaptive_avg_pool2d(ends, size)))
    shares = shapley(worth)
    sizes = shares.abs() / shares.abs().sum().clamp_min(1e-300)
    used = [n for n in range(k) if float(sizes[n]) >= USED] or [int(sizes.argmax())]
    core = made.places[used].any(0)
    signs = [1.0 if there else -1.0 for there in made.present]
    change = {f: signs[n] * float(worth[whole] - worth[whole ^ (1 << n)]) for n, f in enumerate(made.factors)}
    letter = made.places[made.factors.index(LETTER)]
    return CaseTruth(
        dict(zip(made.factors, shares.tolist(), strict=True)), change, float(bones), _marked(core, letter, pixel_mm)
    )


def data_places(findings: Tensor, made: Rendered, pixel_mm: float) -> Places:
    """Data truth: the findings, (row, column) of 0 and 1, which are all that the label depends on."""
    return _marked(findings > 0.5, made.places[made.factors.index(LETTER)], pixel_mm)
