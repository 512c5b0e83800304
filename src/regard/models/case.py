"""The scans of one case as a model takes them, and the way home for its maps."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from regard.core.errors import InputError
from regard.core.geometry import resample
from regard.core.inputs import Inputs
from regard.core.quantity import Quantity
from regard.core.recording import Network
from regard.core.volume import Grid, Volume
from regard.models.leads import at_card_leads
from regard.models.levels import at_card_levels
from regard.models.model import Ensemble, Model
from regard.models.preparation import CardPreparation
from regard.models.prepared import AbstractCasePreparation, AbstractPrepared, PreparedNetwork

__all__ = ["PreparedCase", "PreparedScan", "prepare_case"]


@dataclass(frozen=True)
class PreparedScan:
    """One scan of a case, with the way home.

    Parameters
    ----------
    scan
        The image.
    prepared
        How the network takes it; None when the whole pipeline is explained, on the scan's own grid.
    """

    scan: Volume
    prepared: AbstractPrepared | None

    @property
    def grid(self) -> Grid:
        """Grid of the network's input."""
        return self.scan.grid if self.prepared is None else self.prepared.grid

    @property
    def unit(self) -> str:
        """Unit of the intensities, from the card where the file does not say."""
        return self.scan.unit if self.prepared is None else self.prepared.unit

    def to_space(self, tensor: Tensor, quantity: Quantity = Quantity.SCORE) -> Tensor:
        """Network tensor (1, channel, \\*space) as (channel, i, j, k) on `grid`.

        A sensitivity is turned to output per intensity of the scan by the frozen scale of the preparation.
        """
        if self.prepared is None:
            return tensor[0]
        placed = self.prepared.to_space(tensor)[0]
        return placed * self.prepared.scale.to(placed) if quantity is Quantity.SENSITIVITY else placed

    def bring_home(self, relevance: Tensor, quantity: Quantity, *, nearest: bool = False) -> tuple[Tensor, float]:
        """Carry a map (1, i, j, k) on `grid` to the scan's grid.

        Parameters
        ----------
        relevance
            The map.
        quantity
            A contribution goes home by the adjoint, which keeps its total; everything else is interpolated.
        nearest
            Take the nearest value instead, for labels.

        Returns
        -------
        home
            (1, i, j, k), NaN where the network saw nothing; where the scan lies, on whatever device the network is.
        outside
            Part of a contribution that fell on padding, off the scan.
        """
        relevance = relevance.to(self.scan.tensor.device)
        if self.prepared is None:
            return relevance, 0.0
        if quantity.sums:
            home, outside = self.prepared.adjoint(relevance)
            seen, _ = self.prepared.adjoint(torch.ones_like(relevance))
            return torch.where(seen > 0, home, torch.nan), float(outside[0])
        home = self.prepared.home(relevance)
        return (home.round() if nearest else home), 0.0

    def places(self, mask: Volume) -> Tensor:
        """Where the network's input, with one voxel around, meets a mask on any grid, (1, 1, \\*space) of bool.

        All that is interpolated home to the mask lies there.

        Raises
        ------
        InputError
            If that is nowhere.
        """
        step = [1.0] * 3
        if self.prepared is not None:
            scan = np.linalg.inv(self.grid.affine) @ self.scan.grid.affine
            step = np.abs(scan[:3, :3]).max(1).tolist()
        inside = (resample(mask, self.grid, order=1).tensor[:1] > 0).float()[None]
        # A coarse mask may pass between the voxels, and a coarse scan is interpolated from several of them.
        around = [2 * math.ceil(s) + 1 for s in step]
        wide = functional.max_pool3d(inside, around, 1, [a // 2 for a in around])[0]
        if not bool(wide.any()):
            raise InputError(
                "a mask with no voxel on what the network sees", "one that overlaps it", "check its affine"
            )
        placed = wide if self.prepared is None else self.prepared.to_network(wide)[0]
        return placed[None] > 0.5


@dataclass(frozen=True)
class PreparedCase:
    """A case as a network takes it.

    Parameters
    ----------
    network
        What is explained: the network, or the network with the preparation before it.
    members
        The same for each member of an ensemble; otherwise the network alone.
    inputs
        Its input tensors, each (1, channel, \\*space).
    parts
        One per input.
    warnings
        Sentences a reader must see.
    preparation
        How its scans, and those that they are compared with, become inputs.
    """

    network: Network
    members: tuple[Network, ...]
    inputs: Inputs
    parts: tuple[PreparedScan, ...]
    warnings: tuple[str, ...]
    preparation: AbstractCasePreparation

    @property
    def grid(self) -> Grid:
        """Grid of the first input."""
        return self.parts[0].grid

    def references(self, reference: Volume | Mapping[str, Volume]) -> tuple[Tensor, ...]:
        """Another case's scans on this one's grids, normalised by their own constants, one tensor per input."""
        if isinstance(reference, Volume):
            volumes: Sequence[Volume] = [reference]
        else:
            volumes = list(reference.values())
        if len(volumes) != len(self.parts):
            raise InputError(f"{len(volumes)} reference images", f"{len(self.parts)}, one per input")
        prepared = [part.prepared for part in self.parts if part.prepared is not None]
        if len(prepared) < len(self.parts):
            raise InputError("a reference scan for the whole pipeline", "the network alone", "leave one out")
        made = self.preparation.references(prepared, volumes)
        return tuple(r.to(x) for r, x in zip(made, self.inputs.tensors, strict=True))


def prepare_case(model: Model, scans: Mapping[str, Volume], *, through_preparation: bool = False) -> PreparedCase:
    """Prepare the scans of one case for a model.

    Parameters
    ----------
    model
        The model; its card says what each input must be.
    scans
        Image of each input by name.
    through_preparation
        Keep the scans as they are, and put the preparation into the network.

    Raises
    ------
    InputError
        If an input is missing or does not fit.
    """
    specs = {spec.name: spec for spec in model.card.inputs}
    if set(specs) != set(scans):
        raise InputError(
            f"images for {', '.join(scans) or 'no input'}",
            f"one for each input of {model.card.name}: {', '.join(specs)}",
            "give further inputs with --input NAME=FILE (in Python a mapping of name to scan)",
        )
    if through_preparation and len(specs) > 1:
        raise InputError("several inputs through their preparation", "one input", "leave through_preparation out")
    example = next((p for p in getattr(model.network, "parameters", lambda: iter(()))() if p.is_floating_point()), None)
    dtype = torch.float32 if example is None else example.dtype
    parts, tensors, warnings = [], [], list(model.warnings)
    preparation = model.preparation or CardPreparation(model.card.inputs)
    taken = {name: at_card_leads(scans[name], spec).check_finite() for name, spec in specs.items()}
    if model.preparation is None:
        for name, spec in specs.items():
            # The scan itself, so that maps per grey level and pictures are of the levels that the network knows.
            taken[name], told = at_card_levels(taken[name], spec)
            warnings += list(told)
    for name, prepared in preparation.prepare(taken).items():
        scan = taken[name]
        warnings += list(prepared.warnings)
        parts.append(PreparedScan(scan, None if through_preparation else prepared))
        tensor = scan.tensor[None] if through_preparation else prepared.tensor
        tensors.append(tensor.to(model.device, dtype))

    def put_before(network: Network) -> Network:
        return PreparedNetwork(network, prepared) if through_preparation else network

    members = model.members if isinstance(model, Ensemble) else (model,)
    return PreparedCase(
        put_before(model.regard_network),
        tuple(put_before(m.regard_network) for m in members),
        Inputs(tuple(tensors), lone=len(tensors) == 1),
        tuple(parts),
        tuple(warnings),
        preparation,
    )
