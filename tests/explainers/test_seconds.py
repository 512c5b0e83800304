"""Times instead of samples, and a filling that goes straight from before a window to behind it."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import regard
from regard.core.errors import InputError
from regard.core.volume import Volume
from regard.explainers.perturbation.fillers import edge_line
from regard.models import Model
from regard.models.card import InputSpec, ModelCard, OutputSpec


class Total(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.square().sum((1, 2))[:, None]


def _model(rate_hz: float) -> Model:
    card = ModelCard(name="total", inputs=(InputSpec(rate_hz=rate_hz, leads=("a", "b")),),
                     output=OutputSpec(kind="regression"))  # fmt: skip
    return Model(Total(), card)


@pytest.mark.parametrize("rate_hz", [100.0, 200.0])
@pytest.mark.parametrize(("text", "seconds"), [("0.1s", 0.1), ("250ms", 0.25)])
def test_a_window_in_seconds_is_that_many_samples_of_the_network(rate_hz: float, text: str, seconds: float):
    record = Volume.of_signal(np.random.default_rng(0).normal(size=(2, 200)), 100, ["a", "b"])
    timed = regard.explain(_model(rate_hz), record, f"occlusion:window={text},stride=50ms")
    n, s = round(seconds * rate_hz), round(0.05 * rate_hz)
    counted = regard.explain(_model(rate_hz), record, f"occlusion:window={n},stride={s}")
    assert torch.equal(timed.relevance.tensor, counted.relevance.tensor)
    assert timed.knobs["window"] == n


def test_a_time_is_refused_for_an_image_and_a_time_of_nothing_for_a_signal():
    card = ModelCard(
        name="m", inputs=(InputSpec(orientation="PL", shape=(8, 8)),), output=OutputSpec(kind="regression")
    )
    flat = Model(Total2d(), card)
    with pytest.raises(InputError, match="signal of one rate"):
        regard.explain(flat, Volume.from_array(np.random.default_rng(0).normal(size=(8, 8))), "occlusion:window=1s")
    record = Volume.of_signal(np.ones((2, 50)), 100, ["a", "b"])
    with pytest.raises(InputError, match="above 0"):
        regard.explain(_model(100), record, "occlusion:window=0s")


class Total2d(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.square().sum((1, 2, 3))[:, None]


@pytest.mark.parametrize("window", [slice(10, 26), slice(30, 33)])
def test_a_line_across_a_straight_signal_changes_nothing(window: slice):
    ramp = torch.stack([torch.linspace(-3, 5, 40, dtype=torch.float64), torch.linspace(2, 1, 40, dtype=torch.float64)])[
        None
    ]
    torch.testing.assert_close(edge_line(ramp, (window,)), ramp[0][:, window], rtol=0, atol=1e-12)


def test_a_line_takes_a_wave_from_its_baseline_and_is_level_at_an_end():
    times = torch.arange(100, dtype=torch.float64)
    wave = torch.exp(-(((times - 50) / 4) ** 2))
    x = (0.01 * times + wave)[None, None]
    taken = edge_line(x, (slice(30, 70),))[0]
    torch.testing.assert_close(taken, 0.01 * times[30:70], rtol=0, atol=1e-6)
    level = edge_line(x, (slice(0, 16),))[0]
    torch.testing.assert_close(level, level[:1].expand(16))
    assert float(level[0]) == pytest.approx(float(x[0, 0, 16:18].mean()))
    with pytest.raises(InputError, match="line"):
        edge_line(torch.zeros(1, 1, 4, 4), (slice(0, 2), slice(0, 2)))


def test_hiding_a_wave_by_a_line_takes_away_its_energy_and_no_baseline():
    times = np.arange(200) / 100
    wave = np.exp(-(((times - 0.895) / 0.02) ** 2))
    record = Volume.of_signal(np.stack([5 + wave, 5 * np.ones(200)]), 100, ["a", "b"])
    found = regard.explain(_model(100), record, "occlusion:window=0.2s,stride=0.2s,filler=line")
    effects = found.relevance.tensor[0, :, 0, 0]
    # Windows off the wave are already what fills them; the wave's own holds what the closed form says.
    assert float(effects[:60].abs().max()) < 1e-3
    expected = ((5 + wave) ** 2 - 25).sum()
    assert float(effects[80]) == pytest.approx(float(expected), rel=0.02)
