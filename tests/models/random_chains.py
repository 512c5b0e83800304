"""Random chains of the transforms that are accepted, with random arguments, and random images to run them on."""

from pathlib import Path
from typing import Any

import nibabel
import numpy as np

Draw = np.random.Generator


def image_file(draw: Draw, path: Path, n_channels: int = 1) -> Path:
    """A NIfTI image of blobs on zeros, with an anisotropic affine that is permuted, flipped, at times oblique."""
    shape = tuple(int(n) for n in draw.integers(8, 15, 3))
    places = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1).astype(float)
    values = np.zeros((*shape, n_channels))
    for channel in range(n_channels):
        for _ in range(4):
            centre, width = draw.uniform(2, np.array(shape) - 2), draw.uniform(1.5, 3)
            blob = np.exp(-((places - centre) ** 2).sum(-1) / (2 * width**2))
            values[..., channel] += draw.uniform(-400, 900) * (blob > 0.2) * blob
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[draw.permutation(3)] * draw.choice([-1, 1], 3)
    if draw.random() < 0.4:
        turn, _ = np.linalg.qr(np.eye(3) + 0.15 * draw.normal(size=(3, 3)))
        affine[:3, :3] = turn @ affine[:3, :3]
    affine[:3, :3] *= draw.uniform(0.7, 2.5, 3)
    affine[:3, 3] = draw.uniform(-80, 80, 3)
    image = nibabel.Nifti1Image((values if n_channels > 1 else values[..., 0]).astype(np.float32), affine)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)
    return path


def _size(draw: Draw, low: int = 5, high: int = 18) -> list[int]:
    return [int(n) for n in draw.integers(low, high, 3)]


def _floats(draw: Draw, low: float, high: float) -> list[float]:
    return [round(float(v), 3) for v in draw.uniform(low, high, 3)]


def spatial(draw: Draw, name: str) -> dict[str, Any]:
    """A step that moves voxels."""
    if name == "Orientationd":
        letters = [str(draw.choice(list(pair))) for pair in ("RL", "AP", "SI")]
        given: dict[str, Any] = {"axcodes": "".join(letters[i] for i in draw.permutation(3))}
        if draw.random() < 0.3:
            given["labels"] = [["L", "R"], ["P", "A"], ["I", "S"]]
    elif name == "Spacingd":
        pixdim: Any = _floats(draw, 0.8, 2.5)
        if draw.random() < 0.3:
            pixdim[int(draw.integers(3))] = -1
        elif draw.random() < 0.3:
            pixdim = pixdim[0]
        given = {"pixdim": pixdim, "mode": str(draw.choice(["bilinear", "nearest"]))}
        if draw.random() < 0.5:
            given["padding_mode"] = str(draw.choice(["border", "zeros", "reflection"]))
        if draw.random() < 0.3:
            given["align_corners"] = True
    elif name == "Resized":
        given = {"spatial_size": _size(draw)}
        mode = str(draw.choice(["area", "nearest", "trilinear", "nearest-exact", "longest"]))
        if mode == "longest":
            given = {"spatial_size": int(draw.integers(6, 18)), "size_mode": "longest"}
        elif mode != "area":
            given["mode"] = mode
            given |= {"align_corners": True} if mode == "trilinear" and draw.random() < 0.5 else {}
            given |= {"anti_aliasing": True} if mode == "trilinear" and draw.random() < 0.3 else {}
    elif name in ("ResizeWithPadOrCropd", "SpatialPadd"):
        given = {"spatial_size": _size(draw, 6, 20)}
        if draw.random() < 0.5:
            given |= {"mode": "constant", "value": float(draw.integers(-3, 4))}
        elif draw.random() < 0.5:
            given |= {"mode": "edge"}
        if name == "SpatialPadd" and draw.random() < 0.4:
            given["method"] = "end"
    elif name == "CenterSpatialCropd":
        size = _size(draw, 5, 12)
        size[int(draw.integers(3))] = -1
        given = {"roi_size": size}
    elif name == "SpatialCropd":
        start = [int(n) for n in draw.integers(0, 3, 3)]
        given = {"roi_start": start, "roi_end": [n + 5 for n in start]}
    elif name == "DivisiblePadd":
        given = {"k": int(draw.choice([4, 6, 8]))}
    elif name == "BorderPadd":
        given = {"spatial_border": [int(n) for n in draw.integers(0, 4, 3)]}
    elif name == "CropForegroundd":
        given = {"source_key": "image", "margin": int(draw.integers(0, 3)), "allow_smaller": bool(draw.random() < 0.5)}
        given |= {"k_divisible": 4} if draw.random() < 0.3 else {}
    elif name == "Flipd":
        given = {"spatial_axis": int(draw.integers(3))}
    elif name == "Rotate90d":
        given = {"k": int(draw.integers(1, 4)), "spatial_axes": [0, 2]}
    elif name == "CenterScaleCropd":
        given = {"roi_scale": round(float(draw.uniform(0.6, 0.9)), 2)}
    else:
        given = {
            "zoom": round(float(draw.uniform(0.8, 1.3)), 2),
            "mode": "trilinear",
            "keep_size": bool(draw.random() < 0.5),
        }
    return {"_target_": name, "keys": "image", **given}


def intensity(draw: Draw, name: str, n_channels: int = 1) -> dict[str, Any]:
    """A step that changes each voxel by itself."""
    given: dict[str, Any] = {}
    if name == "NormalizeIntensityd":
        given = {"nonzero": bool(draw.random() < 0.5), "channel_wise": bool(draw.random() < 0.5)}
        if draw.random() < 0.25:
            given = {"subtrahend": 30.0, "divisor": 120.0, **({"nonzero": True} if draw.random() < 0.5 else {})}
        elif draw.random() < 0.2:
            given = {"divisor": 80.0}
        elif draw.random() < 0.2:
            given = {"subtrahend": 12.5}
    elif name == "ScaleIntensityRanged":
        given = {"a_min": -200, "a_max": 500, "b_min": float(draw.integers(-1, 1)), "b_max": 1.0}
        given["clip"] = bool(draw.random() < 0.5)
    elif name == "ScaleIntensityd":
        kinds = ({}, {"minv": -1.0, "maxv": 1.0}, {"minv": None, "maxv": None, "factor": 0.3}, {"channel_wise": True})
        given = dict(kinds[int(draw.integers(4))])
    elif name == "ScaleIntensityRangePercentilesd":
        given = {"lower": 2, "upper": 97, "b_min": 0.0, "b_max": 1.0, "clip": bool(draw.random() < 0.5)}
        given |= {"channel_wise": True} if draw.random() < 0.5 else {}
        given |= {"relative": True} if draw.random() < 0.2 else {}
    elif name == "ThresholdIntensityd":
        given = {"threshold": -50.0, "above": True, "cval": -50.0}
    elif name == "ClipIntensityPercentilesd":
        given = {"lower": 1, "upper": 99}
    else:
        given = {"offset": 3.5}
    return {"_target_": name, "keys": "image", **given}


SPATIAL = ("Orientationd", "Spacingd", "Resized", "ResizeWithPadOrCropd", "SpatialPadd", "CenterSpatialCropd",
           "SpatialCropd", "DivisiblePadd", "BorderPadd", "CropForegroundd", "Flipd", "Rotate90d", "CenterScaleCropd",
           "Zoomd")  # fmt: skip
INTENSITY = ("NormalizeIntensityd", "ScaleIntensityRanged", "ScaleIntensityd", "ScaleIntensityRangePercentilesd",
             "ThresholdIntensityd", "ClipIntensityPercentilesd", "ShiftIntensityd")  # fmt: skip


def random_chain(draw: Draw, *, labelled: bool = False) -> list[dict[str, Any]]:
    """Loading, two to five steps of both kinds in any order, and at times steps for a label."""
    names = [*draw.choice(SPATIAL, int(draw.integers(1, 4)), replace=False)]
    names += [*draw.choice(INTENSITY, int(draw.integers(1, 3)), replace=False)]
    keys = ["image", "label"] if labelled else "image"
    chain: list[dict[str, Any]] = [
        {"_target_": "LoadImaged", "keys": keys, "image_only": bool(draw.random() < 0.5)},
        {"_target_": "EnsureChannelFirstd", "keys": keys},
    ]
    if draw.random() < 0.3:
        chain.insert(1, {"_target_": "EnsureTyped", "keys": keys, "device": "$torch.device('cpu')"})
    for name in (str(names[i]) for i in draw.permutation(len(names))):
        step = spatial(draw, name) if name in SPATIAL else intensity(draw, name)
        if labelled and name == "Spacingd":
            step |= {"keys": ["label", "image"], "mode": ["nearest", step["mode"]]}
        chain.append(step)
    if labelled:
        chain.append({"_target_": "ScaleIntensityd", "keys": "label"})
    ending = [{"_target_": "EnsureTyped", "keys": "image"}, {"_target_": "CastToTyped", "keys": "image",
              "dtype": "$torch.float32"}, {"_target_": "ToTensord", "keys": "image"}]  # fmt: skip
    return [*chain, ending[int(draw.integers(3))]]
