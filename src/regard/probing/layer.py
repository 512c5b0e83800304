"""Probes of a layer that a map is drawn from.

Is it an activation of this input, are its axes places, and does all of the output pass through it?
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from regard.core.errors import CapabilityError
from regard.core.recording import replaced_output
from regard.core.spatial import n_space, space
from regard.explainers.cam.recorded import Recorded
from regard.probing.answers import Answers, evaluate, rounding
from regard.probing.changes import Places, choose_places, local_change
from regard.probing.places import agreement
from regard.probing.probe import Probe, refused, told

__all__ = ["layer_probes"]

PASSED_BY = 0.01
"""Share of the effect of another input that may go round the layer without a word."""


def layer_probes(answers: Answers, recorded: Recorded) -> list[Probe]:
    """What the layer is. At most two forwards for each input that it is drawn on, and one more."""
    probes = [_activation(answers, recorded)]
    if probes[0].state == "refused":
        return probes
    changes = _local(answers, recorded)
    probes += [*_places(answers, recorded, changes), _passed_by(answers, recorded)]
    return probes


def _activation(answers: Answers, recorded: Recorded) -> Probe:
    """Whether the layer's output follows the input, and is not the network's output itself."""
    name, where = "layer", f"'{recorded.name}' {tuple(recorded.output.shape)}"
    if not answers.follows:
        error = CapabilityError(
            f"the layer {where}, which is not computed from the input",
            "an activation of this input (not a weight, not a table of positions)",
            "name another layer",
        )
        return refused(name, error)
    other = answers.layer_output
    if other is not None and other.shape == recorded.output.shape and torch.equal(other, recorded.output):
        got = f"the layer {where}, which gives the same for another input"
        return told(name, got, "one that answers to the input", "name another layer: its map is one of nothing", 0.0)
    for leaf in tree_leaves(answers.output):
        if isinstance(leaf, Tensor) and leaf.shape == recorded.output.shape and _equal(leaf.detach(), recorded.output):
            return told(
                name,
                f"the layer {where}, which is the network's output itself",
                "a layer before the output",
                "name one: its map only repeats the output",
            )
    return Probe(name, "ok", f"{where}, an activation of this input")


def _equal(a: Tensor, b: Tensor) -> bool:
    return bool(torch.allclose(a.to(b), b, rtol=1e-5, atol=1e-6 * float(b.abs().max())))


@dataclass(frozen=True, eq=False)
class _Moved:
    """Square of how much a layer changed, (\\*space) each, after a change at either of two places of an input."""

    first: Tensor
    second: Tensor
    places: Places


def _local(answers: Answers, recorded: Recorded) -> dict[int, _Moved | None]:
    """The answer of the layer to local changes of each input it is drawn on; None where it cannot be told."""
    grid = space(recorded.activations)
    seen: dict[int, _Moved | None] = {}
    for n, x in enumerate(answers.query.inputs.tensors):
        if n_space(x) != n_space(recorded.activations):
            continue
        places = choose_places(x, grid)
        versions = [local_change(x, at, places.size) for at in (places.first, places.second)]
        outputs = _layer_outputs(answers, recorded, n, versions)
        if outputs is None:
            seen[n] = None
            continue
        moved = [(o - recorded.activations[:1]).double().square().sum((0, 1)) for o in outputs]
        seen[n] = _Moved(moved[0], moved[1], places)
    return seen


@torch.no_grad()
def _layer_outputs(answers: Answers, recorded: Recorded, which: int, versions: Sequence[Tensor]) -> list[Tensor] | None:
    """The layer's activations, each (1, channel, \\*space), for versions of one input beside the others as they are."""
    tensors = answers.query.inputs.tensors
    batches = [[v] for v in versions] if answers.alone else [list(versions)]
    outputs: list[Tensor] = []
    for batch in batches:
        given = [torch.cat(batch) if n == which else x.expand(len(batch), *x.shape[1:]) for n, x in enumerate(tensors)]
        with replaced_output(recorded.layer, lambda t: t.clone()) as seen:
            answers.query.forward([x.clone() for x in given])
        placed = seen[0] if recorded.reshape is None else recorded.reshape(seen[0])
        if len(placed) != len(batch) or placed.shape[1:] != recorded.activations.shape[1:]:
            return None
        outputs += [placed[k : k + 1].to(recorded.activations) for k in range(len(batch))]
    return outputs


def _places(answers: Answers, recorded: Recorded, changes: Mapping[int, _Moved | None]) -> list[Probe]:
    """Whether the layer's axes are the input's places, and on which inputs it depends."""
    probes = []
    inputs = answers.query.inputs
    several = len(inputs.tensors) > 1
    labels = inputs.names or [str(n + 1) for n in range(len(inputs.tensors))]
    floor = rounding(answers.query) * float(recorded.activations.abs().max())
    for n, moved in changes.items():
        name = f"layer, places of input {labels[n]}" if several else "layer, places"
        if moved is None:
            probes.append(Probe(name, "unclear", "the layer's output has another shape for two cases"))
        elif max(float(moved.first.max()), float(moved.second.max())) > floor**2:
            one = agreement(name, recorded.name, moved.first, moved.second, moved.places, space(inputs.tensors[n]))
            if answers.spread and one.state == "refused":
                # What the network draws in between moves the layer too, and everywhere.
                one = Probe(name, "unclear", "the output changes by itself, so that this cannot be seen")
            probes.append(one)
        elif several:
            got = f"the layer '{recorded.name}', which does not depend on input {labels[n]}"
            do = "its map says nothing about that input: name a layer behind the place where inputs join"
            probes.append(told(name, got, "a layer that does", do, 0.0))
        else:
            probes.append(Probe(name, "unclear", "a change at one place of the input does not reach the layer"))
    return probes


def _passed_by(answers: Answers, recorded: Recorded) -> Probe:
    """Which share of the effect of another input goes round the layer, when the layer is held still. One forward."""
    name = "layer, passed by"
    with replaced_output(recorded.layer, lambda t: recorded.output.to(t).expand_as(t).clone()):
        value, size = evaluate(answers.query, answers.others)
    moved = abs(float(value[0]) - answers.value)
    bound = rounding(answers.query) * max(size, answers.size)
    if answers.spread:
        return Probe(name, "unclear", "the output changes by itself, so that this cannot be seen", moved)
    if answers.effect <= bound:
        return Probe(name, "unclear", "another input hardly changes the output")
    share = moved / answers.effect
    if moved <= bound or share <= PASSED_BY:
        return Probe(name, "ok", "all of the output passes through the layer", share)
    part = f"{100 * share:.0f} %" if share < 1 else "all"
    return told(
        name,
        f"an output that another input changes by {answers.effect:.3g}, and by {moved:.3g} ({part} of it) "
        f"while the layer '{recorded.name}' is held still",
        "an output that passes through the layer alone",
        "the map shows the part that does; a gradient or perturbation method shows all",
        share,
    )
