"""The forwards that every preflight makes: the case itself, once more, beside another one; and what they say."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from regard.core import batching, first_pass
from regard.core.errors import CapabilityError, InputError, RowsError, TargetError
from regard.core.query import Query, no_gradient
from regard.core.recording import replaced_output
from regard.core.target import Probability
from regard.probing.changes import another
from regard.probing.probe import APART, Probe, in_short, refused, told

__all__ = [
    "Answers",
    "evaluate",
    "gradient_probe",
    "largest",
    "pair",
    "precision_probe",
    "rounding",
    "same_probe",
    "watched",
    "with_gradient",
]

ROUNDING = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""Share of the largest output by which two evaluations of one network may differ for rounding's sake."""

UNRESOLVED = 1e-3
"""Share of the effect of another input that one unit in the last place of the output may be."""

UNSTEADY = 1e-2
"""Share of the effect of another input by which the rounding of the input may move the output."""


@dataclass
class Answers:
    """What the network gave.

    Parameters
    ----------
    query
        The network inside `recording.intact`, one case, and the target.
    value
        f(x).
    size
        Size of the largest output.
    output
        The network's output for the case.
    gradients
        Of the target at each input; None where none reaches it.
    failure
        What the backward pass raised.
    again
        f(x) of a second forward.
    effect
        |f(x') - f(x)| for another input x'.
    others
        x', one tensor per input.
    alone
        Whether only batches of one can be relied on.
    layer_output
        What the layer gave for x', where one is looked at.
    follows
        Whether the layer's output is computed from the inputs at all.
    """

    query: Query
    value: float
    size: float
    output: object
    gradients: tuple[Tensor | None, ...] = ()
    failure: Exception | None = None
    again: float = math.nan
    effect: float = math.nan
    others: tuple[Tensor, ...] = ()
    alone: bool = False
    layer_output: Tensor | None = field(default=None, repr=False)
    follows: bool = True

    @property
    def spread(self) -> float:
        """How far two forwards of the same input lie apart, where that is more than rounding; otherwise 0."""
        apart = abs(self.again - self.value)
        return 0.0 if apart <= rounding(self.query) * self.size else apart

    @property
    def unsteady(self) -> float:
        """How far f(x) may move when all of the input moves by its rounding; 0 where no gradient is known."""
        moved = 0.0
        for x, gradient in zip(self.query.inputs.tensors, self.gradients, strict=False):
            if gradient is not None:
                size = float((x.double() * gradient.double()).abs().sum())
                moved += torch.finfo(x.dtype).eps * size if math.isfinite(size) else 0.0
        return moved


def watched(layer: nn.Module | None) -> AbstractContextManager[list[Tensor]]:
    """A context that lists what a layer gives; without a layer, nothing."""
    return nullcontext([]) if layer is None else replaced_output(layer, lambda t: t.clone())


def rounding(query: Query) -> float:
    """Share of the largest output by which rounding may move an output, for the coarsest type that is seen."""
    network = query.network
    kinds = {x.dtype for x in query.inputs.tensors}
    if isinstance(network, nn.Module):
        kinds |= {p.dtype for p in network.parameters() if p.is_floating_point()}
    share = max(ROUNDING.get(kind, 1e-5) for kind in kinds)
    # TensorFloat-32 keeps ten bits of the mantissa.
    cuda = any(x.is_cuda for x in query.inputs.tensors)
    short = torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32
    return max(share, 1e-2) if cuda and short and torch.float32 in kinds else share


def largest(output: object) -> float:
    """Size of the largest number in a network's output."""
    sizes = [float(t.detach().abs().max()) for t in tree_leaves(output) if isinstance(t, Tensor) and t.numel()]
    return max(sizes, default=0.0)


@torch.no_grad()
def evaluate(query: Query, tensors: Sequence[Tensor]) -> tuple[Tensor, float]:
    """The target's value of each case (n,), float64, and the size of the largest output."""
    output = query.forward([x.clone() for x in tensors])
    return query.value(output, len(tensors[0])).double(), largest(output)


def with_gradient(query: Query, *, differentiable: bool, layer: nn.Module | None = None) -> Answers:
    """The network's answer for the case, with the gradient at its inputs where one is wanted: one forward.

    A graph that whoever explains the case has begun is taken in its place, so that never two are held at once.
    """
    begun = first_pass.take(query.network, query.inputs.tensors)
    seen: list[Any] = []
    if begun is not None and differentiable and layer is None:
        leaves, output = begun
        value = query.value(output, 1)
    else:
        del begun
        leaves = [x.detach().clone().requires_grad_(differentiable) for x in query.inputs.tensors]
        with torch.set_grad_enabled(differentiable), watched(layer) as seen:
            output = query.forward([x.clone() for x in leaves])
            value = query.value(output, 1)
    answers = Answers(query, float(value.detach()[0]), largest(output), output)
    if value.requires_grad:
        try:
            answers.gradients = torch.autograd.grad(value.sum(), leaves, allow_unused=True)
        except RuntimeError as error:
            if batching.is_out_of_memory(error):
                raise
            answers.failure = error
    answers.output = tree_map(lambda t: t.detach() if isinstance(t, Tensor) else t, output)
    answers.follows = not seen or seen[0].requires_grad
    answers.others = tuple(another(x) for x in query.inputs.tensors)
    if not math.isfinite(answers.value):
        raise InputError(f"a prediction of {answers.value}", "a finite number", "check the image and the weights")
    return answers


def gradient_probe(answers: Answers, *, wanted: bool) -> Probe:
    """Whether a gradient ties the output to the inputs, is finite and is not 0 everywhere.

    Parameters
    ----------
    answers
        What the network gave.
    wanted
        Whether a method needs it; otherwise its absence is told, not refused.
    """
    name, gradients = "gradient", [g for g in answers.gradients if g is not None]
    if answers.failure is not None:
        error = CapabilityError(
            f"a backward pass that raises {type(answers.failure).__name__} ({in_short(answers.failure)})",
            "one that reaches the input",
            "choose a perturbation method such as occlusion",
        )
        return refused(name, error) if wanted else told(name, error.got, error.expected, error.do)
    if not gradients:
        error = no_gradient(answers.query.network, "the input")
        return refused(name, error) if wanted else told(name, error.got, error.expected, error.do)
    bad = sum(int((~torch.isfinite(g)).sum()) for g in gradients)
    if bad:
        do = "smooth the operation that breaks (a root or a logarithm at 0), or choose a perturbation method"
        return told(name, f"a gradient with {bad} NaN or infinite values", "finite ones", do, bad, one_case=True)
    sizes = [0.0 if g is None else float(g.abs().max()) for g in answers.gradients]
    if max(sizes) == 0:
        got, do = "a gradient of 0 at every place of the input", "choose a perturbation method, or another target"
        if isinstance(answers.query.target(answers.output, 1), Probability):
            do = "explain the logit instead: the probability is saturated"
        else:
            do += ": units that are never active or a step stand in the way"
        return told(name, got, "one that is not 0 everywhere", do, 0.0, one_case=True)
    if min(sizes) == 0:
        labels = answers.query.inputs.names or [str(n + 1) for n in range(len(sizes))]
        lost = ", ".join(label for label, size in zip(labels, sizes, strict=True) if size == 0)
        got = f"a gradient of 0 at every place of input {lost}"
        return told(name, got, "an output that depends on every input", "check what that input is for", 0.0)
    return Probe(name, "ok", f"finite, largest size {max(sizes):.3g}", max(sizes))


def same_probe(answers: Answers) -> Probe:
    """Whether a second forward gives the same."""
    name, spread = "same twice", answers.spread
    if not spread:
        return Probe(name, "ok", "a second forward gives the same", abs(answers.again - answers.value))
    beside = f", {100 * spread / answers.effect:.0f} % of what another input changes" if answers.effect > 0 else ""
    return told(
        name,
        f"two forwards of one input whose outputs are {spread:.3g} apart{beside}",
        "the same twice",
        "switch off what draws at random (dropout, noise) in evaluation; a seed cannot help, and no map here is "
        "more exact than that",
        spread,
    )


def pair(answers: Answers, layer: nn.Module | None = None) -> Probe:
    """Whether cases of a batch mix: f([x, x']) against f([x]). One forward; one more where they do.

    Fills in `Answers.effect`, `Answers.alone` and `Answers.layer_output`.
    """
    query, name = answers.query, APART
    together = [torch.cat([x, other]) for x, other in zip(query.inputs.tensors, answers.others, strict=True)]
    failure: Exception | None = None
    seen: list[Any]
    try:
        with watched(layer) as seen:
            values, size = evaluate(query, together)
    except RowsError as error:
        failure = error  # one case alone has its row, or nothing would have come so far
    except TargetError:
        raise
    except Exception as error:
        failure = error
    if failure is None:
        moved = abs(float(values[0]) - answers.value)
        bound = max(rounding(query) * max(size, answers.size), answers.unsteady)
        answers.effect = abs(float(values[1]) - answers.value)
        if moved <= bound and not answers.spread:
            _keep(answers, seen, 1)
            return Probe(name, "ok", "a case beside another gives what it gives alone", moved)
        if answers.spread:
            _keep(answers, seen, 1)
            return Probe(name, "unclear", "the output changes by itself, so that this cannot be seen", moved)
    answers.alone = True
    with watched(layer) as seen:
        alone, _ = evaluate(query, answers.others)
    answers.effect = abs(float(alone[0]) - answers.value)
    _keep(answers, seen, 0)
    if failure is not None and batching.is_out_of_memory(failure):
        return Probe(name, "unclear", "the memory holds one case at a time, so that this cannot be seen")
    if failure is not None:
        return told(
            name,
            f"a network that raises {type(failure).__name__} for two cases at once ({in_short(failure)})",
            "one that takes any number",
            "each case and each evaluation is made alone (batch size 1); export it with a free batch axis",
        )
    beside = f", {100 * moved / answers.effect:.0f} % of what another input changes" if answers.effect > 0 else ""
    return told(
        name,
        f"an output that changes by {moved:.3g}{beside} when another case stands in the batch",
        "cases that do not mix",
        "each case and each evaluation is made alone (batch size 1), as its prediction is; look for batch "
        "normalisation without running statistics, a transformer without batch_first=True, or dynamic quantisation",
        moved,
    )


def _keep(answers: Answers, seen: list[Any], row: int) -> None:
    if seen and len(seen[0]) > row:
        answers.layer_output = seen[0][row : row + 1].detach()


def precision_probe(answers: Answers) -> Probe:
    """Whether the output answers to its input, and by more than its own rounding."""
    name = "response"
    if answers.effect == 0:
        got = "an output that stays the same for another input (half of itself, shuffled, laid over it)"
        do = "check the weights, and whether a step or dead units stand at the end; or run the network in float64"
        return told(name, got, "one that depends on the input", do, 0.0)
    if answers.unsteady > UNSTEADY * answers.effect:
        return told(
            name,
            f"an output of {answers.value:.6g} that the rounding of its input alone may move by "
            f"{answers.unsteady:.2g}, where another input changes it by {answers.effect:.2g}",
            f"at most {UNSTEADY:g} of that",
            "run the network in float64, and check the weights",
            answers.unsteady / answers.effect if answers.effect else None,
        )
    kinds = [t.dtype for t in tree_leaves(answers.output) if isinstance(t, Tensor) and t.is_floating_point()]
    unit = max((torch.finfo(kind).eps for kind in kinds), default=0.0) * abs(answers.value)
    if unit > UNRESOLVED * answers.effect:
        return told(
            name,
            f"an output of {answers.value:.6g} whose last digit is {unit:.2g}, where another input changes "
            f"it by {answers.effect:.2g}",
            f"at most {UNRESOLVED:g} of that",
            "run the network in float64",
            unit / answers.effect,
        )
    return Probe(name, "ok", f"another input changes the output by {answers.effect:.3g}", answers.effect)
