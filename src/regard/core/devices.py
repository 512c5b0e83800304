"""Where a network takes its inputs, and images that go there part by part and come back."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["answers", "device_of", "placed", "sent"]


def device_of(network: object) -> torch.device | None:
    """Where a network takes its inputs: where its weights are, or where it says; None where nothing tells."""
    if isinstance(network, nn.Module):
        for tensor in (*network.parameters(), *network.buffers()):
            return tensor.device
    device = getattr(network, "device", None)
    return device if isinstance(device, torch.device) else None


def sent(tensor: Tensor, network: object) -> Tensor:
    """A tensor where a network takes its inputs: itself where it is there already, or where nothing tells."""
    device = device_of(network)
    return tensor if device is None else tensor.to(device)


@contextmanager
def placed(network: object, device: torch.device) -> Iterator[None]:
    """Within this context a module lies on a device; afterwards it is where it was, whoever moved it meanwhile."""
    before = device_of(network)
    if not isinstance(network, nn.Module) or before is None:
        yield
        return
    network.to(device)
    try:
        yield
    finally:
        network.to(before)


@torch.no_grad()
def answers(
    network: Any,
    images: Tensor,
    *,
    batch: int = 16,
    change: Callable[[Tensor], Tensor] = lambda part: part,
    read: Callable[[Any], Tensor] = lambda output: output,
    at: object = None,
) -> Tensor:
    """What a network says of many images, which stay where they are.

    Parameters
    ----------
    network
        A network or a model.
    images
        (case, channel, \\*space), anywhere.
    batch
        Images that are on the network's device at once.
    change
        What is done to a part, where it lies, before the network sees it.
    read
        What is kept of an output for a part: (case of the part, ...).
    at
        The network that tells where, when ``network`` is a part of it.

    Returns
    -------
    torch.Tensor
        (case, ...), where the images are.
    """
    where = network if at is None else at
    parts = (network(sent(change(part), where)) for part in images.split(batch))
    return torch.cat([read(output).to(images.device) for output in parts])
