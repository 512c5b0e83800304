"""A map as what other packages work with."""

from typing import Any

import nibabel
import numpy as np

from regard.core.explanation import Explanation
from regard.core.optional import need

__all__ = ["as_metatensor", "as_nibabel", "as_xarray"]


def _facts(explanation: Explanation) -> dict[str, Any]:
    return {
        "case": explanation.case,
        "method": explanation.name,
        "quantity": str(explanation.quantity),
        "sign": str(explanation.sign),
        "unit": explanation.unit,
        "target": explanation.target,
        "prediction": explanation.prediction,
    }


def as_nibabel(explanation: Explanation) -> nibabel.Nifti1Image:
    """The map (i, j, k), float32, on the scan's grid; NaN where the network saw nothing."""
    image = nibabel.Nifti1Image(explanation.numpy().astype(np.float32), explanation.scan.affine)
    if explanation.scan.has_geometry:
        image.header.set_xyzt_units("mm")
    image.header["descrip"] = f"regard {explanation.quantity}".encode()[:79]
    return image


def as_xarray(explanation: Explanation) -> Any:
    """The map as an `xarray.DataArray` of axes i, j, k, in voxels, with its facts and affine as attributes.

    Raises
    ------
    MissingDependencyError
        If xarray is not installed.
    """
    xarray = need("xarray", extra="xarray", purpose="to_xarray()")
    values = explanation.numpy()
    return xarray.DataArray(
        values,
        dims=("i", "j", "k"),
        coords={axis: np.arange(n) for axis, n in zip("ijk", values.shape, strict=True)},
        name=explanation.name,
        attrs={**_facts(explanation), "affine": explanation.scan.affine.tolist()},
    )


def as_metatensor(explanation: Explanation) -> Any:
    """The map as a MONAI MetaTensor (1, i, j, k), with the scan's affine and the map's facts."""
    from monai.data import MetaTensor

    return MetaTensor(
        explanation.relevance.tensor.detach().cpu().float(), affine=explanation.scan.affine, meta=_facts(explanation)
    )
