"""The map or the network? What each network uses voxel by voxel, beside what its maps show.

A phantom can be rendered a few years younger and a few years older with all else the same. Integrated along the way
from the one to the other, the network's derivative gives what each voxel adds to the change of the reading [year], and
nothing else is in it: no map of the network can be truer. Where this does not agree with what was planted, no faithful
map will.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from regard.cohort.atlas import Atlas
from regard.cohort.regions import region_figures
from regard.core.devices import answers
from regard.core.rows import target_values
from regard.evidence import controls
from regard.explainers.gradient.integrated_gradients import IntegratedGradients
from regard.models import Model
from regard.phantoms.brain.effects import STEP
from regard.phantoms.brain.phantom import share_of_ages
from regard.studies.brain_age.cohort import prepared
from regard.studies.brain_age.config import NETWORKS
from regard.studies.brain_age.material import Material, read_as_the_mean
from regard.studies.brain_age.networks import age_target, predicted
from regard.studies.brain_age.pattern import pattern_scores
from regard.studies.brain_age.phantoms import phantom_of
from regard.studies.brain_age.regions import known, over_regions, rank_correlation
from regard.studies.run import Scores
from regard.studies.scoring.bootstrap import Score, mean_score, scored
from regard.studies.scoring.studentised import Measured

__all__ = ["AGE", "DRAWN", "uses_rows", "uses_scores"]

AGE, DRAWN = "true age", "drawn weights"
"""What is read in place of a network, in the patterns: the best there is, and by a network that has learnt nothing."""

_N_STEPS = 16


@dataclass(frozen=True, eq=False)
class _Densities:
    """Density of maps in the regions, (case, region), and how far the reading changed on the way [year], (case,)."""

    regions: np.ndarray
    change: np.ndarray


def _pair(material: Material, n: int) -> tuple[Tensor, Tensor]:
    """An explained subject `STEP` years younger and as much older, each (1, channel, i, j, k)."""
    number, phantom = material.explained.numbers[n], phantom_of(material.config)

    def make() -> dict[str, Tensor]:
        own = phantom.drawn(number, seed=material.run.seed).structure_ages
        images = []
        for step in (-STEP, STEP):
            factors = {s: share_of_ages(own[s] + step) for s in phantom.causes}
            images.append(phantom.subject(number, seed=material.run.seed, factors=factors).image)
        return {"images": torch.stack(images)}

    found = prepared(material.run.tensors(f"weigh/pair-{material.explained.cases[n]}", make)["images"])
    return found[:1], found[1:]


def _mapped(model: Model, images: list[Tensor], references: list[Tensor], atlas: Atlas) -> _Densities:
    explainer, target = IntegratedGradients(model.network, n_steps=_N_STEPS), age_target(model)
    density, change = [], []
    for image, reference in zip(images, references, strict=True):
        values = explainer.attribute(image, target, reference=reference)[0].sum(0).double().numpy()
        inside = np.where(atlas.place > 0, values, np.nan)
        density.append(region_figures(inside, atlas.place, len(atlas.names)).density[:-1])
        ages = answers(model, torch.cat([reference, image]), read=lambda y: target_values(target, y, 2))
        change.append(float(ages[1] - ages[0]))
    return _Densities(np.array(density), np.array(change))


def _densities(material: Material, kind: str, member: int, n: int, atlas: Atlas) -> tuple[_Densities, _Densities]:
    """Of what a network uses, and of its maps of the same subjects."""

    def make() -> dict[str, Tensor]:
        model = material.network(kind, member)
        pairs = [_pair(material, k) for k in range(n)]
        used = _mapped(model, [old for _, old in pairs], [young for young, _ in pairs], atlas)
        middle = read_as_the_mean(model, material.learn)
        other = prepared(material.learn.images[middle : middle + 1])
        maps = _mapped(model, list(prepared(material.explained.images[:n]).split(1)), [other] * n, atlas)
        tensors = {"used": used.regions, "used change": used.change, "map": maps.regions, "map change": maps.change}
        return {name: torch.from_numpy(values) for name, values in tensors.items()}

    found = {k: v.numpy() for k, v in material.run.tensors(f"weigh/uses-{kind}-member{member}", make).items()}
    return _Densities(found["used"], found["used change"]), _Densities(found["map"], found["map change"])


def _read_by_drawn_weights(material: Material) -> np.ndarray:
    first = material.model
    network = controls.randomised(first.network, seed=material.run.seed, case="pattern", draw=0)
    return predicted(Model(network, first.card), material.test.images)


def _group(name: str) -> str:
    return f"uses_{name.replace(' ', '_')}"


def uses_scores(material: Material, atlas: Atlas, effects: dict[str, float]) -> dict[str, dict[str, Score]]:
    """Scores by group ``uses_<network>``; `AGE` and `DRAWN` are there with their patterns alone.

    ``used_planted``: Spearman over regions of what the network uses with what was planted; ``map_planted`` and
    ``map_used``: of its maps by integrated gradients with both; ``pattern_planted``: of its pattern over the test
    subjects; ``change``: by how many years its reading rises when all structures age by twelve.
    """
    n = min(material.config.weigh.n_uses, len(material.explained))
    if not n:
        return {}
    kept, truth = known(list(atlas.names.values()), effects)
    patients = list(material.explained.patients[:n])

    def mean(w: np.ndarray, density: np.ndarray) -> np.ndarray:
        found: np.ndarray = w @ density[:, kept] / w.sum(1, keepdims=True)
        return found

    def with_planted(maps: _Densities) -> Measured:
        return over_regions(lambda w: rank_correlation(mean(w, maps.regions), truth))

    readings = {f"{k}-member{m}": material.predictions(material.test, k, m) for k, m in material.kinds}
    readings |= {AGE: material.test.y, DRAWN: _read_by_drawn_weights(material)}
    patterns = pattern_scores(material, atlas, effects, readings)
    scores = {_group(name): {"pattern_planted": patterns[name]} for name in (AGE, DRAWN)}
    for kind, member in material.kinds:
        material.run.stage(f"what {kind}, member {member + 1}, uses", 0, 1)
        used, maps = _densities(material, kind, member, n, atlas)

        def of_used(w: np.ndarray, a: np.ndarray = maps.regions, b: np.ndarray = used.regions) -> np.ndarray:
            return rank_correlation(mean(w, a), mean(w, b))

        scores[_group(f"{kind}-member{member}")] = {
            "change": mean_score(list(used.change), patients, "year"),
            "used_planted": scored(with_planted(used), patients),
            "map_planted": scored(with_planted(maps), patients),
            "map_used": scored(over_regions(of_used), patients),
            "pattern_planted": patterns[f"{kind}-member{member}"],
        }
    return scores


def uses_rows(scores: Scores) -> list[dict[str, str]]:
    """Of the report: every network by what it uses, what its maps show, and its pattern."""
    named = {_group(AGE): "the true age, in place of a reading", _group(DRAWN): "a network with drawn weights"}
    rows = []
    for group, values in scores.items():
        if not group.startswith("uses_"):
            continue
        kind, _, member = group.removeprefix("uses_").partition("-member")
        name = f"{NETWORKS[kind]}, training {int(member) + 1}" if kind in NETWORKS else named[group]
        row = {"": name}
        for key, shown in (
            ("used_planted", "what it uses, with what was planted"),
            ("map_planted", "its maps, with what was planted"),
            ("map_used", "its maps, with what it uses"),
            ("pattern_planted", "its pattern, with what was planted"),
        ):
            row[shown] = str(values[key]) if key in values else "-"
        rows.append(row)
    return rows
