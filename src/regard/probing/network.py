"""All probes of one network that run it, in their order, at a fixed price."""

import math
from collections.abc import Sequence

from regard.core import first_pass, recording
from regard.core.errors import InputError, TargetError
from regard.core.explainer import AbstractExplainer
from regard.core.inputs import Inputs
from regard.core.query import Query
from regard.core.recording import GRADIENT, LAYERS, LayerLike, Network
from regard.core.target import TargetLike
from regard.explainers.cam.base import AbstractCAM
from regard.explainers.cam.recorded import Recorded, Reshape, chosen, record
from regard.probing.answers import (
    Answers,
    evaluate,
    gradient_probe,
    pair,
    precision_probe,
    same_probe,
    watched,
    with_gradient,
)
from regard.probing.layer import layer_probes
from regard.probing.probe import APART, Probe, in_short, refused, told

__all__ = ["layers_of", "network_probes"]


def layers_of(explainers: Sequence[AbstractExplainer]) -> list[tuple[LayerLike, Reshape | None]]:
    """The layers that methods draw maps from, each once, with what gives them places."""
    wanted: list[tuple[LayerLike, Reshape | None]] = []
    for explainer in explainers:
        if isinstance(explainer, AbstractCAM):
            one = (explainer.layer, getattr(explainer, "_reshape", None))
            if one not in wanted:
                wanted.append(one)
    return wanted


def network_probes(
    network: Network,
    inputs: Inputs,
    target: TargetLike,
    explainers: Sequence[AbstractExplainer],
    *,
    layer: LayerLike = None,
    everything: bool = False,
) -> tuple[list[Probe], float]:
    """Probe a network with one case.

    Parameters
    ----------
    network
        The network, which is left as it was.
    inputs
        The case.
    target
        What is explained.
    explainers
        What is to be used; their needs and layers are probed.
    layer
        Probed with ``everything``.
    everything
        Probe all that the network is capable of.

    Returns
    -------
    probes
        A line each.
    value
        f(x); NaN where the network gives none.
    """
    capable = recording.capabilities(network)
    needed = any(GRADIENT in e.needs for e in explainers)
    layers = layers_of(explainers)
    if everything and LAYERS in capable:
        layers = layers or [(layer, None)]
    with recording.intact(network) as plain:
        query = Query(plain, inputs, target, batch_size=1)
        if layers:
            first_pass.take(plain, inputs.tensors)  # let go of, before another graph is made
        recorded, lost = _record(query, layers, named=layer is not None or not everything)
        first = recorded[0].layer if recorded else None
        wanted = needed or (everything and GRADIENT in capable)
        try:
            answers = with_gradient(query, differentiable=wanted, layer=first)
        except Exception as error:
            return [refused("output", error)], math.nan
        probes = [Probe("output", "ok", "one row per case")]
        if needed or everything:
            # A map of a layer needs no gradient before the layer, and has been found to have one behind it.
            at_input = everything or not recorded or not all(isinstance(e, AbstractCAM) for e in explainers)
            probes.append(gradient_probe(answers, wanted=wanted and at_input))
            if probes[-1].state == "refused":
                recorded, lost, first = [], [], None
        try:
            answers.again = float((recorded[0].value if recorded else evaluate(query, inputs.tensors)[0])[0])
            apart = pair(answers, first)
        except TargetError as error:
            return [refused("output", error)], answers.value
        except Exception as error:
            got = f"the network raises {type(error).__name__} for another input ({in_short(error)})"
            return [*probes, Probe(APART, "unclear", got), *lost], answers.value
        probes += [precision_probe(answers), same_probe(answers), apart]
        for n, one in enumerate(recorded):
            probes += _of_layer(answers, one, first=n == 0)
    return [*probes, *lost], answers.value


def _record(
    query: Query, layers: Sequence[tuple[LayerLike, Reshape | None]], *, named: bool
) -> tuple[list[Recorded], list[Probe]]:
    """One recorded pass for each layer, and what is said of those that give none."""
    recorded: list[Recorded] = []
    lost: list[Probe] = []
    for layer, reshape in layers:
        try:
            if layer is None:
                choice = chosen(query)
                if choice.parts:
                    # A layer for each branch or member: each is passed by the others, and that is no fault.
                    lost.append(Probe("layer", "ok", f"a layer for each of {', '.join(choice.parts)}"))
                    continue
            one = record(query, choice.layers[0] if layer is None else layer, reshape)
            if all(one.layer is not other.layer for other in recorded):
                recorded.append(one)
        except InputError as error:
            lost.append(refused("layer", error) if named else told("layer", error.got, error.expected, error.do))
        except Exception as error:
            lost.append(refused("layer", error))
    return recorded, lost


def _of_layer(answers: Answers, recorded: Recorded, *, first: bool) -> list[Probe]:
    try:
        if not first:
            with watched(recorded.layer) as seen:
                evaluate(answers.query, answers.others)
            answers.layer_output = seen[0].detach()
        return layer_probes(answers, recorded)
    except Exception as error:
        return [Probe("layer", "unclear", f"the probe raises {type(error).__name__} ({in_short(error)})")]
