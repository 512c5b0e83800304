"""Why a network failed on an input: another number type or device, weights of inference mode, an exported shape.

torch's own words name an inner layer; the reason lies in the two tensors that met.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor, nn

from regard.core.batching import is_out_of_memory
from regard.core.errors import CapabilityError, InputError, RegardError, ShapeError
from regard.core.recording import Network, unwrap

__all__ = ["mismatch", "mismatch_told"]


def _short(values: object) -> str:
    return str(values).removeprefix("torch.")


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0][:100]


def mismatch(network: Network, tensors: Sequence[Tensor], error: BaseException) -> InputError | None:
    """The reason in one sentence, where the network's weights and its inputs show one; else None."""
    plain = unwrap(network)
    if not isinstance(plain, nn.Module):
        return None
    kind = type(plain).__name__
    if "Guard failed" in str(error):
        shapes = ", ".join(str(tuple(x.shape)) for x in tensors)
        return CapabilityError(
            f"an exported program that refuses what a method asks of it for an input of {shapes} ({_line(error)})",
            "one that takes any number of cases, or 1, of this size",
            "export it again with dynamic_shapes, the batch axis dynamic",
        )
    weights = [*plain.parameters(), *plain.buffers()]
    if "nference tensor" in str(error) and any(w.is_inference() for w in weights):
        return CapabilityError(
            f"a network {kind} whose weights were made under torch.inference_mode",
            "weights that gradients can pass through",
            "build or load the network outside torch.inference_mode",
        )
    devices = sorted({str(w.device) for w in weights})
    for x in tensors:
        if devices and str(x.device) not in devices:
            return ShapeError(
                f"an input on {x.device} for a network {kind} on {', '.join(devices)}",
                "both on one device",
                f"move the input: x.to('{devices[0]}')",
            )
    kinds = sorted({_short(w.dtype) for w in weights if w.is_floating_point()})
    for x in tensors:
        if kinds and _short(x.dtype) not in kinds:
            return ShapeError(
                f"an input of {_short(x.dtype)} for a network {kind} of {', '.join(kinds)}",
                "both of one type",
                f"convert the input: x.to(torch.{kinds[0]})",
            )
    return None


@contextmanager
def mismatch_told(network: Network, tensors: Sequence[Tensor]) -> Iterator[None]:
    """Within this context an error of torch that the types or places of weights and inputs explain is told so."""
    try:
        yield
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        reason = None
        if not isinstance(error, RegardError) and not is_out_of_memory(error):
            reason = mismatch(network, tensors, error)
        if reason is None:
            raise
        raise reason from error
