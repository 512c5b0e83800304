"""Whether the maps are true: against what the network's region depends on when the chest is rendered again."""

from torch import Tensor

from regard.core.image_target import Mean
from regard.studies.bone_suppression.explain import explained, region_of, specs_of, square_of, target_of
from regard.studies.bone_suppression.material import Material
from regard.studies.bone_suppression.networks import whole_batch
from regard.studies.bone_suppression.phantoms import again
from regard.studies.rerendering import mixtures, places_that_matter
from regard.studies.run import Scores
from regard.studies.weighing import Known, MapRequest, Weighing, weigh_maps

__all__ = ["FACTORS", "weigh_regions"]

FACTORS = ("finding", "bone", "marker")
"""What is changed in a chest that is rendered again."""


def weigh_regions(material: Material) -> Scores:
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
        row, column = square_of(material, whole)
        mean = Mean(whole[row, column], name="region")

        def goal(images: Tensor) -> Tensor:
            return mean(whole_batch(network, images[..., row, column]))

        values = goal(material.test.images)
        spread = float(values.std()) if len(values) > 1 else 0.0
        places = None
        if material.phantoms and cohort.kinds[n]:
            images, _ = again(material.run, material.config, cohort.patients[n], mixtures(FACTORS))
            places = places_that_matter(images[..., row, column], goal(images), decoys=[FACTORS.index("marker")])
        return Known({s.label: spread for s in specs_of(material) if s.name != "lam"}, places)

    weighing = Weighing(cohort.cases, cohort.patients, "region", requests, known)
    truth = material.phantoms and any(cohort.kinds)
    return weigh_maps(material.run, weighing, truth=truth, n_null=material.config.weigh.n_null)
