"""Whether the maps are true: against what the network's region depends on when the chest is rendered again."""

from collections.abc import Callable

import torch
from torch import Tensor

from regard.core.image_target import Mean
from regard.evidence.measure import Places
from regard.phantoms.truth import USED, VISIBLE, shapley
from regard.studies.bone_suppression.explain import explained, region_of, specs_of, square_of, target_of
from regard.studies.bone_suppression.material import Material
from regard.studies.bone_suppression.networks import whole_batch
from regard.studies.bone_suppression.phantoms import again
from regard.studies.run import Scores
from regard.studies.weighing import Known, MapRequest, Weighing, map_scores, plan_of, weigh_cohort

__all__ = ["FACTORS", "places_of", "weigh_maps"]

FACTORS = ("finding", "bone", "marker")
"""What is changed in a chest that is rendered again."""


def places_of(
    material: Material, patient: str, goal: Callable[[Tensor], Tensor], square: tuple[slice, slice]
) -> Places:
    """Where the factors show that a region of the output depends on.

    Parameters
    ----------
    material
        The study.
    patient
        A phantom.
    goal
        Radiographs (n, 1, row, column) to the region's mean (n,).
    square
        Rows and columns that are looked at.
    """
    run, config = material.run, material.config
    subsets = range(2 ** len(FACTORS))
    changes = [{f: float(s >> k & 1) for k, f in enumerate(FACTORS)} for s in subsets]
    images, _ = again(run, config, patient, changes)
    with torch.no_grad():
        shares = shapley(goal(images).double()).abs()
    used = (shares / shares.sum().clamp_min(1e-300)) >= USED
    whole = len(subsets) - 1
    shown = []
    for k in range(len(FACTORS)):
        change = (images[whole] - images[whole - 2**k])[0].abs()
        change = change[square]
        shown.append(change > VISIBLE * change.max().clamp_min(1e-6))
    core = torch.stack([s for k, s in enumerate(shown) if bool(used[k]) or k == int(shares.argmax())]).any(0)
    decoy = shown[FACTORS.index("marker")] & ~core
    return Places(core, None, decoy if bool(decoy.any()) else None, None)


def weigh_maps(material: Material) -> Scores:
    """Weigh the maps of the best network on the square around each region, and write the evidence."""
    cohort = explained(material, material.config.weigh.n_cases)
    network = material.network(material.best)

    def requests(n: int) -> list[MapRequest]:
        whole = region_of(material, cohort, n).float()
        row, column = square_of(material, whole)
        x, region = cohort.images[n : n + 1, :, row, column], whole[row, column]
        return [MapRequest(spec, network, x, target_of(spec, region)) for spec in specs_of(material)]

    def known(n: int) -> Known:
        whole = region_of(material, cohort, n).float()
        row, column = square = square_of(material, whole)
        mean = Mean(whole[row, column], name="region")

        def goal(images: Tensor) -> Tensor:
            return mean(whole_batch(network, images[..., row, column]))

        values = goal(material.test.images)
        spread = float(values.std()) if len(values) > 1 else 0.0
        rendered = material.phantoms and cohort.kinds[n]
        return Known(
            {s.label: spread for s in specs_of(material) if s.name != "lam"},
            places_of(material, cohort.patients[n], goal, square) if rendered else None,
        )

    weighing = Weighing(cohort.cases, cohort.patients, "region", requests, known)
    truth = material.phantoms and any(cohort.kinds)
    plan = plan_of(material.run, weighing, truth=truth, n_null=material.config.weigh.n_null)
    return map_scores(weigh_cohort(material.run, weighing, plan))
