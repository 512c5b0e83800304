"""Where nothing is planted nothing must be found: a network of subjects who do not age, and its maps."""

import numpy as np
import torch

from regard.cohort.atlas import read_atlas
from regard.cohort.null import masked_surrogate
from regard.cohort.permutation import sign_flipping
from regard.cohort.regions import RegionFigures, region_figures
from regard.core.volume import Grid
from regard.evidence.statistics import exact_interval
from regard.explainers.spec import parse_methods
from regard.studies.brain_age.cohort import prepared
from regard.studies.brain_age.explain import ATLAS
from regard.studies.brain_age.material import Material, read_as_the_mean
from regard.studies.brain_age.networks import age_target
from regard.studies.scoring.bootstrap import Score

__all__ = ["METHOD", "nothing_scores"]

METHOD = "integrated-gradients:n_steps=8"
"""What the maps of the network that knows nothing are made with."""

_ALPHA = 0.05


def nothing_scores(material: Material) -> dict[str, dict[str, Score]]:
    """How many regions the maps of a network prefer that was trained on subjects in whom nothing ages.

    ``preferred`` counts regions above their null map with p < 0.05 over all regions; whether they *lead* depends on
    what the network knows, and that is the group ``nothing`` of the scores.
    """
    found = material.nothing()
    if found is None:
        return {}
    learn, test, model = found
    folder = material.run.path / "cases"
    regions = read_atlas(folder / ATLAS, Grid(test.grid.shape, test.affine), table=folder / "atlas.tsv")
    spec = parse_methods([METHOD])[0]
    inside = torch.from_numpy(regions.labels > 0)

    def make() -> dict[str, torch.Tensor]:
        maps, middle = [], read_as_the_mean(model, learn)
        other = prepared(learn.images[middle : middle + 1])
        for n, case in enumerate(test.cases):
            explainer = spec.build(model.network)
            image = prepared(test.images[n : n + 1])
            values = explainer.attribute(image, age_target(model), reference=other, seed=material.run.seed, case=case)
            maps.append(torch.where(inside, values[0].sum(0), torch.nan))
        return {"maps": torch.stack(maps)}

    maps = material.run.tensors("weigh/nothing", make)["maps"].numpy()
    place, n_regions = regions.place, len(regions.names)

    def densities(values: list[np.ndarray]) -> np.ndarray:
        rows = [region_figures(v, place, n_regions).plain() for v in values]
        return RegionFigures.stacked(rows).density[:, :n_regions]

    own = densities(list(maps))
    null = densities(
        [masked_surrogate(m, seed=material.run.seed, case=c) for m, c in zip(maps, test.cases, strict=True)]
    )
    tested = sign_flipping(own - null, seed=material.run.seed)
    preferred = int(((tested.p < _ALPHA) & (tested.t > 0)).sum())
    low, high = exact_interval(preferred, n_regions)
    n = len(test)
    share = Score(preferred / n_regions, low, high, 0.95, n, n, "1")
    return {"nothing": {"preferred": share}}
