"""A network that writes on what it is given: paths give it tensors of their own, and copies where it does."""

import pytest
import torch
from torch import Tensor, nn

import regard


class Writes(nn.Module):
    """Rectifies its input in place."""

    def __init__(self, *, writes: bool) -> None:
        super().__init__()
        self.writes = writes
        torch.manual_seed(0)
        self.rest = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(3 * 36, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.rest(torch.relu_(x) if self.writes else torch.relu(x))


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("method", [regard.IntegratedGradients, regard.LAM])
def test_the_map_is_that_of_the_network_that_does_not_write(method: type, batch_size: int) -> None:
    x = torch.randn(1, 1, 8, 8)
    before = x.clone()
    maps = [method(Writes(writes=w).eval(), n_steps=9).attribute(x, batch_size=batch_size) for w in (True, False)]
    torch.testing.assert_close(maps[0], maps[1], rtol=1e-6, atol=1e-8)
    assert torch.equal(x, before)
