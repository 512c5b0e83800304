"""Activation patterns over the test subjects, and how they agree with what was planted.

See `regard.cohort.pattern`: a pattern can be compared with what ages, and does not say where a network looks.
"""

import numpy as np
import torch
from torch import Tensor

from regard.cohort.atlas import Atlas
from regard.cohort.pattern import AS_TAKEN, PATTERN, patterns, slope_and_t
from regard.core.volume import Volume
from regard.io.maps import save_volume
from regard.report.cohort_figures import draw_pattern
from regard.studies.brain_age.cohort import prepared
from regard.studies.brain_age.explain import SPACE
from regard.studies.brain_age.material import Material
from regard.studies.brain_age.regions import known, over_regions, rank_correlation
from regard.studies.scoring.bootstrap import Score, scored

__all__ = ["FEWEST", "pattern_scores", "write_pattern"]

FEWEST = 3
"""Subjects that a pattern is drawn from, at least."""

_ROWS = 100

_RESAMPLES = 299


def _regional(values: np.ndarray, place: np.ndarray, n: int) -> np.ndarray:
    """Mean size of each row of ``values`` (sample, voxel) in regions 1 to ``n``, (sample, region)."""
    member = (place[:, None] == np.arange(1, n + 1)).astype(values.dtype)
    found: np.ndarray = np.abs(values) @ member / np.maximum(member.sum(0), 1)
    return found


def pattern_scores(
    material: Material, atlas: Atlas, effects: dict[str, float], readings: dict[str, np.ndarray]
) -> dict[str, Score]:
    """Spearman's correlation over regions of patterns of the test subjects with what was planted.

    Parameters
    ----------
    material
        The study.
    atlas
        Regions.
    effects
        Planted density of each region, by its name.
    readings
        Ages [year] of the test subjects by what read them, each (case,).
    """
    names = list(atlas.names.values())
    kept, truth = known(names, effects)
    inside = atlas.place > 0
    images = prepared(material.test.images)[:, 0][:, torch.from_numpy(inside)].numpy()
    place = atlas.place[inside]

    def agreement(w: np.ndarray, ages: np.ndarray) -> np.ndarray:
        parts = [w[n : n + _ROWS] for n in range(0, len(w), _ROWS)]
        sizes = [_regional(patterns(images, ages, part), place, len(names)) for part in parts]
        return rank_correlation(np.concatenate(sizes)[:, kept], truth)

    patients = list(material.test.patients)
    # Each sample costs a product with all images: fewer are drawn. Resampling adds noise to a pattern and so lowers its
    # agreement; the studentised interval allows for it, and can lie above the value: it is shown as it is.
    return {
        name: scored(over_regions(lambda w, a=ages: agreement(w, a)), patients, n_resamples=_RESAMPLES)  # type: ignore[misc]
        for name, ages in readings.items()
    }


def write_pattern(material: Material, base: Volume, inside: Tensor) -> None:
    """Write the pattern of the explained network over the test subjects, and pictures of it.

    Parameters
    ----------
    material
        The study.
    base
        What it is drawn on.
    inside
        The brain mask, (i, j, k) of bool.
    """
    test, run = material.test, material.run
    if len(test) < FEWEST:
        return
    read = material.predictions(test, *material.kinds[0])
    images = prepared(test.images)[:, 0][:, inside].double().numpy()
    together = (read - read.mean()) @ images / len(test)
    slope, t = slope_and_t(together, images.var(0), read.var(), len(test))

    def volume(values: np.ndarray, unit: str) -> Volume:
        whole = torch.full(test.grid.shape, torch.nan)
        whole[inside] = torch.from_numpy(values).float()
        return Volume(whole[None], test.affine, unit)

    unit = f"{AS_TAKEN}/year"
    mean, against = volume(slope, unit), volume(t, "1")
    save_volume(mean, run.path / "population" / f"{PATTERN}_slope.nii.gz", "regard population pattern")
    save_volume(against, run.path / "population" / f"{PATTERN}_t.nii.gz", "regard population t")
    draw_pattern(mean, against, base, run.folder.figures / PATTERN, space=SPACE, n_cases=len(test))
