"""Our own methods with a graph: how a map changes with the image that it is a map of.

The formulas stay where they are. A gradient method asks its query for gradients, and gets them with their graph; a
class activation map gets activations and gradients of its layer that still hang on the image.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from regard.core import recording
from regard.core.errors import CapabilityError
from regard.core.explainer import AbstractExplainer
from regard.core.inputs import Inputs
from regard.core.query import Query, no_gradient
from regard.core.recording import Network
from regard.core.spatial import interpolate, spread
from regard.core.target import AbstractTarget
from regard.explainers.cam.base import AbstractCAM
from regard.explainers.cam.grad_cam import GradCAM
from regard.explainers.cam.grad_cam_pp import GradCAMPlusPlus
from regard.explainers.cam.grad_ram import GradRAM
from regard.explainers.cam.grad_ramp import GradRAMP
from regard.explainers.cam.hires_cam import HiResCAM
from regard.explainers.cam.layer_cam import LayerCAM
from regard.explainers.cam.recorded import Recorded, chosen, record
from regard.explainers.gradient.gradient import Gradient
from regard.explainers.gradient.input_x_gradient import InputXGradient
from regard.explainers.gradient.integrated_gradients import IntegratedGradients
from regard.explainers.gradient.lam import LAM
from regard.explainers.gradient.smoothgrad import SmoothGrad

__all__ = ["MapFunction", "is_differentiable", "map_function"]

MapFunction = Callable[[Tensor], Tensor]
"""Images (batch, channel, \\*space) to their maps (batch, 1, \\*space), through which gradients pass."""

_DIRECT = (Gradient, InputXGradient, IntegratedGradients, LAM, SmoothGrad)
_CAMS = (GradCAM, GradCAMPlusPlus, GradRAM, GradRAMP, HiResCAM, LayerCAM)


class _WithGraph(Query):
    """A query whose gradients keep their graph."""

    def gradient(self, tensors: Sequence[Tensor], *, owned: bool = False) -> tuple[Tensor, tuple[Tensor, ...]]:
        moved = [x if x.requires_grad else x.detach().requires_grad_() for x in tensors]
        value = self.score([x.clone() for x in moved])
        if not value.requires_grad:
            raise no_gradient(self.network, "the input")
        gradients = torch.autograd.grad(value.sum(), moved, create_graph=True, allow_unused=True)
        filled = [torch.zeros_like(x) if g is None else g for g, x in zip(gradients, moved, strict=True)]
        return value, tuple(filled)


def is_differentiable(explainer: AbstractExplainer) -> bool:
    """Whether the method's map can be followed by gradients; others are attacked through one that can."""
    return type(explainer) in _DIRECT + _CAMS


@dataclass(frozen=True, eq=False)
class _OfCAM:
    """A class activation map of one layer as a function of the image."""

    explainer: AbstractCAM
    query: Query
    recorded: Recorded

    def __call__(self, image: Tensor) -> Tensor:
        image = image if image.requires_grad else image.detach().requires_grad_()
        others = [x.expand(len(image), *x.shape[1:]) for x in self.query.inputs.tensors[1:]]
        with recording.replaced_output(self.recorded.layer, lambda t: t.clone()) as outputs:
            value = self.query.score([image.clone(), *others])
        (gradient,) = torch.autograd.grad(value.sum(), outputs[0], create_graph=True)
        output, reshape = outputs[0], self.recorded.reshape
        if reshape is not None:
            output, gradient = reshape(output), reshape(gradient)
        now = dataclasses.replace(self.recorded, activations=output, gradients=gradient, value=value)
        coarse = self.explainer._coarse(self.query, now)
        if self.explainer.form == "published":
            coarse = self.explainer._published(coarse)
        bring = spread if self.explainer.meaning[0].sums else interpolate
        return now.onto(coarse, image, bring).sum(1, keepdim=True)


def map_function(
    explainer: AbstractExplainer,
    network: Network,
    inputs: Inputs,
    target: AbstractTarget,
    *,
    reference: tuple[Tensor, ...] | None = None,
    seed: int = 0,
    case: str = "",
) -> MapFunction:
    """A method's map as a function of the first input, the others held fixed.

    Parameters
    ----------
    explainer
        The method.
    network
        Its network, as `regard.core.recording.intact` gives it; what rectifiers do is decided where the function is
        called.
    inputs
        One case.
    target
        What is explained.
    reference
        What the inputs are compared with, one tensor each, where the method takes one.
    seed, case
        Key of the method's draws: the same for all images, so that two maps differ by the image alone.

    Returns
    -------
    Callable
        Images (batch, channel, \\*space) to maps (batch, 1, \\*space), summed over channels.

    Raises
    ------
    CapabilityError
        If the method is none that gradients pass through, or looks at several networks or layers at once.
    """
    if not is_differentiable(explainer):
        raise CapabilityError(
            f"an attack through {type(explainer).__name__}, which gradients do not pass through",
            f"one of {', '.join(m.__name__ for m in _DIRECT + _CAMS)}",
            "name one of them as the surrogate that the attack is made on",
        )
    asked = Query(network, inputs, target, reference, seed, case)
    if isinstance(explainer, AbstractCAM):
        layers = (explainer.layer,) if explainer.layer is not None else chosen(asked).layers
        if len(layers) != 1:
            raise CapabilityError(
                f"{len(layers)} layers of {type(network).__name__} to look at",
                "one",
                "name the layer, or attack one member",
            )
        return _OfCAM(explainer, asked, record(asked, layers[0], explainer._reshape))

    def of(image: Tensor) -> Tensor:
        maps = []
        for n in range(len(image)):
            tensors = (image[n : n + 1], *inputs.tensors[1:])
            case_of = Inputs(tensors, inputs.names, inputs.lone)
            found = explainer._attribute(_WithGraph(network, case_of, target, reference, seed, case))
            maps.append(found.relevance[0].sum(1, keepdim=True).to(image))
        return torch.cat(maps)

    def together(image: Tensor) -> Tensor:
        others = [x.expand(len(image), *x.shape[1:]) for x in inputs.tensors[1:]]
        case_of = Inputs((image, *others), inputs.names, inputs.lone)
        wide = None if reference is None else tuple(r.expand(len(image), *r.shape[1:]) for r in reference)
        found = explainer._attribute(_WithGraph(network, case_of, target, wide, seed, case))
        return found.relevance[0].sum(1, keepdim=True).to(image)

    return together if explainer.cases_together else of
