"""Classical outlines of the vertebra, and how well each way outlines it."""

import numpy as np
from scipy import ndimage
from skimage import segmentation

from regard.studies.bmd.cohort import Cohort
from regard.studies.bmd.material import Material
from regard.studies.scoring.bootstrap import Score, mean_score
from regard.studies.scoring.segmentation import dice, hausdorff_95

__all__ = ["CLASSICAL", "outline_scores"]

_BONE = 150.0
"""Bone is brighter [HU]."""


def _central(mask: np.ndarray) -> np.ndarray:
    """The part of a mask whose middle is nearest to the picture's, weighted by its size."""
    labels, n = ndimage.label(mask)
    if n == 0:
        return mask
    middle = (np.array(mask.shape) - 1) / 2
    index = range(1, n + 1)
    away = np.linalg.norm(np.array(ndimage.center_of_mass(mask, labels, index)) - middle, axis=1)
    sizes = ndimage.sum(mask, labels, index)
    found: np.ndarray = labels == 1 + int(np.argmax(sizes / (1 + away**2)))
    return found


def threshold(image: np.ndarray) -> np.ndarray:
    """Everything brighter than bone's lower bound, closed, the central part."""
    return _central(ndimage.binary_closing(image > _BONE))


def region_growing(image: np.ndarray) -> np.ndarray:
    """Grown from the brightest central place of the smoothed image, within a tolerance of it."""
    smooth = ndimage.gaussian_filter(image.clip(-500, 1300), 1.0)
    rows, columns = image.shape
    part = smooth[rows // 3 : 2 * rows // 3, columns // 3 : 2 * columns // 3]
    row, column = np.unravel_index(int(part.argmax()), part.shape)
    seed = (row + rows // 3, column + columns // 3)
    tolerance = max(float(smooth[seed]) - _BONE, 50.0)
    grown: np.ndarray = segmentation.flood(smooth, seed, tolerance=tolerance)
    return grown


def active_contour(image: np.ndarray) -> np.ndarray:
    """A morphological active contour without edges from a central disc (Chan and Vese; Marquez-Neila et al. 2014)."""
    rows, columns = np.indices(image.shape)
    middle = (np.array(image.shape) - 1) / 2
    disc = (rows - middle[0]) ** 2 + (columns - middle[1]) ** 2 < (min(image.shape) / 6) ** 2
    found: np.ndarray = segmentation.morphological_chan_vese(
        image.clip(-200, 600), num_iter=40, init_level_set=disc.astype(np.int8), smoothing=1
    ).astype(bool)
    inside = image[found].mean() if found.any() else 0.0
    outside = image[~found].mean() if (~found).any() else 0.0
    return _central(found if inside >= outside else ~found)


CLASSICAL = {"threshold": threshold, "region_growing": region_growing, "active_contour": active_contour}
"""Ways to outline all of L1 without training, by name; masks of an image (row, column) in HU."""


def outline_scores(material: Material) -> dict[str, dict[str, Score]]:
    """Dice and 95 % Hausdorff distance of every way against the phantoms' own outlines.

    A slice where nothing was outlined has an infinite distance and is left out of its mean; its Dice of 0 counts.
    """
    test: Cohort = material.test
    n = min(len(test), material.config.score.n_outlined)
    step = max(1, len(test) // n)
    rows = list(range(0, len(test), step))[:n]
    some = test.of(rows)
    patients = list(some.patients)
    shares = material.probabilities(test)[rows].numpy() >= 0.5
    wanted = {"body": some.body.numpy() > 0.5, "vertebra": some.vertebra.numpy() > 0.5}
    found = {("unet", "body"): shares[:, 0], ("unet", "vertebra"): shares[:, 1]}
    for name, outline in CLASSICAL.items():
        found[name, "vertebra"] = np.stack([outline(image[0]) for image in some.images.numpy()])
    scores: dict[str, dict[str, Score]] = {}
    for (name, part), masks in found.items():
        pairs = list(zip(masks, wanted[part], strict=True))
        group = scores.setdefault(f"segmentation_{name}", {})
        group[f"dice_{part}"] = mean_score([dice(a, b) for a, b in pairs], patients, "1", within=(0, 1))
        group[f"hd95_{part}"] = mean_score([hausdorff_95(a, b, some.spacing) for a, b in pairs], patients, "mm")
    return scores
