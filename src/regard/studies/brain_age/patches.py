"""The patch-based predecessor: a small network for each place, whose error there is a coarse map.

Bintsi et al., MLCN 2020 (arXiv 2008.12965). What a patch tells is not what a network of the whole brain uses: the
map says where age *can* be read, with nothing else in view.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from regard.core.devices import answers
from regard.core.volume import Volume
from regard.io.maps import save_volume
from regard.models.zoo.sfcn import SFCN
from regard.phantoms.brain.predictors import LinearPredictor
from regard.studies.brain_age.cohort import Cohort, prepared
from regard.studies.brain_age.correction import Predicted, accuracy
from regard.studies.brain_age.material import Material
from regard.studies.scoring.bootstrap import Score
from regard.studies.trained import seed_of
from regard.training.measure import fit

__all__ = ["PATCH_MAP", "Patches", "patch_scores", "train_patches"]

PATCH_MAP = "patch_error.nii.gz"
"""Mean absolute error of the patches about each voxel, in the folder ``population``."""

_LEAST = 0.35
"""Share of a patch that must be brain."""


@dataclass(frozen=True, eq=False)
class Patches:
    """What the network of each patch says.

    Parameters
    ----------
    corners
        First voxel of each patch, (patch, 3).
    calibrate, test
        Ages [year] that it reads, (patch, case).
    """

    corners: Tensor
    calibrate: Tensor
    test: Tensor


def corners_of(mean: Tensor, size: int, step: int) -> Tensor:
    """First voxels of the patches that hold enough brain, (patch, 3).

    Parameters
    ----------
    mean
        Mean image of the training subjects, (i, j, k).
    size, step
        Of a patch, and between two [voxels].
    """
    brain = mean > 0.3 * mean.max()
    starts = [range((n - size) % step // 2, n - size + 1, step) for n in mean.shape]
    found = []
    for i in starts[0]:
        for j in starts[1]:
            for k in starts[2]:
                if float(brain[i : i + size, j : j + size, k : k + size].float().mean()) >= _LEAST:
                    found.append((i, j, k))
    return torch.tensor(found, dtype=torch.int64).reshape(-1, 3)


def train_patches(material: Material) -> Patches | None:
    """Train a network for each patch, or read what they said; None where the size has no patches."""
    plan, run = material.config.train.patches, material.run
    size = plan.size
    if not size:
        return None
    parts = {"learn": material.learn, "calibrate": material.calibrate, "test": material.test}
    corners = corners_of(material.learn.images[:, 0].mean(0), size, plan.step)
    images = {name: prepared(part.images) for name, part in parts.items()}
    said = []
    for n, corner in enumerate(corners.tolist()):
        run.stage(f"patch {n + 1} of {len(corners)}", n, len(corners))

        def make(n: int = n, corner: list[int] = corner) -> dict[str, Tensor]:
            box = (slice(None), slice(None), *(slice(c, c + size) for c in corner))
            network = _trained(material, images["learn"][box].contiguous(), parts["learn"], n)
            return {
                name: answers(network, images[name][box], batch=len(images[name]), read=lambda y: y[:, 0]).double()
                for name in ("calibrate", "test")
            }

        said.append(run.tensors(f"train/patch-{n:04d}", make))
    return Patches(corners, *(torch.stack([s[name] for s in said]) for name in ("calibrate", "test")))


def _trained(material: Material, patches: Tensor, learn: Cohort, n: int) -> nn.Module:
    plan, seed = material.config.train.patches, seed_of(material.run, f"patch {n}")
    mean, deviation = float(learn.ages.mean()), float(learn.ages.std()) or 1.0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        widths = (plan.width, 2 * plan.width, 2 * plan.width)
        network = SFCN(3, int(patches.shape[1]), 1, widths, 0.0)
    fit(
        network, patches, (learn.ages - mean) / deviation, n_epochs=plan.n_epochs,
        batch_size=material.config.train.batch_size, seed=seed,
    )  # fmt: skip
    last = network.classifier[-1]
    with torch.no_grad():
        last.weight.mul_(deviation)  # type: ignore[operator, union-attr]
        last.bias.mul_(deviation).add_(mean)  # type: ignore[operator, union-attr]
    return network.eval()


def patch_scores(material: Material) -> dict[str, dict[str, Score]]:
    """Errors of the best patch, of their average and of a regression on them; writes the map of errors."""
    found = train_patches(material)
    if found is None or not len(found.corners):
        return {}
    test, patients = material.test, list(material.test.patients)
    error = (found.test - test.ages.double()).abs().mean(1)
    _save(material, found, error)
    own = (found.calibrate - material.calibrate.ages.double()).abs().mean(1)
    regression = LinearPredictor.fit(found.calibrate.T, material.calibrate.ages, penalty=len(material.calibrate))
    readings = {
        "best": found.test[int(own.argmin())],
        "average": found.test.mean(0),
        "regression": regression(found.test.T),
    }
    return {
        f"patches_{name}": accuracy(Predicted(values.numpy()), test.y, patients) for name, values in readings.items()
    }


def _save(material: Material, found: Patches, error: Tensor) -> None:
    size, shape = material.config.train.patches.size, material.test.grid.shape
    total, count = torch.zeros(shape, dtype=torch.float64), torch.zeros(shape, dtype=torch.float64)
    for (i, j, k), value in zip(found.corners.tolist(), error, strict=True):
        box = (slice(i, i + size), slice(j, j + size), slice(k, k + size))
        total[box] += value
        count[box] += 1
    mean = np.where(count > 0, total / count.clamp(min=1), np.nan).astype(np.float32)
    volume = Volume(torch.from_numpy(mean)[None], material.test.affine, "year")
    save_volume(volume, material.run.path / "population" / PATCH_MAP, "error of each patch")
