"""What a network's reading of a phantom depends on: the subject rendered again with one structure's age moved."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from regard.core.devices import answers
from regard.core.rows import target_values
from regard.evidence.measure import Places
from regard.phantoms.brain import BrainPhantom
from regard.phantoms.truth import FactoredSubject, TruePlaces, data_truth, model_truth
from regard.studies.brain_age.cohort import prepared
from regard.studies.brain_age.material import Material
from regard.studies.brain_age.networks import age_target
from regard.studies.brain_age.phantoms import phantom_of

__all__ = ["CaseTruth", "Remembering", "case_truth"]


@dataclass(frozen=True, eq=False)
class _Shown:
    image: Tensor
    structure: Tensor


@dataclass(eq=False)
class Remembering:
    """A brain phantom that renders each subject once for each setting of its factors.

    Parameters
    ----------
    phantom
        What renders.
    """

    phantom: BrainPhantom
    _seen: dict[tuple[object, ...], _Shown] = field(default_factory=dict)

    @property
    def factors(self) -> tuple[str, ...]:
        """As the phantom's."""
        return self.phantom.factors

    @property
    def causes(self) -> tuple[str, ...]:
        """As the phantom's."""
        return self.phantom.causes

    @property
    def decoys(self) -> tuple[str, ...]:
        """As the phantom's."""
        return self.phantom.decoys

    def draw(self, number: int, *, seed: int = 0) -> dict[str, float]:
        """As the phantom's."""
        return self.phantom.draw(number, seed=seed)

    def subject(self, number: int, *, seed: int = 0, factors: Mapping[str, float] | None = None) -> FactoredSubject:
        """As the phantom's; ventricles and hippocampi are looked up of the unchanged subject only."""
        key = (number, seed, *sorted((factors or {}).items()))
        if key not in self._seen:
            brain = self.phantom.subject(number, seed=seed, factors=factors)
            # Its anatomy takes longer than its image, and is asked of the subject as it is.
            whole = not factors
            self._seen[key] = _Shown(brain.image, brain.structure if whole else torch.zeros(brain.image.shape[1:]))
        return self._seen[key]


@dataclass(frozen=True, eq=False)
class CaseTruth:
    """The truths about one subject.

    Parameters
    ----------
    shapley
        Share of each structure in f(subject) - f(every structure at the far end of its age) [year], by network.
    change
        f with the structure at its oldest minus f with it at its youngest [year], by network.
    weights
        What a map of the first network should show, (i, j, k), sum 1.
    model, data
        Places that the first network's reading depends on, and places that change with age.
    """

    shapley: dict[str, dict[str, float]]
    change: dict[str, dict[str, float]]
    weights: Tensor
    model: Places
    data: Places


def _places(found: TruePlaces, inside: Tensor) -> dict[str, Tensor]:
    core = found.core & inside
    allowed = (found.allowed | ~inside) & ~core
    return {"core": core, "allowed": allowed, "decoy": found.decoy & inside & ~core & ~allowed}


def _reader(material: Material, kind: str, member: int) -> Callable[[Tensor], Tensor]:
    model = material.network(kind, member)
    target = age_target(model)

    def read(images: Tensor) -> Tensor:
        return answers(model, images, change=prepared, read=lambda y: target_values(target, y, len(y)))

    return read


def case_truth(material: Material, n: int, inside: Tensor) -> CaseTruth:
    """Truths about an explained subject, worked out or read from the run's pieces.

    Parameters
    ----------
    material
        The study, of phantoms.
    n
        Which of the explained subjects.
    inside
        The brain mask, (i, j, k) of bool.
    """
    run, cohort = material.run, material.explained
    number, spacing = cohort.numbers[n], tuple(float(s) for s in cohort.grid.spacing)
    kinds = [(f"{kind}-member{member}", kind, member) for kind, member in material.kinds]
    names = phantom_of(material.config).factors

    def make() -> dict[str, Tensor]:
        phantom = Remembering(phantom_of(material.config))
        with torch.no_grad():
            truths = [model_truth(_reader(material, kind, m), phantom, number, seed=run.seed) for _, kind, m in kinds]
            data = data_truth(phantom, number, seed=run.seed)
        tensors = {"weights": truths[0].weights}
        for word, places in (("model", truths[0].places), ("data", data)):
            for part, values in _places(places, inside).items():
                tensors[f"{word} {part}"] = values.to(torch.uint8)
        tensors["shapley"] = torch.tensor([[t.shapley[f] for f in names] for t in truths], dtype=torch.float64)
        tensors["change"] = torch.tensor([[t.change[f] for f in names] for t in truths], dtype=torch.float64)
        return tensors

    found = run.tensors(f"weigh/truth-{cohort.cases[n]}", make)

    def rows(name: str) -> dict[str, dict[str, float]]:
        return {
            label: dict(zip(names, row, strict=True))
            for (label, _, _), row in zip(kinds, found[name].tolist(), strict=True)
        }

    def places(word: str) -> Places:
        core, allowed, decoy = (found[f"{word} {part}"].bool() for part in ("core", "allowed", "decoy"))
        return Places(core, allowed, decoy, spacing)

    return CaseTruth(rows("shapley"), rows("change"), found["weights"], places("model"), places("data"))
