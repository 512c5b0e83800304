"""What is asked of a network: one scalar per case, of these inputs, and its gradient."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from regard.core import first_pass
from regard.core.batching import BatchSize, auto_batch_size
from regard.core.errors import CapabilityError
from regard.core.inputs import Inputs
from regard.core.recording import Network
from regard.core.rows import read_target, target_values
from regard.core.spatial import n_space
from regard.core.target import AbstractTarget, TargetLike

__all__ = ["Query", "no_gradient"]


def no_gradient(network: Network | None, start: str) -> CapabilityError:
    """Build the error for an output that no gradient ties to ``start``: never a silent map of zeros."""
    kind = "the network" if network is None else type(network).__name__
    return CapabilityError(
        f"an output of {kind} that no gradient ties to {start}",
        "a path of differentiable operations (no argmax, no detach, no torch.no_grad, no int8 layer)",
        "choose another target or layer, or a perturbation method such as occlusion",
    )


@dataclass
class Query:
    """What is asked of a network: one scalar per case, of these inputs.

    Parameters
    ----------
    network
        The network, unwrapped, in evaluation mode with frozen parameters.
    inputs
        The inputs of one case, or of a batch for methods that take cases together.
    wanted
        The target as the user gave it; read once an output has been seen.
    reference
        One tensor per input, or None.
    seed, case
        Key of the random draws.
    batch_size
        Items at once in `regard.core.batching.run`.
    mask
        Where to look, one tensor (batch, 1, \\*space) of bool per input; None for everywhere.
    """

    network: Network
    inputs: Inputs
    wanted: TargetLike = None
    reference: tuple[Tensor, ...] | None = None
    seed: int = 0
    case: str = ""
    batch_size: BatchSize = "auto"
    mask: tuple[Tensor, ...] | None = None
    _target: AbstractTarget | None = None

    def forward(self, tensors: Sequence[Tensor]) -> object:
        """The network's output for ``tensors``, one per input."""
        return self.inputs.call(self.network, tensors)

    def target(self, output: object, n_cases: int) -> AbstractTarget:
        """The target, read with the help of one ``output``, which the network gave for ``n_cases``."""
        if self._target is None:
            self._target = read_target(self.wanted, output, n_cases)
        return self._target

    def value(self, output: object, n_cases: int) -> Tensor:
        """The target's value (n_cases,) of an output that the network gave for ``n_cases``.

        Raises
        ------
        RowsError
            If the output, or the target's value of it, has not one row per case.
        """
        axes = max(n_space(x) for x in self.inputs.tensors)
        return target_values(self.target(output, n_cases), output, n_cases, axes)

    def score(self, tensors: Sequence[Tensor]) -> Tensor:
        """The target's value (batch,) for ``tensors``, one per input, each (batch, channel, \\*space)."""
        return self.value(self.forward(tensors), int(tensors[0].shape[0]))

    def of_the_case_alone(self) -> Tensor:
        """The target's value of the inputs as they are, without a graph.

        For methods that would ask about several changed inputs at once and never about the case itself: a network that
        squeezes its batch axis away looks right there, and is refused here.
        """
        with torch.no_grad():
            return self.score([x.clone() for x in self.inputs.tensors])

    def gradient(self, tensors: Sequence[Tensor], *, owned: bool = False) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Value (batch,) and its gradient with respect to each of ``tensors``.

        Parameters
        ----------
        tensors
            One per input, each (batch, channel, \\*space).
        owned
            Nobody else reads them: they are not copied.

        Raises
        ------
        CapabilityError
            If no gradient passes through the network.
        """
        begun = first_pass.take(self.network, tensors)
        if begun is None:
            leaves = [(x.detach() if owned else x.detach().clone()).requires_grad_() for x in tensors]
            output = self._unless_written_on(leaves) if owned else self.forward([leaf.clone() for leaf in leaves])
        else:
            leaves, output = begun
        value = self.value(output, int(leaves[0].shape[0]))
        if not value.requires_grad:
            raise no_gradient(self.network, "the input")
        gradients = torch.autograd.grad(value.sum(), leaves, allow_unused=True)
        if all(g is None for g in gradients):
            raise no_gradient(self.network, "any input" if len(leaves) > 1 else "the input")
        filled = [torch.zeros_like(x) if g is None else g for g, x in zip(gradients, leaves, strict=True)]
        return value.detach(), tuple(filled)

    def _unless_written_on(self, leaves: Sequence[Tensor]) -> object:
        """The output for ``leaves`` themselves; for copies of them where the network writes on its input."""
        try:
            return self.forward(leaves)
        except RuntimeError as error:
            if "leaf Variable" not in str(error):
                raise
            return self.forward([leaf.clone() for leaf in leaves])

    def copies(self, n: int) -> list[Tensor]:
        """The inputs of one case, n times, each (n, channel, \\*space), in memory of their own."""
        return [x.expand(n, *x.shape[1:]).clone() for x in self.inputs.tensors]

    def items_at_once(self, n_items: int, *, backward: bool = False) -> int:
        """The batch size for n items, resolved when it is ``"auto"``; with ``backward``, of items with gradients."""
        if self.batch_size != "auto":
            return self.batch_size
        return min(auto_batch_size(x, n_items, backward=backward) for x in self.inputs.tensors)
