"""Models and images as people have them: a path, an array, a nibabel image, a MetaTensor, a bare network."""

import logging
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from regard.core.errors import InputError, RegardError, ShapeError
from regard.core.recording import Network, intact, unwrap
from regard.core.rows import rows_of
from regard.core.stored import Stored
from regard.core.volume import Volume
from regard.io.reading import read
from regard.models.card import InputSpec, ModelCard, OutputSpec
from regard.models.load import load_model
from regard.models.model import Model

__all__ = ["ModelLike", "ScanLike", "as_model", "as_reference", "as_region", "as_volume", "is_array", "n_axes_of"]

ScanLike: TypeAlias = Any
"""A `Volume`, a path, a nibabel image, a MetaTensor, or a tensor or array (\\*space), (channel, \\*space) or
(1, channel, \\*space)."""

ModelLike: TypeAlias = "Model | Network | str | Path"
"""A `Model`, the folder or name of one, or a bare network."""

logger = logging.getLogger(__name__)

_ROWS_DOWN = np.array([[0.0, -1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
"""Affine of a picture whose axes are (row, column), in pixels."""

_EXPECTED = (
    "a regard.Volume, a path, a nibabel image, a MetaTensor, or a tensor or array (*space), (channel, *space) or "
    "(1, channel, *space)"
)


def n_axes_of(model: Any) -> int | None:
    """Spatial axes that a model or network takes; None where neither a card nor a convolution tells."""
    if isinstance(model, Model):
        return model.card.inputs[0].n_axes
    plain = unwrap(model)
    for module in plain.modules() if isinstance(plain, nn.Module) else ():
        for n, kinds in enumerate((_CONV_1D, _CONV_2D, _CONV_3D), start=1):
            if isinstance(module, kinds):
                return n
    return None


_CONV_1D = (nn.Conv1d, nn.ConvTranspose1d)
_CONV_2D = (nn.Conv2d, nn.ConvTranspose2d)
_CONV_3D = (nn.Conv3d, nn.ConvTranspose3d)


def as_volume(scan: ScanLike, *, affine: Any = None, n_axes: int | None = None) -> Volume:
    """One image as a `Volume`.

    Parameters
    ----------
    scan
        See `ScanLike`. A flat array is (row, column).
    affine
        Matrix (4, 4), voxel index to RAS mm, of an array; without one its "mm" are voxels.
    n_axes
        Spatial axes of the network, by which the axes of an array are told apart.

    Raises
    ------
    InputError
        If it is none of these, or an affine is given beside an image that has its own.
    ShapeError
        If the axes of an array cannot be told.
    """
    if isinstance(scan, (np.ndarray, Tensor)) and not hasattr(scan, "affine"):
        return _of_array(torch.as_tensor(np.ascontiguousarray(scan) if isinstance(scan, np.ndarray) else scan.detach()),
                         affine, n_axes, type(scan).__name__)  # fmt: skip
    if affine is not None:
        raise InputError(f"affine= beside a {type(scan).__name__}, which has its own", "one place", "leave affine= out")
    if isinstance(scan, Volume):
        return scan
    if isinstance(scan, (str, Path)):
        return read(scan)
    if isinstance(scan, Tensor):  # a MetaTensor
        return _of_array(scan.as_subclass(Tensor).detach(), getattr(scan, "affine"), n_axes, "MetaTensor")  # noqa: B009
    if hasattr(scan, "get_fdata") and hasattr(scan, "affine"):
        return _of_nibabel(scan)
    raise InputError(f"a scan of type {type(scan).__name__}", _EXPECTED, "convert it, or give its path")


def is_array(value: Any) -> bool:
    """Whether something is an array or tensor with places, not a number."""
    return isinstance(value, (np.ndarray, Tensor)) and value.ndim > 1


def as_region(region: ScanLike, scan: Volume) -> Volume:
    """A mask or region as a `Volume`: an array without an affine lies on the scan's own grid.

    Raises
    ------
    ShapeError
        If an array has other places than the scan.
    """
    if not is_array(region) or hasattr(region, "affine"):
        return as_volume(region)
    tensor = torch.as_tensor(region).detach().cpu().float()
    if tensor.numel() != int(np.prod(scan.shape)) or [n for n in tensor.shape if n > 1] != [
        n for n in scan.shape if n > 1
    ]:
        raise ShapeError(
            f"a region of shape {tuple(tensor.shape)}", f"the scan's places, {scan.shape}", "or give a regard.Volume"
        )
    return Volume(tensor.reshape(1, *scan.shape), scan.affine, "label", has_geometry=scan.has_geometry)


def as_reference(reference: ScanLike, scan: Volume, n_axes: int | None = None) -> Volume:
    """An image to compare with as a `Volume`: an array without an affine lies on the scan's own grid.

    Raises
    ------
    ShapeError
        If an array has other places than the scan.
    """
    if not is_array(reference) or hasattr(reference, "affine"):
        return as_volume(reference)
    placed = as_volume(reference, n_axes=n_axes)
    if placed.shape != scan.shape:
        raise ShapeError(
            f"a reference of shape {tuple(reference.shape)}",
            f"the scan's places, {scan.shape}",
            "or give a regard.Volume, which has its own",
        )
    return scan.with_tensor(placed.tensor)


def _of_nibabel(image: Any) -> Volume:
    values = torch.from_numpy(np.asarray(image.get_fdata(dtype=np.float32)))
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim != 3:
        raise ShapeError(
            f"a nibabel image of {tuple(image.shape)}", "three axes", "choose one volume: image.slicer[..., 0]"
        )
    return Volume(values[None], np.asarray(image.affine, dtype=float), source=str(image.get_filename() or "nibabel"))


def _of_array(tensor: Tensor, affine: Any, n_axes: int | None, kind: str) -> Volume:
    shape = tuple(tensor.shape)
    if n_axes is None:
        n_axes = tensor.ndim if tensor.ndim <= 3 else tensor.ndim - 1 if tensor.ndim == 4 else 3
    extra = tensor.ndim - n_axes
    if n_axes == 1 and affine is None and extra in (0, 1, 2) and (extra < 2 or shape[0] == 1):
        # Nothing says how long a sample is: its "seconds" are samples.
        return Volume.of_signal(tensor.reshape(-1, shape[-1]).cpu(), 1.0, source=kind)
    if n_axes not in (2, 3) or extra not in (0, 1, 2) or (extra == 2 and shape[0] != 1):
        expected = {
            1: "(sample,), (lead, sample) or (1, lead, sample)",
            2: "(row, column), (channel, row, column) or (1, channel, row, column)",
        }.get(n_axes, "(i, j, k), (channel, i, j, k) or (1, channel, i, j, k)")
        advice = "give one case at a time" if extra == 2 else "give a regard.Volume, which names its axes"
        raise ShapeError(f"a {kind} of shape {shape} for a network of {n_axes} axes", expected, advice)
    tensor = tensor.reshape(*([1] if extra == 0 else []), *shape[1 if extra == 2 else 0 :])
    flat = n_axes == 2
    tensor = tensor[..., None] if flat else tensor
    if affine is None:
        placed = _ROWS_DOWN if flat else np.eye(4)
        return Volume(tensor.float().cpu(), placed, source=kind, has_geometry=False)
    matrix = np.asarray(affine.detach().cpu() if isinstance(affine, Tensor) else affine, dtype=float)
    if matrix.shape == (3, 3) and flat:
        matrix = np.block(
            [[matrix[:2, :2], np.zeros((2, 1)), matrix[:2, 2:]], [0, 0, 1, 0], [0, 0, 0, 1]]
        )  # an affine of the plane
    if matrix.shape != (4, 4):
        raise ShapeError(f"an affine of shape {matrix.shape}", "(4, 4): voxel index to RAS mm")
    return Volume(tensor.float().cpu(), matrix, source=kind, stored=Stored())


def as_model(model: ModelLike, scan: Volume | None = None, *, trust: bool = False) -> Model:
    """A model with a card; of a bare network the card is inferred, and a warning says what was taken for granted.

    Parameters
    ----------
    model
        A `Model`; the folder, file or name of one, which is loaded; or a bare network.
    scan
        What it will see, whose channels and size the card of a bare network takes over.
    trust
        Whether code that comes with a loaded model may run.

    Raises
    ------
    InputError
        If it is none of these, or the network does not run on the scan.
    """
    if isinstance(model, Model):
        return model
    if isinstance(model, (str, Path)):
        return load_model(model, trust=trust)
    if not callable(model):
        raise InputError(
            f"a model of type {type(model).__name__}",
            "a regard.Model, its folder or name, or a torch.nn.Module",
            "load it with regard.load_model, or give the network",
        )
    if scan is None:
        raise InputError("several scans for a network without a card", "a card that names them", "make a regard.Model")
    return _inferred(model, scan)


def _inferred(network: Network, scan: Volume) -> Model:
    n_axes = n_axes_of(network) or (1 if scan.signal is not None else 2 if 1 in scan.shape else 3)
    if n_axes == 2 and 1 not in scan.shape:
        raise InputError(
            f"a volume of {scan.shape} for {type(unwrap(network)).__name__}, whose convolutions take two axes",
            "one slice",
            "cut one: volume.slice(2, 40)",
        )
    orientation = _as_looked_at(scan) if n_axes == 2 and scan.signal is None else None
    spec = (
        InputSpec(leads=scan.signal.leads, unit=scan.unit)
        if scan.signal is not None
        else InputSpec(channels=scan.n_channels, orientation=orientation, unit=scan.unit)
    )
    plain = unwrap(network)
    name = type(plain).__name__ if isinstance(plain, nn.Module) else getattr(plain, "__name__", type(plain).__name__)
    card = ModelCard(name=name, inputs=(spec,), output=OutputSpec(kind="regression"))
    kind = _kind(network, Model(network, card), scan)
    seen = f"rows and columns along {orientation}" if orientation else "axes as they are stored"
    said = (
        f"{name} has no card: it is shown {scan.n_channels} channel(s) as they are ({seen}, {scan.unit}, not scaled), "
        f"and its output is taken for {'an' if kind == 'image' else 'a'} {kind}; "
        "a regard.Model with a ModelCard says otherwise"
    )
    logger.warning("%s", said)
    card = card.model_copy(update={"output": OutputSpec(kind=kind)})  # type: ignore[arg-type]
    return Model(network, card, warnings=(said,))


def _as_looked_at(scan: Volume) -> str:
    """Rows down and columns to the patient's left or back, of a flat scan."""
    flat = scan.shape.index(1)
    through = {"R": 0, "L": 0, "A": 1, "P": 1, "S": 2, "I": 2}[scan.grid.orientation[flat]]
    return ("IP", "IL", "PL")[through]


def _kind(network: Network, model: Model, scan: Volume) -> str:
    from regard.models.case import prepare_case

    x = prepare_case(model, {model.card.inputs[0].name: scan}).inputs.tensors[0]
    try:
        with intact(network) as plain, torch.no_grad():
            output = rows_of(plain(x), 1)
    except RegardError:
        raise
    except Exception as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise InputError(
            f"a network that fails on this scan, as an input of {tuple(x.shape)} ({first})",
            "a scan as the network takes it",
            "or make a regard.Model whose card says shape, orientation and spacing",
        ) from error
    if output.ndim > 2:
        return "image" if output.shape[1] == 1 else "segmentation"
    return "regression" if output.numel() == 1 else "classification"
