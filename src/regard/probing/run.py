"""The preflight: once for a network and a target, and what must be looked at in every case."""

import weakref
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from regard.core import recording
from regard.core.errors import InputError
from regard.core.explainer import AbstractExplainer
from regard.core.first_pass import first_pass
from regard.core.inputs import InputLike, Inputs
from regard.core.query import Query
from regard.core.recording import LayerLike, Network
from regard.core.target import AbstractTarget, FunctionTarget, TargetLike
from regard.core.volume import Volume
from regard.explainers.of_case import fitted
from regard.explainers.spec import MethodSpec, parse_methods
from regard.models.binding import bind_target
from regard.models.case import prepare_case
from regard.models.model import Model
from regard.probing.case import case_probes
from regard.probing.network import layers_of, network_probes
from regard.probing.probe import Preflight, Probe, refused

__all__ = ["MethodLike", "preflight", "preflight_of_case"]

MethodLike = str | MethodSpec | AbstractExplainer
"""A method by its registered name with its knobs, or an explainer."""

_known: "weakref.WeakKeyDictionary[Any, dict[Hashable, Preflight]]" = weakref.WeakKeyDictionary()


def preflight(
    network: Network | Model,
    inputs: InputLike | Volume | Mapping[str, Volume],
    target: TargetLike = None,
    *,
    layer: LayerLike = None,
    methods: Sequence[MethodLike] = (),
    reference: Any = None,
) -> Preflight:
    """Probe a network before its maps are believed.

    Nothing is raised for what a probe refuses: call `Preflight.check` for that. The price is at most eight forwards
    and two backwards for a network of one input, and two forwards more for each further input; each further layer that
    the methods name costs at most six forwards and a backward more.

    Parameters
    ----------
    network
        A `torch.nn.Module`, a callable on tensors, or a model with its card.
    inputs
        Tensors (batch, channel, \\*space), of which the first case is taken; for a model also a scan, or a mapping of
        input name to scan.
    target
        What would be explained.
    layer
        Layer of CAM methods; None for the automatic one.
    methods
        Which methods would be used: their needs, layers and fillers are probed. Without any, all that the network is
        capable of.
    reference
        What would be compared with: a number, tensors for tensors, a scan for a scan.

    Returns
    -------
    Preflight
        A line a probe.

    Raises
    ------
    InputError
        If the inputs themselves cannot be read, or there is no such method.

    Examples
    --------
    >>> import torch, regard
    >>> network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.AvgPool2d(6), torch.nn.Flatten())
    >>> said = regard.preflight(network, torch.rand(1, 1, 8, 8), 0, methods=["gradient"])
    >>> said["cases apart"].state
    'ok'
    """
    scans = _scans(inputs)
    if scans is not None:
        if not isinstance(network, Model):
            raise InputError("a scan for a network without a card", "tensors (N, C, *space)", "give a model instead")
        return _of_scans(network, scans, target, layer, methods, reference)
    read = Inputs.of(inputs).case(0)  # type: ignore[arg-type]
    compared = None if reference is None else read.like(reference, "reference")
    return preflight_of_case([network], read, target, methods, layer=layer, reference=compared)


def _scans(inputs: object) -> dict[str, Volume] | None:
    if isinstance(inputs, Volume):
        return {"": inputs}
    if isinstance(inputs, Mapping) and all(isinstance(v, Volume) for v in inputs.values()):
        return dict(inputs)
    return None


def _of_scans(
    model: Model,
    scans: Mapping[str, Volume],
    target: TargetLike,
    layer: LayerLike,
    methods: Sequence[MethodLike],
    reference: Any,
) -> Preflight:
    named = {model.card.inputs[0].name: scans[""]} if "" in scans else scans
    prepared = prepare_case(model, named)
    compared = None
    if isinstance(reference, (int, float)):
        compared = prepared.inputs.like(float(reference), "reference")
    elif reference is not None:
        compared = prepared.references(reference)
    try:
        output = first_pass(prepared.network, prepared.inputs, graph=False).output
        goal = bind_target(model, target, output, prepared)
    except Exception as error:
        return Preflight((refused("output", error),))
    ready: list[MethodLike] = [m for m in methods if isinstance(m, AbstractExplainer)]
    ready += [
        fitted(spec, prepared) for spec in parse_methods([m for m in methods if not isinstance(m, AbstractExplainer)])
    ]
    return preflight_of_case(
        prepared.members, prepared.inputs, goal, ready, layer=layer or model.card.layer, reference=compared
    )


def preflight_of_case(
    members: Sequence[Network],
    inputs: Inputs,
    target: TargetLike,
    methods: Sequence[MethodLike],
    *,
    layer: LayerLike = None,
    reference: tuple[Tensor, ...] | None = None,
    value: float | None = None,
    keys: Sequence[Any] | None = None,
    before: Preflight | None = None,
) -> Preflight:
    """Probe each member of an ensemble, or the network alone, with one case.

    Parameters
    ----------
    members, inputs, target, methods, layer
        As of `preflight`.
    reference
        One tensor per input.
    value
        f(x), where it is known; by default the first member's.
    keys
        Objects that stand for the members: what was probed for one is not probed again while it lives and its weights
        stay. None: nothing is kept.
    before
        What an earlier run's probes said of the same network, target and methods: they are not made again.
    """
    probes: list[Probe] = [] if before is None else list(before.of_another_case())
    explainers: list[AbstractExplainer] = [] if before is None else _built(methods, members[0], layer)[0]
    for n, member in enumerate(members if before is None else ()):
        explainers, lost = _built(methods, member, layer)
        if lost and not explainers:
            probes += lost
            continue
        key = None if keys is None else (_key(target, explainers, layer), _state(member))
        known = None if keys is None else _kept(keys[n]).get(key)
        if known is None:
            lines, seen = network_probes(member, inputs, target, explainers, layer=layer, everything=not methods)
            known = Preflight(tuple(lines))
            if keys is not None:
                _kept(keys[n])[key] = known
        else:
            seen, known = float("nan"), known.of_another_case()
        value = seen if value is None else value
        more = f"member {n + 1}: " if len(members) > 1 else ""
        probes += [replace(p, name=more + p.name) for p in (*known, *lost)]
    label = target.label if isinstance(target, AbstractTarget) else str(target)
    if value is not None and value == value:
        query = Query(recording.unwrap(members[0]), inputs, target, reference)
        probes += case_probes(query, target, value, explainers)
    return Preflight(tuple(probes), label)


def _built(
    methods: Sequence[MethodLike], network: Network, layer: LayerLike
) -> tuple[list[AbstractExplainer], list[Probe]]:
    """The explainers of a network, and why others cannot be."""
    explainers = [m for m in methods if isinstance(m, AbstractExplainer)]
    lost = []
    for spec in parse_methods([m for m in methods if not isinstance(m, AbstractExplainer)]):
        try:
            explainers.append(spec.build(network, layer=layer))
        except InputError as error:
            lost.append(refused(spec.label, error))
    return explainers, lost


def _kept(owner: Any) -> dict[Hashable, Preflight]:
    """What is known of a network in the state that its weights are in."""
    try:
        return _known.setdefault(owner, {})
    except TypeError:  # cannot be held weakly: probed each time
        return {}


def _state(network: Network) -> int:
    """A number that changes when the weights are written to."""
    plain = recording.unwrap(network)
    if not isinstance(plain, nn.Module):
        return 0
    return sum(0 if p.is_inference() else p._version for p in plain.parameters())


def _weak(thing: Any) -> Hashable:
    """Something as a part of a key that does not keep it alive."""
    if thing is None or isinstance(thing, (str, int)):
        return thing
    try:
        return weakref.ref(thing)
    except TypeError:
        return id(thing)


def _key(target: TargetLike, explainers: Sequence[AbstractExplainer], layer: LayerLike) -> Hashable:
    if isinstance(target, FunctionTarget):
        goal: Hashable = _weak(target.function)
    else:
        goal = target.label if isinstance(target, AbstractTarget) else _weak(target)
    needs = frozenset().union(*(e.needs for e in explainers))
    layers = tuple((_weak(one), _weak(reshape)) for one, reshape in layers_of(explainers))
    return goal, _weak(layer), needs, layers
