"""Running a bundle's chain on a case, and what must be remembered to bring a map home.

MONAI runs every step. Remembered are the affine that it leaves on the tensor, the box of a crop to the foreground, the
steps that moved voxels, and the line (scale and shift per channel) along which intensities were changed.
"""

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from regard.core.errors import GeometryError, InputError
from regard.core.volume import Volume
from regard.models.bundle_chain import BundleChain, Step
from regard.models.intensities import line_between

__all__ = ["Passage", "as_loaded", "run_chain"]

logger = logging.getLogger(__name__)

Move = Callable[[Any], Any]
_MOST_VOXELS = 2**31


@dataclass
class Passage:
    """One image on its way to the network.

    Parameters
    ----------
    tensor
        (channel, \\*space), as the network takes it.
    affine
        Matrix (4, 4): index on ``shape`` to world, in the frame in which the image was handed over.
    shape
        Voxels along the three axes of that grid.
    scale, shift
        (channel, 1, 1, 1), float64: ``x = scale * intensity + shift``; NaN where a step is no line.
    moves
        Each step that moved voxels, on a tensor (channel, \\*space) with an affine.
    no_adjoint
        Names of steps that autograd cannot pass.
    bent
        Names of steps that are no line.
    boxes
        Box of each crop to the foreground, by number of the step.
    apart_mm
        How far, at most, it lies from the image whose place the tensor has that it was joined to [mm].
    """

    tensor: Tensor
    affine: np.ndarray
    shape: tuple[int, int, int]
    scale: Tensor
    shift: Tensor
    moves: list[Move] = field(default_factory=list)
    no_adjoint: list[str] = field(default_factory=list)
    bent: list[str] = field(default_factory=list)
    boxes: dict[int, Any] = field(default_factory=dict)
    apart_mm: float = 0.0


@dataclass
class _Image:
    """A named image within the run: which sources its channels come from, and where it lies."""

    origins: list[tuple[str, int]]
    affine: np.ndarray
    shape: tuple[int, int, int]
    scale: Tensor
    shift: Tensor


def as_loaded(volume: Volume, chain: BundleChain, tensor: Tensor | None = None) -> tuple[Any, tuple[int, int, int]]:
    """The tensor that MONAI's ``LoadImage`` gives for the file, with its affine.

    Axes are the file's, (i, j, k) or of a picture (column, row); channels are last. A network of two axes gets one
    slice without its third axis. A picture lies at the identity.

    Parameters
    ----------
    volume
        The image.
    chain
        Says where the channels go.
    tensor
        Other intensities (channel, i, j, k) in its place, which may carry a gradient.

    Returns
    -------
    image
        A ``MetaTensor``.
    order
        Axis of the volume behind each axis that was handed over; those that were left out are last.

    Raises
    ------
    GeometryError
        If the image has more axes than the network.
    """
    from monai.data import MetaTensor
    from monai.transforms import EnsureChannelFirst

    n_axes = chain.n_axes
    thin = [a for a in (2, 1, 0) if volume.shape[a] == 1][: 3 - n_axes]
    order = (*(a for a in range(3) if a not in thin), *sorted(thin))
    if len(thin) < 3 - n_axes:
        raise GeometryError(
            f"a volume of {' x '.join(map(str, volume.shape))} voxels for a network of {n_axes} axes",
            "one voxel along the others",
            "cut a slice: --slice, or Volume.slice in Python",
        )
    if n_axes == 3 and not volume.has_geometry:
        raise GeometryError("a picture for a network of three axes", "a volume", "give a NIfTI or DICOM file")
    x = volume.tensor.clone() if tensor is None else tensor
    x = x.permute(0, *[1 + a for a in order])
    x = x.reshape(x.shape[: 1 + n_axes])
    last = chain.channel_first == "step" and chain.channel_dim not in (None, "no_channel")
    several = len(x) > 1 or last
    if chain.channel_dim == "no_channel" and len(x) > 1:
        raise InputError(f"an image of {len(x)} channels", "one channel, as the bundle says", "choose one of them")
    if chain.channel_first == "neither":
        if len(x) == 1:
            raise InputError(
                "an image of one channel, in whose bundle no step puts channels first",
                "an image of several channels",
                "give the bundle EnsureChannelFirstd",
            )
    elif not several:
        x = x[0]
    elif last and isinstance(chain.channel_dim, int):
        x = x.movedim(0, chain.channel_dim)
    else:
        x = x.movedim(0, -1)
    affine = _handed_affine(volume, order)
    kind = chain.dtype if isinstance(chain.dtype, torch.dtype) else None
    if chain.dtype is not None and kind is None:
        from monai.utils import get_equivalent_dtype

        kind = get_equivalent_dtype(chain.dtype, torch.Tensor)
    meta = {
        "affine": torch.as_tensor(affine),
        "original_affine": affine.copy(),
        "spatial_shape": np.array([volume.shape[a] for a in order[:n_axes]]),
        "original_channel_dim": -1 if several else float("nan"),
        "space": "RAS",
    }
    image = MetaTensor(x.to(kind or torch.float32) if tensor is None else x, meta=meta)
    if chain.channel_first == "loader":
        image = EnsureChannelFirst()(image, meta_dict=image.meta)
    return image, order  # type: ignore[return-value]


def _handed_affine(volume: Volume, order: tuple[int, ...]) -> np.ndarray:
    if not volume.has_geometry:
        return np.eye(4)
    affine = np.array(volume.affine)
    affine[:, :3] = affine[:, list(order)]
    return affine


def run_chain(
    chain: BundleChain,
    volumes: Mapping[str, Volume],
    *,
    boxes: Mapping[int, Any] | None = None,
    tensors: Mapping[str, Tensor] | None = None,
) -> dict[str, Passage]:
    """Run the chain on the images of a case.

    Parameters
    ----------
    chain
        The steps.
    volumes
        Each image by its name.
    boxes
        Boxes of crops to the foreground of an earlier run, kept for this one.
    tensors
        Intensities (channel, i, j, k) in place of the volumes' own, which may carry a gradient.

    Returns
    -------
    dict
        `Passage` of each image by its name; of images that were put together, its own channels.

    Raises
    ------
    InputError
        If a step does not take the image; it is named.
    """
    run = _Run(chain, volumes, boxes, tensors)
    for number, step in enumerate(chain.steps):
        run.take(number, step)
    return run.passages()


class _Run:
    def __init__(
        self,
        chain: BundleChain,
        volumes: Mapping[str, Volume],
        boxes: Mapping[int, Any] | None,
        tensors: Mapping[str, Tensor] | None,
    ) -> None:
        self.chain, self.kept = chain, boxes
        self.carries = tensors is not None
        self.data: dict[str, Any] = {}
        self.images: dict[str, _Image] = {}
        self.result: dict[str, Passage] = {}
        self.frames: dict[str, np.ndarray] = {}
        for name in chain.sources:
            given = None if tensors is None else tensors.get(name)
            image, order = as_loaded(volumes[name], chain, given)
            shape = tuple(volumes[name].shape[a] for a in order)
            one = torch.ones(volumes[name].n_channels, 1, 1, 1, dtype=torch.float64)
            affine = np.array(image.affine, dtype=np.float64)
            self.data[name] = image
            self.images[name] = _Image([(name, len(one))], affine, shape, one, torch.zeros_like(one))  # type: ignore[arg-type]
            self.result[name] = Passage(image, affine, shape, one, one)  # type: ignore[arg-type]
            self.frames[name] = np.eye(4)

    def take(self, number: int, step: Step) -> None:
        """Run one step and remember what it did."""
        names = [k for k in step.keys if k in self.data]
        before = {k: self.data[k] for k in names}
        if step.kind == "intensity" and not self.carries:
            before = {k: v.as_tensor().clone() for k, v in before.items()}
        self._affordable(step, names)
        try:
            if step.name == "CropForeground" and step.kind == "space":
                self._crop(number, step, names)
            else:
                self.data = dict(step.transform(self.data))
        except InputError:
            raise
        except Exception as error:
            shapes = " and ".join(str(tuple(v.shape)) for v in before.values())
            got = f"the bundle's step {step.name} on an image of {shapes}, which raised {type(error).__name__}"
            raise InputError(f"{got}: {str(error)[:160]}", "an image that the bundle was made for") from error
        if step.kind == "join":
            self._join(step)
            return
        for name in names:
            self._follow(number, step, name, before[name])

    def _crop(self, number: int, step: Step, names: list[str]) -> None:
        transform = step.transform
        if self.kept is not None and number in self.kept:
            start, end = self.kept[number]
        else:
            start, end = transform.cropper.compute_bounding_box(img=self.data[step.source])
        modes = dict(transform.key_iterator(self.data, transform.mode))
        for name in names:

            def crop(image: Any, mode: Any = modes[name]) -> Any:
                return transform.cropper.crop_pad(img=image, box_start=start, box_end=end, mode=mode)

            self.data[name] = crop(self.data[name])
            for source, _ in self.images[name].origins:
                self.result[source].moves.append(crop)
                self.result[source].boxes[number] = (start, end)

    def _follow(self, number: int, step: Step, name: str, before: Any) -> None:
        image, data = self.images[name], self.data[name]
        if 0 in data.shape:
            raise InputError(f"an image of which {step.name} leaves {tuple(data.shape)}", "voxels that are left")
        sources = [s for s, _ in image.origins]
        if step.kind in ("space", "foreign"):
            image.affine, image.shape = _place(data, image)
        if step.kind == "space" and step.name != "CropForeground":

            def move(moving: Any) -> Any:
                return step.transform({name: moving})[name]

            for source in sources:
                self.result[source].moves.append(move)
                if _by_splines(step.transform):
                    self.result[source].no_adjoint.append(step.name)
        if step.kind == "foreign":
            for source in sources:
                self.result[source].no_adjoint.append(step.name)
                self.result[source].bent.append(step.name)
            image.scale, image.shift = image.scale * torch.nan, image.shift * torch.nan
        if step.name == "RepeatChannel":
            n = len(data) // len(image.scale)
            image.origins = [(s, c * n) for s, c in image.origins]
            image.scale, image.shift = (v.repeat(n, 1, 1, 1) for v in (image.scale, image.shift))
        if step.kind == "intensity" and not self.carries:
            scale, shift = line_between(before, data.as_tensor())
            if bool(scale.isnan().any()):
                for source in sources:
                    self.result[source].bent.append(step.name)
            image.scale, image.shift = scale * image.scale, scale * image.shift + shift

    def _join(self, step: Step) -> None:
        first = self.images[step.keys[0]]
        origins: list[tuple[str, int]] = []
        for key in step.keys:
            image = self.images[key]
            apart = _apart(image, first)
            for source, n in image.origins:
                self.result[source].apart_mm = max(self.result[source].apart_mm, apart)
                # The joined tensor has the place of its first image; each of the others keeps its own.
                self.frames[source] = self.frames[source] @ image.affine @ np.linalg.inv(first.affine)
                origins.append((source, n))
        scale, shift = (torch.cat([getattr(self.images[k], w) for k in step.keys]) for w in ("scale", "shift"))
        self.images[step.result] = _Image(origins, first.affine, first.shape, scale, shift)

    def passages(self) -> dict[str, Passage]:
        """What became of each image."""
        names = [self.chain.key] if self.chain.key is not None else list(self.chain.sources)
        for name in names:
            image, start = self.images[name], 0
            tensor = self.data[name].as_tensor()
            for source, n in image.origins:
                found = self.result[source]
                part = slice(start, start + n)
                found.tensor, found.scale, found.shift = tensor[part], image.scale[part], image.shift[part]
                found.affine, found.shape = self.frames[source] @ image.affine, image.shape
                start += n
        return self.result

    def _affordable(self, step: Step, names: list[str]) -> None:
        for name in names:
            n = _voxels_after(step, self.images[name])
            if n > _MOST_VOXELS:
                raise InputError(
                    f"the bundle's step {step.name}, which makes {n:.3g} voxels of this image",
                    f"at most {_MOST_VOXELS}",
                    "check the scan's spacing and the bundle's sizes",
                )


def _place(data: Any, before: _Image) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Affine (4, 4) that MONAI left on a tensor, and its size along three axes."""
    found = np.asarray(getattr(data, "affine", before.affine), dtype=np.float64)
    affine = found
    if found.shape != (4, 4):
        n = len(found) - 1
        affine = before.affine.copy()
        affine[:n, :n], affine[:n, 3] = found[:n, :n], found[:n, n]
    size = (*data.shape[1:], *[1] * (4 - data.ndim))
    return affine, size[:3]


def _apart(image: _Image, other: _Image) -> float:
    """Largest distance between the corners of two grids of one shape [mm]."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in image.shape], [1], indexing="ij")).reshape(4, -1)
    return float(np.abs((image.affine - other.affine) @ corners).max())


def _by_splines(transform: Any) -> bool:
    """Whether a step interpolates by splines of SciPy, which autograd cannot pass."""
    modes = getattr(transform, "mode", ())
    return any(
        isinstance(m, int) and not isinstance(m, bool) for m in (modes if isinstance(modes, tuple) else (modes,))
    )


def _voxels_after(step: Step, image: _Image) -> float:
    """At most so many voxels a step makes, from its sizes."""
    spacing = np.linalg.norm(image.affine[:3, :3], axis=0)
    n = float(math.prod(image.shape))
    for key in ("spatial_size", "k", "pixdim", "spatial_border", "zoom"):
        value = step.arguments.get(key)
        numbers = [float(v) for v in (value if isinstance(value, list) else [value]) if isinstance(v, (int, float))]
        each = list(zip(numbers * 3 if len(numbers) == 1 else numbers, image.shape, spacing, strict=False))
        if not each:
            continue
        if key in ("spatial_size", "k"):
            made = math.prod(max(v, size) for v, size, _ in each)
        elif key == "pixdim":
            made = math.prod(size * (now / v if v > 0 else 1.0) for v, size, now in each)
        elif key == "spatial_border":
            made = math.prod(size + 2 * max(map(abs, numbers)) for _, size, _ in each)
        else:
            made = math.prod(size * abs(v) for v, size, _ in each)
        n = max(n, made)
    return n
