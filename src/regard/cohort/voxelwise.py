"""An effect in every voxel, from the maps of all cases, block by block.

The largest |t| over all voxels needs the same orders of the cases in every block: they are drawn from one seed, and the
largest of each order is the largest over the blocks. TFCE needs whole maps, and is nilearn's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import nibabel
import numpy as np

from regard.cohort.design import Contrast
from regard.cohort.permutation import freedman_lane
from regard.cohort.store import blocks
from regard.core.errors import InputError
from regard.core.optional import need

__all__ = ["VoxelwiseTest", "largest_t", "tfce"]

N_ORDERS = 499
"""Orders of the cases: each costs one regression of every voxel."""


@dataclass(frozen=True, eq=False)
class VoxelwiseTest:
    """t and p of every voxel.

    Parameters
    ----------
    t
        Student's t of the effect, (i, j, k); NaN where a case did not see the voxel, or nothing differs.
    p
        Two-sided, corrected for all voxels, (i, j, k).
    """

    t: np.ndarray
    p: np.ndarray


def largest_t(
    array: Any,
    rows: Sequence[int],
    contrast: Contrast,
    patients: Sequence[str],
    *,
    seed: int = 0,
    n_orders: int = N_ORDERS,
) -> VoxelwiseTest:
    """Test an effect in every voxel by Freedman and Lane, with p of the largest |t| over all voxels.

    Parameters
    ----------
    array
        (case, i, j, k), as `regard.cohort.store.open_maps` gives it.
    rows
        Row of each case of the contrast's list.
    contrast
        The effect.
    patients
        Of each case of that list; repeated scans are exchanged as blocks.
    seed, n_orders
        Of the orders.
    """
    chosen = [rows[k] for k in contrast.rows]
    owners = [patients[k] for k in contrast.rows]
    t = np.full(array.shape[1:], np.nan)
    largest: np.ndarray | None = None
    for place, values in blocks(array, chosen):
        columns = values.reshape(len(chosen), -1).astype(np.float64)
        use = np.isfinite(columns).all(0) & (np.ptp(np.nan_to_num(columns), axis=0) > 0)
        if not use.any():
            continue
        found = freedman_lane(
            columns[:, use], contrast.effect, contrast.nuisance, blocks=owners, seed=seed, n_draws=n_orders
        )
        block = np.full(columns.shape[1], np.nan)
        block[use] = found.t
        t[place] = block.reshape(values.shape[1:])
        largest = found.largest if largest is None else np.maximum(largest, found.largest)
    if largest is None:
        return VoxelwiseTest(t, t.copy())
    ordered = np.sort(largest)
    as_large = len(ordered) - np.searchsorted(ordered, np.abs(np.nan_to_num(t)) * (1 - 1e-6))
    return VoxelwiseTest(t, np.where(np.isnan(t), np.nan, as_large / len(ordered)))


def tfce(
    array: Any,
    affine: np.ndarray,
    rows: Sequence[int],
    contrast: Contrast,
    patients: Sequence[str],
    *,
    seed: int = 0,
    n_orders: int = N_ORDERS,
) -> VoxelwiseTest:
    """Test an effect in every voxel with threshold-free cluster enhancement, by nilearn's ``permuted_ols``.

    Parameters as `largest_t`; all maps are in memory at once. Smith and Nichols, NeuroImage 2009.

    Raises
    ------
    InputError
        If a patient has several scans: nilearn exchanges cases freely, and p would be too small.
    MissingDependencyError
        If nilearn is not installed.
    """
    owners = [patients[k] for k in contrast.rows]
    if len(set(owners)) < len(owners):
        got = f"{len(owners)} scans of {len(set(owners))} patients"
        raise InputError(
            f"TFCE with {got}", "one scan of each patient", "use --voxelwise max-t (without tfce in Python)"
        )
    mass = need("nilearn.mass_univariate", extra="studies", purpose="TFCE")
    maskers = need("nilearn.maskers", extra="studies", purpose="TFCE")
    chosen = [rows[k] for k in contrast.rows]
    values = np.asarray(array[:])[chosen]
    use = np.isfinite(values).all(0) & (np.ptp(np.nan_to_num(values), axis=0) > 0)
    masker = maskers.NiftiMasker(nibabel.Nifti1Image(use.astype(np.uint8), affine), standardize=None).fit()
    columns = masker.transform(nibabel.Nifti1Image(np.moveaxis(np.nan_to_num(values), 0, 3), affine))
    found = mass.permuted_ols(
        contrast.effect[:, None],
        columns,
        contrast.nuisance if contrast.nuisance.shape[1] else None,
        n_perm=n_orders,
        two_sided_test=True,
        random_state=seed,
        masker=masker,
        tfce=True,
        output_type="dict",
    )

    def whole(flat: np.ndarray) -> np.ndarray:
        image = np.asarray(masker.inverse_transform(flat).dataobj, dtype=np.float64)
        return np.where(use, image, np.nan)

    return VoxelwiseTest(whole(found["t"][0]), whole(10.0 ** -found["logp_max_tfce"][0]))
