"""Regions of signals in seconds, on the grid of any recording."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import regard
from regard.core.errors import InputError, RegardError
from regard.core.geometry import resample
from regard.core.volume import Volume
from regard.io.intervals import is_interval_table, read_intervals
from regard.io.regions import read_region
from regard.models import Model
from regard.models.card import InputSpec, ModelCard, OutputSpec
from regard.runs.weigh_truth import Truth

TABLE = "onset\toffset\tlabel\n0.10\t0.20\tQRS\n0.30\t0.50\tT\n1.10\t1.20\tQRS\n"


@pytest.fixture
def waves(tmp_path: Path) -> Path:
    path = tmp_path / "waves.tsv"
    path.write_text(TABLE)
    return path


@pytest.mark.parametrize("rate", [100.0, 360.0, 500.0])
@pytest.mark.parametrize(("label", "spans"), [("QRS", [(0.1, 0.2), (1.1, 1.2)]), ("T", [(0.3, 0.5)]),
                                              ("", [(0.1, 0.2), (0.3, 0.5), (1.1, 1.2)])])  # fmt: skip
def test_a_region_holds_the_samples_of_its_intervals_at_any_rate(waves: Path, rate: float, label: str, spans: list):
    record = Volume.of_signal(np.zeros(int(2 * rate)), rate)
    region = read_region(f"{waves}#{label}" if label else str(waves))
    inside = resample(region, record.grid, order=0).tensor[0, :, 0, 0] > 0.5
    times = np.arange(record.shape[0]) / rate
    # A sample at the very end of an interval may fall to either side.
    sure = np.min([np.abs(times - edge) for span in spans for edge in span], axis=0) > 1e-3
    wanted = np.any([(times >= a) & (times <= b) for a, b in spans], axis=0)
    assert np.array_equal(inside.numpy()[sure], wanted[sure])


def test_events_with_a_duration_are_intervals_too(tmp_path: Path):
    path = tmp_path / "sub-01_events.tsv"
    path.write_text("onset\tduration\ttrial_type\n1.0\t0.5\tspindle\n")
    assert [tuple(i) for i in read_intervals(path)] == [(1.0, 1.5, "spindle")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("onset\tlabel\n1\ta\n", "offset"),
        ("onset\toffset\tlabel\n1\t0.5\ta\n", "later end"),
        ("onset\toffset\tlabel\nnan\t0.5\ta\n", "seconds"),
        ("onset\toffset\tlabel\n1\tx\ta\n", "seconds"),
        ("onset\toffset\tlabel\n0\t1\tb\n", "a label among b"),
    ],
)
def test_a_table_that_says_no_time_is_refused(tmp_path: Path, text: str, said: str):
    path = tmp_path / "w.tsv"
    path.write_text(text)
    with pytest.raises(RegardError, match=said):
        read_region(f"{path}#a")


class Square(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.square()


def test_the_mean_of_an_output_signal_over_waves_is_a_target_and_a_mask_keeps_them(waves: Path):
    values = np.random.default_rng(0).normal(size=1000) + 2
    record = Volume.of_signal(values, 500, ["II"], unit="mV")
    card = ModelCard(name="square", inputs=(InputSpec(rate_hz=500, leads=("II",), unit="mV"),),
                     output=OutputSpec(kind="image"))  # fmt: skip
    model = Model(Square(), card)
    found = regard.explain(model, record, "gradient", target=f"mean:{waves}#QRS")
    times = np.arange(1000) / 500
    inside = ((times >= 0.1) & (times <= 0.2)) | ((times >= 1.1) & (times <= 1.2))
    slope = found.relevance.tensor[0, :, 0, 0].numpy()
    assert found.prediction == pytest.approx(float((values[inside] ** 2).mean()), rel=0.03)
    well_inside = inside & np.roll(inside, 1) & np.roll(inside, -1)
    np.testing.assert_allclose(slope[well_inside], 2 * values[well_inside] / inside.sum(), rtol=0.03)
    outside = ~(inside | np.roll(inside, 1) | np.roll(inside, -1))
    assert not slope[outside].any()
    masked = regard.explain(model, record, "gradient", target=f"mean:{waves}", mask=read_region(f"{waves}#T"))
    seen = torch.isfinite(masked.relevance.tensor[0, :, 0, 0]).numpy()
    assert seen.sum() == pytest.approx(100, abs=2)


def test_a_table_of_waves_is_a_truth_by_label(waves: Path):
    assert is_interval_table(waves)
    record = Volume.of_signal(np.zeros(1000), 500)
    truth = Truth(f"{waves}#QRS")
    assert truth.column is None
    assert truth.label is None
    from regard.io import Case

    found = truth.of(Case("a", {"image": waves}), record)
    assert float(found.tensor.mean()) == pytest.approx(0.2 / 1.1, abs=0.01)
    with pytest.raises(InputError, match="whole number"):
        Truth("maps.nii.gz#QRS")
