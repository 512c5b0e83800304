"""A case as a MONAI bundle prepares it: the bundle's own chain, run by MONAI, and the ways home."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from regard.core import recording
from regard.core.errors import GeometryError, InputError, ReferenceInputError, ShapeError
from regard.core.geometry import AxisResampling, resample
from regard.core.recording import Network
from regard.core.volume import Grid, Volume
from regard.models.bundle_chain import BundleChain
from regard.models.bundle_run import Passage, as_loaded, run_chain
from regard.models.card import InputSpec
from regard.models.intensities import check_unit
from regard.models.prepared import AbstractCasePreparation, AbstractPrepared

__all__ = ["BundlePreparation", "JoinedChannels", "PreparedByBundle"]

logger = logging.getLogger(__name__)

PREPARED = "prepared intensity"
"""Unit of intensities where they are no line of the scan's."""


class BundlePreparation(AbstractCasePreparation):
    """The preprocessing of a bundle.

    Parameters
    ----------
    chain
        Its steps.
    specs
        The card's inputs, one for each image that is read.
    channels
        Number of channels that the network takes, as the bundle's metadata say; None when they do not.
    """

    def __init__(self, chain: BundleChain, specs: Sequence[InputSpec], channels: int | None = None) -> None:
        self.chain, self.specs, self.channels = chain, tuple(specs), channels

    def prepare(self, scans: Mapping[str, Volume]) -> dict[str, AbstractPrepared]:
        """Run the chain on the scans of a case.

        Raises
        ------
        InputError
            If a step does not take a scan, or what comes out is not what the network takes.
        """
        scans = {spec.name: scans[spec.name] for spec in self.specs}
        for spec in self.specs:
            check_unit(scans[spec.name], spec)
        passages = run_chain(self.chain, scans)
        self._check(passages)
        return {spec.name: PreparedByBundle.of(self, spec, scans, passages[spec.name]) for spec in self.specs}

    def references(self, prepared: Sequence[AbstractPrepared], volumes: Sequence[Volume]) -> tuple[Tensor, ...]:
        """Another case's scans on the grids of ``prepared``, by their own constants, in the boxes of this case."""
        own = [p for p in prepared if isinstance(p, PreparedByBundle)]
        given = {}
        for spec, one, volume in zip(self.specs, own, volumes, strict=True):
            check_unit(volume, spec)
            given[spec.name] = one.placed(volume)
        boxes = {n: box for p in own for n, box in p.passage.boxes.items()}
        passages = run_chain(self.chain, given, boxes=boxes)
        return tuple(one.compared(passages[one.name].tensor) for one in own)

    def _check(self, passages: Mapping[str, Passage]) -> None:
        tensors = [p.tensor for p in passages.values()]
        n_axes = self.chain.n_axes
        for tensor in tensors:
            if tensor.ndim != 1 + n_axes:
                got = f"a tensor of shape {tuple(tensor.shape)} from the bundle's preprocessing"
                raise ShapeError(got, f"channels and {n_axes} axes, as its metadata say", "give such an image")
            if not bool(torch.isfinite(tensor).all()):
                raise InputError(
                    f"NaN or infinite values after the bundle's preprocessing ({self.chain.words})",
                    "finite intensities",
                    "check the image's contrast",
                )
        together = self.chain.key is not None or len(tensors) == 1
        n = sum(len(t) for t in tensors)
        if together and self.channels is not None and n != self.channels:
            raise ShapeError(
                f"an input of {n} channels from the bundle's preprocessing",
                f"{self.channels} channels, as its metadata say",
                "give an image with these channels",
            )


@dataclass(frozen=True, eq=False)
class PreparedByBundle(AbstractPrepared):
    """A scan as a bundle's network takes it, with all that brings a map home.

    Parameters
    ----------
    tensor, grid, scale, shift, unit, warnings
        See `AbstractPrepared`; the grid is that of the affine which MONAI leaves on the tensor.
    preparation
        The bundle's.
    name
        Name of this scan.
    scans
        All scans of the case.
    passage
        What became of this one.
    """

    tensor: Tensor
    grid: Grid
    scale: Tensor
    shift: Tensor
    unit: str
    warnings: tuple[str, ...]
    preparation: BundlePreparation
    name: str
    scans: Mapping[str, Volume]
    passage: Passage

    @classmethod
    def of(
        cls, preparation: BundlePreparation, spec: InputSpec, scans: Mapping[str, Volume], passage: Passage
    ) -> "PreparedByBundle":
        """Gather what a run of the chain gave for one scan."""
        scan = scans[spec.name]
        _, order = as_loaded(scan, preparation.chain)
        affine = passage.affine
        if not scan.has_geometry:
            affine = np.array(scan.affine) @ affine
        made = cls(
            tensor=passage.tensor[None].detach().float(),
            grid=Grid(passage.shape, affine),
            scale=torch.ones_like(passage.scale) if passage.bent else passage.scale,
            shift=torch.zeros_like(passage.shift) if passage.bent else passage.shift,
            unit=PREPARED if passage.bent else spec.unit if scan.unit == "intensity" else scan.unit,
            warnings=(),
            preparation=preparation,
            name=spec.name,
            scans=scans,
            passage=passage,
        )
        return replace(made, warnings=tuple(made._sentences()))

    @property
    def scan(self) -> Volume:
        """The scan itself."""
        return self.scans[self.name]

    @property
    def has_adjoint(self) -> bool:
        """Whether autograd passes all steps that move voxels."""
        return not self.passage.no_adjoint

    def home(self, tensor: Tensor) -> Tensor:
        """Carry ``tensor`` (..., i, j, k) on `grid` to the scan by interpolation; NaN where nothing was seen."""
        try:
            return AxisResampling(self.scan.grid, self.grid).home(tensor)
        except GeometryError:
            seen = _moved(torch.ones(1, *self.grid.shape), self.grid, self.scan.grid)[0]
            flat = tensor.reshape(-1, *tensor.shape[-3:])
            home = torch.where(seen > 0.5, _moved(flat, self.grid, self.scan.grid), torch.nan)
            return home.reshape(*tensor.shape[:-3], *self.scan.shape).to(tensor.device)

    def carried(self, tensor: Tensor) -> Tensor:
        """Carry ``tensor`` (channel, i, j, k) from the scan to `grid` by interpolation; 0 off the scan."""
        try:
            return AxisResampling(self.scan.grid, self.grid).apply(tensor)
        except GeometryError:
            return _moved(tensor, self.scan.grid, self.grid)

    def adjoint(self, tensor: Tensor) -> tuple[Tensor, Tensor]:
        """Carry ``tensor`` (channel, i, j, k) on `grid` to the scan by the vector-Jacobian product of MONAI's steps.

        Intensities are frozen: only the steps that move voxels count. Where one has no derivative the map is
        interpolated, by the ratio of the voxel sizes; `warnings` then say so.
        """
        total = tensor.double().sum((-3, -2, -1))
        if not self.has_adjoint:
            ratio = np.linalg.det(self.scan.affine[:3, :3]) / np.linalg.det(self.grid.affine[:3, :3])
            home = self.home(tensor.double()) * abs(float(ratio))
            return home, total - home.nansum((-3, -2, -1))
        scan = self.scan
        with torch.enable_grad():
            x = torch.zeros(len(tensor), *scan.shape, dtype=torch.float64, requires_grad=True)
            y = self.moved(x)
            wanted = tensor.detach().cpu().reshape(y.shape).to(y.dtype)
            (home,) = torch.autograd.grad(y, x, wanted)
        return home.to(tensor.device), total - home.sum((-3, -2, -1)).to(tensor.device)

    def moved(self, tensor: Tensor) -> Tensor:
        """``tensor`` (channel, i, j, k) of the scan's grid through the steps that move voxels, and no others."""
        from monai.data import MetaTensor

        image, order = as_loaded(self.scan, self.preparation.chain)
        n_axes = self.preparation.chain.n_axes
        x = tensor.permute(0, *[1 + a for a in order])
        moving = MetaTensor(x.reshape(x.shape[: 1 + n_axes]), affine=image.affine, meta={"space": "RAS"})
        for move in self.passage.moves:
            moving = move(moving)
        return moving.as_tensor().reshape(len(tensor), *self.grid.shape)

    def placed(self, volume: Volume) -> Volume:
        """Another scan on this one's grid; a picture stays as it is.

        Raises
        ------
        ReferenceInputError
            If it lies nowhere on what the network sees.
        """
        scan = self.scan
        if not (scan.has_geometry and volume.has_geometry):
            return volume
        if volume.grid.matches(scan.grid):
            return volume
        there = resample(volume.with_tensor(torch.ones(1, *volume.shape), unit=""), scan.grid).tensor
        overlap = float((self.carried(there.double()) > 0.5).double().mean())
        if overlap == 0:
            raise ReferenceInputError(
                "a reference that lies nowhere on what the network sees of the image",
                "two scans of the same place",
                "register the reference to the image first",
            )
        if overlap < 0.5:
            logger.warning("the reference covers %.0f %% of what the network sees of the image", 100 * overlap)
        return resample(volume, scan.grid, fill=float(volume.tensor.min()))

    def with_reference(self, volume: Volume) -> Tensor:
        """Prepare another scan with its own constants on the same grid, the case's other scans as they are."""
        given = {**self.scans, self.name: self.placed(volume)}
        passages = run_chain(self.preparation.chain, given, boxes=self.passage.boxes)
        return self.compared(passages[self.name].tensor)

    def compared(self, tensor: Tensor) -> Tensor:
        """A reference's tensor (channel, \\*space) as an input (1, channel, \\*space) of this one's shape.

        Raises
        ------
        ReferenceInputError
            If the shapes differ.
        """
        made = tensor[None].detach().float()
        if made.shape != self.tensor.shape:
            raise ReferenceInputError(
                f"a reference that gives an input of {tuple(made.shape)}",
                f"{tuple(self.tensor.shape)}, as of the image itself",
                "give a reference of the image's shape",
            )
        return made

    def through(self, scan: Tensor) -> Tensor:
        """Run the whole chain on other intensities (channel, i, j, k); a crop to the foreground keeps its box.

        Raises
        ------
        InputError
            If a step takes its constants from the image, which MONAI does where autograd does not follow.
        """
        chain = self.preparation.chain
        steps = ", ".join(s.name for s in chain.steps if not s.follows)
        if steps or not self.has_adjoint:
            raise InputError(
                f"the whole pipeline of a bundle with {steps or ', '.join(self.passage.no_adjoint)}",
                "steps that autograd passes, with constants of their own",
                "leave through_preparation out",
            )
        found = run_chain(chain, self.scans, boxes=self.passage.boxes, tensors={self.name: scan})
        return found[self.name].tensor[None].to(scan.dtype)

    def _sentences(self) -> list[str]:
        said = []
        whole = torch.ones(1, *self.scan.shape, dtype=torch.float64)
        kept = 1 - float(torch.isnan(self.home(torch.ones(1, *self.grid.shape, dtype=torch.float64))).double().mean())
        image = float((self.carried(whole) > 0.5).double().mean())
        if kept < 0.995:
            said.append(f"the network sees {100 * kept:.0f} % of the image; the rest is cropped")
        if image < 0.5:
            said.append(f"{100 * (1 - image):.0f} % of what the network sees is padding")
        if self.passage.apart_mm > 1e-2:
            said.append(
                f"{self.name} is joined voxel by voxel with images that lie up to {self.passage.apart_mm:.3g} mm "
                "elsewhere, as the bundle does it"
            )
        if not self.has_adjoint:
            steps = ", ".join(dict.fromkeys(self.passage.no_adjoint))
            said.append(
                f"the bundle's step {steps} has no derivative, so that a contribution goes home interpolated and its "
                "total is not kept exactly"
            )
        if self.passage.bent:
            steps = ", ".join(dict.fromkeys(self.passage.bent))
            said.append(
                f"the bundle's step {steps} is no single scale of this image's intensities, so that a sensitivity is "
                "given per intensity of the prepared image"
            )
        return said


def _moved(tensor: Tensor, source: Grid, destination: Grid) -> Tensor:
    return resample(Volume(tensor.detach().double(), source.affine), destination).tensor


class JoinedChannels(nn.Module):
    """A network of one input as one of several, whose channels are put together in their order.

    Parameters
    ----------
    network
        Takes (batch, all channels, \\*space).
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    @property
    def capabilities(self) -> frozenset[str]:
        """What the network can do."""
        return recording.capabilities(self.network)

    def forward(self, *images: Tensor) -> object:
        """The network's output for images (batch, channel, \\*space) each."""
        return self.network(torch.cat(images, 1))
