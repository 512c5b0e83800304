"""Cohorts of brains without anything planted: how often a region is said to lead."""

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.ndimage import gaussian_filter

from regard.cohort.null import masked_surrogate
from regard.cohort.region_table import MapFacts, group_rows
from regard.cohort.regions import RegionFigures, region_figures
from regard.phantoms.brain import REGIONS
from regard.phantoms.brain.render import lattice_of
from regard.studies.brain_age.explain import label_regions
from regard.studies.brain_age.regions import leaders


def n_with_a_leader(n_cohorts: int, *, n_maps: int = 16, planted: int | None = None, factor: float = 4.0) -> int:
    """Cohorts of unsigned smooth maps that some region leads; ``planted`` is ``factor`` times as dense."""
    lattice = lattice_of(8.0)
    labels = label_regions(lattice.affine, lattice.shape).numpy()
    present = [int(v) for v in np.unique(labels) if v]
    place = np.searchsorted(present, labels) + 1
    place[labels == 0] = 0
    facts = MapFacts("m", "a.u.", False, {v: REGIONS[v] for v in present}, "MNI152NLin2009aSym")

    def figures(maps: list[np.ndarray]) -> RegionFigures:
        return RegionFigures.stacked([region_figures(m, place, len(present)).plain() for m in maps])

    hits = 0
    for cohort in range(n_cohorts):
        rng = np.random.default_rng(cohort)
        maps = []
        for _ in range(n_maps):
            smooth = gaussian_filter(rng.normal(size=labels.shape), 1.2)
            values = np.exp(smooth / smooth.std())
            if planted is not None:
                values = values * np.where(labels == planted, factor, 1.0)
            maps.append(np.where(labels > 0, values, np.nan))
        null = [masked_surrogate(m, seed=cohort, case=str(n)) for n, m in enumerate(maps)]
        patients = [str(n) for n in range(n_maps)]
        rows = list(group_rows(facts, figures(maps), figures(null), patients, seed=cohort, n_draws=499))
        found = leaders(rows, "m", knows=True)
        hits += bool(found) if planted is None else REGIONS[planted] in found
    return hits


def test_regions_fill_the_brain() -> None:
    lattice = lattice_of(6.0)  # an even number of voxels: none lies across the middle
    labels = label_regions(lattice.affine, lattice.shape)
    names = {REGIONS[int(v)] for v in torch.unique(labels) if v}
    assert {"hippocampus, left", "lateral ventricle, right", "cerebellum, left"} <= names
    assert "skull and scalp" not in names
    left, right = (int((labels == REGIONS.index(f"frontal cortex, {s}")).sum()) for s in ("left", "right"))
    assert abs(left - right) <= 0.1 * left
    volume = float((labels > 0).sum()) * 0.216
    assert 1500 < volume < 2300  # ml


def test_what_is_planted_leads() -> None:
    assert n_with_a_leader(3, planted=REGIONS.index("deep grey matter, left")) == 3


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_at_most_one_cohort_in_twenty_has_a_leader_where_nothing_is_planted() -> None:
    hits = n_with_a_leader(100)
    low, high = stats.binomtest(hits, 100).proportion_ci()
    assert hits <= 5, f"{hits} of 100 ({low:.3f} to {high:.3f})"
