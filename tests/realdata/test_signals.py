"""Real recordings, written as people have them, are read to the count; and one goes to a map and home."""

from pathlib import Path

import numpy as np
import pytest
import torch
from signals import write_all
from torch import nn

import regard
from regard.io import read
from regard.models import Model
from regard.models.card import InputSpec, ModelCard, OutputSpec


@pytest.fixture(scope="module")
def headers(data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_all(data, tmp_path_factory.mktemp("signals"))


def test_every_record_is_read_to_the_count(data: Path, headers: list[Path]):
    assert len(headers) == 47
    for header in headers:
        twelve = data / "ecg_12lead" / f"{header.stem}.npz"
        path = twelve if twelve.exists() else data / "ecg_mitbih" / f"{header.stem}.npz"
        samples = np.atleast_2d(np.load(path)["signal"])
        volume = read(header)
        per_mv, rate = (1000, 500) if twelve.exists() else (200, 360)
        assert (volume.signal.rate_hz, volume.unit) == (rate, "mV")
        assert np.array_equal((volume.tensor[..., 0, 0].double() * per_mv).round().numpy(), samples)


def test_a_table_with_times_is_the_record_again(headers: list[Path]):
    for header in (h for h in headers if h.with_suffix(".dat").exists()):
        table, record = read(header.with_name(f"{header.stem}-10s.csv")), read(header)
        assert table.signal.rate_hz == 360
        torch.testing.assert_close(table.tensor, record.tensor[:, :3600])


def test_a_scalp_recording_without_times_needs_its_rate(data: Path):
    path = data / "eeg_spindle" / "eeg_sample_30s_250hz.csv"
    volume = read(path, rate_hz=250)
    assert volume.shape[0] == 7500
    assert volume.grid.to_world((7500, 0, 0))[0] == pytest.approx(30)


def test_twelve_leads_at_500_hz_go_into_a_network_of_three_at_250_and_home(headers: list[Path]):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv1d(3, 4, 15), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 1))
    spec = InputSpec(name="ecg", rate_hz=250, leads=("II", "V1", "V5"), shape=(2500,), unit="mV")
    model = Model(network, ModelCard(name="m", inputs=(spec,), output=OutputSpec(kind="regression", units=("mV",))))
    record = read(next(h for h in headers if h.stem == "HR06000"))
    found = regard.explain(model, record, "input-x-gradient", reference=0.0)
    assert found.leads == ("II", "V1", "V5")
    assert found.by_lead.tensor.shape == (3, record.shape[0], 1, 1)
    assert found.total == pytest.approx(float(found.by_lead.tensor.double().nansum()), rel=1e-6)
