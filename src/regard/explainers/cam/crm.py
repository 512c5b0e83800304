"""What removing one cell of a layer does to the output."""

from collections.abc import Callable
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from regard.core.errors import CapabilityError, InputError
from regard.core.explainer import Form, Query
from regard.core.quantity import Promise, Quantity, Sign
from regard.core.randomness import normal
from regard.core.recording import LayerLike, Network
from regard.core.rows import rows_of
from regard.core.spatial import space
from regard.explainers.cam.base import AbstractCAM
from regard.explainers.cam.recorded import Recorded, Reshape, in_batches, open_tail

__all__ = ["CRM"]


_Read: TypeAlias = Callable[[object, int], Tensor]
"""An output of the network for n cases to numbers (n, outputs)."""


class CRM(AbstractCAM):
    """Class-selective relevance mapping: the change of the output when all channels of one cell are set to 0.

    The signed form is y - y(cell at 0) of the target, in output units. The published form is the sum over all outputs
    of the squared change, whatever the target: despite its name it is not class-selective, and has no sign.

    Where the tail is linear in the layer (global average pooling and a linear head, for one), what a cell does is
    gradient times activation, summed over its channels, and one pass is enough; linearity is checked on activations far
    from the case's own. Any other tail is evaluated once per cell, which serves regression and image outputs too.

    Parameters
    ----------
    network, layer, form, reshape
        As `AbstractCAM`.
    ablate
        ``"auto"``: the fast way where it is exact; ``"never"``: only the fast way; ``"always"``: cell by cell.

    Notes
    -----
    Kim, Rajaraman and Antani, Diagnostics 2019, 9(2), 38: sum_c (S_c - S_c(i, j))^2, where S_c(i, j) leaves out
    M_c(i, j) = sum_k w_kc A_k(i, j). As S_c - S_c(i, j) = M_c(i, j), that is the sum of the squared class activation
    maps. S_c is here the network's own output, so that M_c holds the 1/Z of the pooling, which the paper leaves out.

    Raises
    ------
    CapabilityError
        For ``ablate="never"``, if the tail is not linear.
    """

    quantity = Quantity.EFFECT
    sign = Sign.RAISED
    published_meaning = (Quantity.SCORE, Sign.UNSIGNED)
    cases_together = False
    compared_with = "this cell of the layer at 0"
    breaks = {Promise.COMPLETE: "effects of single cells, which need not add up where the tail is not linear"}

    def __init__(
        self,
        network: Network,
        layer: LayerLike = None,
        *,
        ablate: Literal["auto", "never", "always"] = "auto",
        form: Form = "signed",
        reshape: Reshape | str | None = None,
    ) -> None:
        super().__init__(network, layer, form=form, reshape=reshape)
        if ablate not in ("auto", "never", "always"):
            raise InputError(f"ablate={ablate!r}", "auto, never or always")
        self.ablate = ablate

    def _coarse(self, query: Query, recorded: Recorded) -> Tensor:
        with open_tail(query, recorded) as evaluate:
            run = _Tail(evaluate, recorded, self._outputs(query))
            effects = None
            if self.ablate == "never" or (self.ablate == "auto" and run.n_outputs <= run.n_cells):
                effects = run.linear_effects(query)
            if effects is None and self.ablate == "never":
                raise CapabilityError(
                    f"a network that is not linear after the layer '{recorded.name}'",
                    "global average pooling and a linear head, or the like",
                    "use ablate=auto",
                )
            effects = run.ablated_effects(query, self._reduce) if effects is None else self._reduce(effects)
        return effects.reshape(1, 1, *space(recorded.activations))

    def _published(self, coarse: Tensor) -> Tensor:
        return coarse

    def _outputs(self, query: Query) -> _Read:
        """What the effects are on, (n, outputs): the target, or in the published form everything the network gives."""
        if self.form == "published":
            return _everything
        return lambda output, n: query.value(output, n)[:, None]

    def _reduce(self, effects: Tensor) -> Tensor:
        """Effects (cell, output) to the map's values (cell,)."""
        return effects.square().sum(1) if self.form == "published" else effects[:, 0]


def _everything(output: object, n: int) -> Tensor:
    """All numbers of a network's output for n cases, (n, outputs)."""
    found = [t for t in tree_leaves(output) if isinstance(t, Tensor) and t.is_floating_point()]
    # A lone number beside the output, such as a loss, belongs to no case; a lone output of a lone case is its row.
    tensors = [t for t in found if t.ndim or len(found) == 1]
    return torch.cat([rows_of(t, n).reshape(n, -1) for t in tensors], 1)


class _Tail:
    """The network after a layer, for one case: its outputs, and how they depend on the layer's cells."""

    def __init__(self, evaluate: Callable[[Tensor], object], recorded: Recorded, read: _Read) -> None:
        self.evaluate, self.recorded, self.read = evaluate, recorded, read
        self.activations = recorded.activations
        self.n_cells = int(self.activations[0, 0].numel())
        with torch.no_grad():
            self.outputs = self._run(self.activations)
        self.n_outputs = int(self.outputs.shape[1])

    def _run(self, activations: Tensor) -> Tensor:
        output = self.evaluate(self.recorded.as_output(activations))
        return self.read(output, int(activations.shape[0])).to(self.activations)

    def linear_effects(self, query: Query) -> Tensor | None:
        """Effects (cell, output) as gradient times activation; None where the tail is not linear."""
        leaf = self.recorded.output.clone().requires_grad_()
        outputs = self.read(self.evaluate(leaf), 1)[0]
        gradients = torch.stack([self._gradient(output, leaf) for output in outputs])
        probes = self._probes(query)
        values = in_batches(query, len(probes), lambda items: self._run(probes[items.start : items.stop]), "crm")
        steps = (probes - self.activations).flatten(1)
        terms = gradients.flatten(1)
        expected = self.outputs + steps @ terms.T
        size = self.outputs.abs() + steps.abs() @ terms.abs().T
        rounding = min(1e3 * torch.finfo(self.recorded.output.dtype).eps, 1e-2)
        if bool(((values - expected).abs() > rounding * size).any()):
            return None
        return (gradients * self.activations).sum(1).flatten(1).T

    def _gradient(self, output: Tensor, leaf: Tensor) -> Tensor:
        """Derivative of one ``output`` with respect to the activations, (channel, \\*space)."""
        gradient = None
        if output.requires_grad:
            gradient = torch.autograd.grad(output, leaf, retain_graph=True, allow_unused=True)[0]
        gradient = torch.zeros_like(leaf) if gradient is None else gradient
        reshape = self.recorded.reshape
        return (gradient if reshape is None else reshape(gradient))[0].to(self.activations)

    def _probes(self, query: Query) -> Tensor:
        """Activations far from the case's own, on both sides of 0, (n, channel, \\*space)."""
        a = self.activations
        scale = 3 * a.abs().amax().clamp_min(1)
        drawn = [scale * normal(a, query.seed, query.case, f"crm probe {n}") for n in range(3)]
        return torch.cat([torch.zeros_like(a), -a, *drawn])

    def ablated_effects(self, query: Query, reduce: Callable[[Tensor], Tensor]) -> Tensor:
        """Effects by setting one cell after the other to 0, each reduced from (cell, output) to (cell,)."""

        def without(cells: range) -> Tensor:
            changed = self.activations.flatten(2).repeat(len(cells), 1, 1)
            changed[range(len(cells)), :, cells] = 0
            return reduce(self.outputs - self._run(changed.unflatten(2, space(self.activations))))

        return in_batches(query, self.n_cells, without, "crm")
