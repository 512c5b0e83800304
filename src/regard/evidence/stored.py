"""A saved map as an exhibit: from the scan's grid back to the network's, with all that measures ask for."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from regard.case.explaining import bind_target
from regard.core import recording
from regard.core.batching import BatchSize
from regard.core.errors import FileError, InputError
from regard.core.explainer import Query
from regard.core.explanation import NetworkMap
from regard.core.geometry import resample
from regard.core.inputs import Inputs
from regard.core.quantity import Quantity, Sign
from regard.core.recording import Network
from regard.core.rows import target_values
from regard.core.spatial import n_space, over_channels, space
from regard.core.target import AbstractTarget, TargetLike
from regard.core.volume import Volume
from regard.evidence.again import TakenAway
from regard.evidence.controls import random_cam
from regard.evidence.measure import Exhibit, Explain, Places
from regard.explainers.of_case import fitted
from regard.explainers.spec import MethodSpec
from regard.io import StoredMap
from regard.models import Ensemble, Model
from regard.models.case import PreparedCase, PreparedScan, prepare_case
from regard.references import FoundReference, ReferenceLike, find_reference

__all__ = ["OpenCase", "OneInput", "carry", "network_map", "open_case", "places_from"]

_AGREES = 1e-3


class OneInput(nn.Module):
    """A network of several inputs as one of a single input: the others stay as they are.

    Parameters
    ----------
    network
        Takes all inputs.
    tensors
        All inputs of one case, each (1, channel, \\*space).
    number
        Which of them is left open.
    """

    def __init__(self, network: nn.Module, tensors: Sequence[Tensor], number: int) -> None:
        super().__init__()
        self.network = network
        self._tensors, self.number = tuple(tensors), number

    def all_inputs(self, x: Tensor) -> tuple[Tensor, ...]:
        """The case's inputs with ``x`` (batch, channel, \\*space) in its place, as many copies of the others."""
        return tuple(x if n == self.number else t.expand(len(x), *t.shape[1:]) for n, t in enumerate(self._tensors))

    def forward(self, x: Tensor) -> object:
        """The network's output for ``x`` (batch, channel, \\*space)."""
        return self.network(*self.all_inputs(x))


def carry(stored: Volume, quantity: Quantity, part: PreparedScan) -> tuple[Tensor, float]:
    """Carry a map from the scan's grid to the network's input grid.

    Contributions are shared out by the ratio of the voxel sizes, so that their total is kept but for the edges;
    sensitivities go back to output per normalised intensity. What the network never saw (NaN) becomes 0.

    Parameters
    ----------
    stored
        The map on the scan's grid, one channel.
    quantity
        What its numbers are.
    part
        The prepared scan.

    Returns
    -------
    relevance
        Map (1, 1, \\*space), float32.
    unseen
        Share of the scan's voxels where the map was NaN.
    """
    relevance = stored.tensor[:1].double()
    unseen = float(torch.isnan(relevance).double().mean())
    relevance = relevance.nan_to_num(0.0)
    prepared = part.prepared
    if prepared is None:
        return relevance[None].float(), unseen
    carried = prepared.carried(relevance)
    if quantity.sums:
        ratio = np.linalg.det(prepared.grid.affine[:3, :3]) / np.linalg.det(part.scan.affine[:3, :3])
        carried = carried * abs(float(ratio))
    if quantity is Quantity.SENSITIVITY:
        carried = carried / prepared.scale.double().mean().to(carried)
    return prepared.to_network(carried).float(), unseen


def network_map(stored: StoredMap, quantity: Quantity, part: PreparedScan) -> tuple[NetworkMap, list[str]]:
    """The map on the network's grid as it was made, with sentences; carried back for maps of earlier versions."""
    if stored.on_network is not None:
        return stored.on_network, []
    relevance, unseen = carry(stored.relevance, quantity, part)
    told = ["the map was carried back from the scan's grid, which smooths it: explain again to weigh the method's own"]
    if unseen:
        told.append(f"the network saw {100 * (1 - unseen):.0f} % of the scan; the rest is 0 here")
    return NetworkMap(relevance), told


def places_from(truth: Volume, part: PreparedScan, label: int | None = None) -> Places:
    """Where the truth lies on the network's grid.

    Values 1, 2 and 3 are core, allowed and decoy; a file of one other value is a mask of the core. What lies off the
    scan counts neither way.

    Parameters
    ----------
    truth
        Mask or label image on any grid.
    part
        The prepared scan.
    label
        The one label that is the core, instead.

    Raises
    ------
    InputError
        If the labels say nothing, or the core lies nowhere on the network's grid.
    """
    values = sorted({int(v) for v in truth.tensor.unique().round().tolist()} - {0})
    tensor = truth.tensor[:1].round()
    if label is not None:
        tensor = (tensor == label).float()
    elif len(values) == 1:
        tensor = (tensor != 0).float()
    elif not set(values) <= {1, 2, 3}:
        got = f"a truth with the labels {', '.join(map(str, values[:8])) or 'none but 0'}"
        raise InputError(got, "1 core, 2 allowed, 3 decoy, or a mask", "name the label of the core with FILE#LABEL")
    prepared = part.prepared
    grid = part.scan.grid if prepared is None else prepared.grid
    on_grid = resample(truth.with_tensor(tensor), grid, order=0).tensor
    seen = resample(part.scan.with_tensor(torch.ones(1, *part.scan.shape)), grid, order=0, fill=0.0).tensor > 0.5

    def to_network(mask: Tensor) -> Tensor:
        return mask[0] if prepared is None else prepared.to_network(mask.float())[0, 0] > 0.5

    core = to_network(on_grid == 1)
    if not bool(core.any()):
        raise InputError("a truth that lies nowhere on what the network sees", "one that overlaps the scan")
    decoy = to_network(on_grid == 3)
    allowed = to_network((on_grid == 2) | ~seen)
    spacing = tuple(s for s, n in zip(grid.spacing, grid.shape, strict=True))[: core.ndim]
    return Places(
        core,
        allowed if bool(allowed.any()) else None,
        decoy if bool(decoy.any()) else None,
        spacing if part.scan.has_geometry else None,
    )


@dataclass(frozen=True, eq=False)
class OpenCase:
    """A case that was explained, prepared and asked again.

    Parameters
    ----------
    model, prepared, goal
        Network, inputs, and the target for its output.
    reference
        What it was compared with, or None.
    value
        f(x).
    case, seed, layer, batch_size, reshape
        As when it was explained.
    """

    model: Model
    prepared: PreparedCase
    goal: AbstractTarget
    reference: FoundReference | None
    value: float
    case: str
    seed: int
    layer: str | None
    batch_size: BatchSize
    reshape: str | None = None

    def exhibit(
        self, stored: StoredMap, spec: MethodSpec, *, spread: float | None = None, truth: Volume | None = None,
        label: int | None = None,
    ) -> tuple[Exhibit, list[str]]:  # fmt: skip
        """The saved map with all that measures ask for, and sentences about how it was carried.

        Raises
        ------
        FileError
            If the network gives another value than when the map was made.
        """
        said = stored.sidecar
        number = self._number(said.get("input"))
        before = said["prediction"]
        if before is not None and not math.isclose(before, self.value, rel_tol=_AGREES, abs_tol=1e-6):
            got = f"an output of {self.value:.6g} for case '{self.case}', whose map was made at {before:.6g}"
            raise FileError(got, "the model and the images that were explained", "explain the case again")
        quantity, sign = Quantity(said["quantity"]), Sign(said["sign"])
        part = self.prepared.parts[number]
        x = self.prepared.inputs.tensors[number]
        seen, notes = network_map(stored, quantity, part)
        if seen.reference is None:
            # Not written where it was given, nor by earlier versions: what a method counts from does not need its map.
            seen = replace(seen, **self._removal(spec, number))
        seen = seen.shaped(space(x))
        found = Exhibit(
            network=self._network(number),
            x=x,
            target=self.goal,
            relevance=seen.relevance.to(x),
            quantity=quantity,
            sign=sign,
            case=self.case,
            spread=spread,
            places=None if truth is None else places_from(truth, part, label),
            explain=self._explain(spec, number),
            reference=None if seen.reference is None else seen.reference.to(x),
            parts=seen.parts,
            seed=self.seed,
            batch_size=self.batch_size,
        )
        return found, notes

    def random_cam(self, name: str | None) -> Tensor:
        """The case's random class activation map of one input."""
        number = self._number(name)
        network = self._network(number)
        layer = self.layer if self.layer is None or not isinstance(network, OneInput) else f"network.{self.layer}"
        x = self.prepared.inputs.tensors[number]
        return random_cam(network, x, self.goal, layer=layer, seed=self.seed, case=self.case, reshape=self.reshape)

    def _number(self, name: str | None) -> int:
        names = [s.name for s in self.model.card.inputs]
        return names.index(name) if name in names else 0

    def _network(self, number: int) -> Network:
        network = self.prepared.network
        if len(self.prepared.inputs.tensors) == 1:
            return network
        plain = recording.unwrap(network)
        if not isinstance(plain, nn.Module):
            raise InputError(f"several inputs of a {type(plain).__name__}", "a torch.nn.Module, to weigh one of them")
        return OneInput(plain, self.prepared.inputs.tensors, number)

    def _removal(self, spec: MethodSpec, number: int) -> TakenAway:
        """What the method takes away, asked again."""
        of_case = fitted(spec, self.prepared)
        explainer = of_case.build(recording.unwrap(self.prepared.members[0]), layer=self.layer)
        able = self.reference if explainer.takes_reference else None
        query = Query(
            recording.unwrap(self.prepared.network), self.prepared.inputs, self.goal,
            None if able is None else able.tensors, self.seed, self.case, self.batch_size,
        )  # fmt: skip
        reference, parts = explainer.taken_away(query)
        return {
            "reference": None if reference is None else reference[number],
            "parts": None if parts is None else parts[number][0],
        }

    def _explain(self, spec: MethodSpec, number: int) -> Explain | None:
        """Explains again by the same settings; None for ensembles, whose maps are means over members."""
        if isinstance(self.model, Ensemble):
            return None

        of_case = fitted(spec.laid_out(self.reshape), self.prepared)

        def again(network: Network, x: Tensor) -> Tensor:
            inner = network.network if isinstance(network, OneInput) else network
            tensors = network.all_inputs(x) if isinstance(network, OneInput) else (x,)
            inputs = Inputs(tensors, lone=len(tensors) == 1)
            explainer = of_case.build(inner, layer=self.layer)
            able = self.reference if explainer.takes_reference else None
            found = explainer.compute(
                inputs.rebuild(tensors), self.goal, reference=None if able is None else inputs.rebuild(able.tensors),
                seed=self.seed, case=self.case, batch_size=self.batch_size,
            )  # fmt: skip
            return over_channels(found.relevance[number])

        return again


def open_case(
    model: Model,
    scans: Mapping[str, Volume],
    *,
    target: TargetLike = None,
    reference: ReferenceLike = None,
    layer: str | None = None,
    reshape: str | None = None,
    case: str = "case",
    seed: int = 0,
    batch_size: BatchSize = "auto",
) -> OpenCase:
    """Prepare a case as it was when it was explained; parameters as `regard.explain`."""
    prepared = prepare_case(model, scans)
    inputs = prepared.inputs
    with recording.intact(prepared.network) as plain, torch.no_grad():
        output = inputs.call(plain, inputs.tensors)  # type: ignore[arg-type]
    goal = bind_target(model, target, output, prepared)
    value = float(target_values(goal, output, 1, n_space(inputs.tensors[0]))[0])
    question = Query(recording.unwrap(prepared.network), inputs, goal, seed=seed, case=case, batch_size=batch_size)
    compared = find_reference(reference, question, prepared, model.card)
    return OpenCase(model, prepared, goal, compared, value, case, seed, layer or model.card.layer, batch_size, reshape)
