"""What the two rollouts share: one forward pass on the tape, and the way from tokens to the image."""

import itertools
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from regard.core.errors import CapabilityError, ShapeError
from regard.core.explainer import AbstractExplainer, Attribution, Form, Query, no_gradient
from regard.core.quantity import Quantity, Sign
from regard.core.recording import Network
from regard.core.spatial import has_space, space
from regard.explainers.attention.tape import AttentionTape
from regard.explainers.attention.tokens import place_tokens, rows_read
from regard.explainers.knobs import sizes

__all__ = ["AbstractRollout"]

_DO = "choose integrated-gradients, lrp or occlusion"


class AbstractRollout(AbstractExplainer):
    """A map of the tokens that the output attends to, through all blocks of a transformer.

    Attention is taken from the network as it runs: `nn.MultiheadAttention` and `nn.TransformerEncoderLayer`,
    `scaled_dot_product_attention`, or a softmax over keys that multiplies values; no module is touched. A class token
    is read where the output depends on one token behind the last block, and the mean over tokens where it depends on
    several. What a decoder reads of earlier blocks is not in the map.

    Parameters
    ----------
    network
        A transformer whose tokens are patches of the whole image, with or without class and register tokens.
    grid
        Patches along each axis, such as ``14x14``; by default from the convolution that embeds them, or from the
        number of tokens.
    form
        Both forms are the same.

    Raises
    ------
    CapabilityError
        If the network has no attention, or attends in windows (Swin), across, or in parallel branches.
    """

    quantity = Quantity.SCORE
    sign = Sign.UNSIGNED
    without_space = "NaN: it has no tokens of its own"
    reads_attention: ClassVar[bool] = True
    """The laws run on a network with attention."""

    def __init__(self, network: Network, *, grid: int | Sequence[int] | None = None, form: Form = "signed") -> None:
        super().__init__(network, form=form)
        self.grid = None if grid is None else sizes("grid", grid)

    @abstractmethod
    def _rolled(self, probabilities: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
        """Relevance of each token (column) for each token behind the last block (row), (token, token), float64.

        Parameters
        ----------
        probabilities, gradients
            Of each block, (head, token, token), float64.
        """

    def _attribute(self, query: Query) -> Attribution:
        which = _image(query)
        size = space(query.inputs.tensors[which])
        leaves = [x.detach().clone().requires_grad_() for x in query.inputs.tensors]
        with AttentionTape() as tape:
            value = query.score([leaf.clone() for leaf in leaves])
        if not value.requires_grad:
            raise no_gradient(query.network, "the input")
        maps = _checked(tape, query)
        gradients = torch.autograd.grad(value.sum(), maps, allow_unused=True)
        slopes = [torch.zeros_like(p) if g is None else g for p, g in zip(maps, gradients, strict=True)]
        n_tokens = maps[0].shape[-1]
        heads, slopes = (
            [t.detach().double().reshape(-1, n_tokens, n_tokens) for t in tensors] for tensors in (maps, slopes)
        )
        given = (self.grid,) * len(size) if isinstance(self.grid, int) else self.grid
        tokens = place_tokens(n_tokens, size, tape, given)
        rows = rows_read(slopes)
        drawn = tokens.on_grid(self._rolled(heads, slopes)[rows].mean(0), size)
        blank = [torch.full_like(x, torch.nan, dtype=torch.float64) for x in query.inputs.tensors]
        notes: dict[str, Any] = {
            "blocks": len(maps),
            "token_grid": "x".join(map(str, tokens.grid)),
            "further_tokens": n_tokens - tokens.n_patches,
            "reads": f"token {int(rows[0])}" if len(rows) == 1 else f"the mean of {len(rows)} tokens",
        }
        if tape.decoded:
            notes["leaves_out"] = "what the decoder reads of the image and of earlier blocks"
        relevance = tuple(drawn if n == which else b for n, b in enumerate(blank))
        return Attribution(relevance, value.detach(), notes=notes)


def _image(query: Query) -> int:
    """Number of the one input that has places."""
    placed = [n for n, x in enumerate(query.inputs.tensors) if has_space(x)]
    if len(placed) != 1:
        raise CapabilityError(
            f"{len(placed)} inputs with places", "one, whose patches are the tokens", "choose integrated-gradients"
        )
    return placed[0]


def _checked(tape: AttentionTape, query: Query) -> list[Tensor]:
    """The probabilities of each block, if they are a sequence of blocks over the same tokens of one case."""
    kind = type(query.network).__name__
    maps, expected = tape.probabilities, "a sequence of blocks in which all tokens of the image attend to all"
    if tape.other:
        raise CapabilityError(f"attention of {tape.other[0]}, not from tokens to the same tokens", expected, _DO)
    if not maps:
        raise CapabilityError(f"{kind}, a network in which no attention was met", "a transformer", _DO)
    shapes = sorted({tuple(p.shape) for p in maps})
    folded = [s for s in shapes if len(s) > 3 and s[0] > 1]
    if folded or len({s[-1] for s in shapes}) > 1:
        raise CapabilityError(
            f"attention of {' and '.join(map(str, (folded or shapes)[:3]))} for one case: in windows (as Swin's), "
            "slice by slice, or over tokens that are merged on the way",
            expected,
            _DO,
        )
    if not all(p.requires_grad for p in maps):
        raise no_gradient(query.network, "its attention")
    for before, after in itertools.pairwise(maps):
        if not _leads_to(before, after):
            raise CapabilityError(f"{kind}, whose attention runs in parallel branches", expected, _DO)
    if any(n < 1 for n in maps[0].shape):
        raise ShapeError(f"attention of {tuple(maps[0].shape)}", "at least one token")
    return maps


def _leads_to(before: Tensor, after: Tensor) -> bool:
    """Whether ``after`` was computed from ``before``."""
    wanted, waiting, seen = before.grad_fn, [after.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is wanted:
            return True
        if node is not None and node not in seen:
            seen.add(node)
            waiting.extend(n for n, _ in node.next_functions)
    return False
