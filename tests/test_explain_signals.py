"""A signal from its file to its map: leads by name, resampling with its adjoint, a column a lead, and a run resumed."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent / "io"))

from signal_files import write_mat

import regard
from regard.core.errors import InputError
from regard.core.volume import Volume
from regard.io import read, read_map, save_map
from regard.models import Model
from regard.models.card import InputSpec, ModelCard, OutputSpec, validate_card
from regard.models.case import prepare_case

LEADS = ("V1", "I")


class Weighted(nn.Module):
    """A weighted sum of all samples: its contributions are known in closed form."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.linspace(-1, 2, 2 * n).reshape(1, 2, n) ** 3)

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.w).sum((1, 2))[:, None]


def _model(n: int, rate_hz: float, **spec: object) -> Model:
    inputs = InputSpec(name="ecg", rate_hz=rate_hz, leads=LEADS, shape=(n,), unit="mV", **spec)  # type: ignore[arg-type]
    card = ModelCard(name="weighted", inputs=(inputs,), output=OutputSpec(kind="regression", units=("ms",)))
    return Model(Weighted(n), card)


def _record(n: int = 300, rate: float = 500.0, seed: int = 0) -> Volume:
    values = np.random.default_rng(seed).normal(size=(4, n)).cumsum(1) / 10
    return Volume.of_signal(values, rate, ["I", "II", "V1", "V2"], unit="mV")


def test_leads_come_by_name_whatever_their_order_case_and_unit():
    model, record = _model(300, 500), _record()
    straight = prepare_case(model, {"ecg": record}).inputs.tensors[0]
    facts = record.signal
    assert facts is not None
    turned = record.lead_numbers([3, 2, 1, 0])
    in_uv = Volume.of_signal(
        turned.tensor[..., 0, 0] * 1000, 500, [f"ECG {n.lower()}" for n in turned.signal.leads], unit="uV"
    )
    torch.testing.assert_close(prepare_case(model, {"ecg": in_uv}).inputs.tensors[0], straight)
    torch.testing.assert_close(straight[0], record.tensor[[2, 0], :, 0, 0].float())
    with pytest.raises(InputError, match="without V1"):
        prepare_case(model, {"ecg": record.lead_numbers([0, 1])})


@pytest.mark.parametrize("rate", [250.0, 360.0, 1000.0])
@pytest.mark.parametrize("n", [100, 150, 400])
def test_contributions_come_home_with_their_total_at_any_rate_and_length(rate: float, n: int):
    model, record = _model(n, rate), _record()
    explanation = regard.explain(model, record, "input-x-gradient", reference=0.0)
    case = prepare_case(model, {"ecg": record})
    x = case.inputs.tensors[0]
    inside = explanation.total
    assert inside is not None
    total = float((x.double() * model.network.w.detach().double()).sum())
    assert inside + explanation.outside == pytest.approx(total, rel=1e-4, abs=1e-3)
    # By hand: the transposed interpolation of each lead, written as the effect of each sample of the recording.
    assert explanation.by_lead is not None
    assert explanation.leads == LEADS
    per_network = (x * model.network.w)[0].double()
    part = case.parts[0].prepared
    assert part is not None
    carried = part.carried(torch.eye(300, dtype=torch.float64)[..., None, None])[..., 0, 0]
    for lead in range(2):
        home = (carried * per_network[lead]).sum(1).detach()
        torch.testing.assert_close(
            explanation.by_lead.tensor[lead, :, 0, 0].nan_to_num().double(), home, rtol=1e-4, atol=1e-4
        )


def test_off_the_recording_a_lead_stays_at_its_median_and_not_at_its_lowest():
    record = _record(100)
    x = prepare_case(_model(300, 500), {"ecg": record}).inputs.tensors[0][0]
    for lead, number in enumerate((2, 0)):
        outside = x[lead, :90]
        assert outside.unique().numel() == 1
        assert float(outside[0]) == pytest.approx(float(record.tensor[number].median()), abs=1e-6)


def test_a_map_is_saved_with_a_column_a_lead_and_read_back_to_the_bit(tmp_path: Path):
    explanation = regard.explain(_model(150, 250), _record(), "input-x-gradient", reference=0.0)
    path = tmp_path / "a_desc-m_relevance.tsv"
    save_map(explanation, path)
    rows = [line.split("\t") for line in path.read_text().splitlines()]
    assert rows[0] == ["time_s", "V1", "I"]
    assert [float(r[0]) for r in rows[1:4]] == pytest.approx([0, 0.002, 0.004])
    stored = read_map(path)
    assert torch.equal(stored.by_lead.tensor, explanation.by_lead.tensor)
    again = stored.explanation(_record())
    assert again.leads == LEADS
    assert again.scan.signal.leads == LEADS
    torch.testing.assert_close(again.relevance.tensor, explanation.relevance.tensor, rtol=1e-5, atol=1e-6)
    assert torch.equal(stored.on_network.relevance.flatten(), explanation.on_network.relevance.flatten())
    # Read as any recording, the file is one: its own leads, at the scan's rate.
    assert read(path).signal.rate_hz == 500
    with pytest.raises(InputError, match=r"ends in \.tsv"):
        save_map(explanation, tmp_path / "a.nii.gz")


def test_a_method_that_hides_all_leads_has_one_column(tmp_path: Path):
    explanation = regard.explain(_model(300, 500), _record(), "occlusion:window=50")
    assert explanation.by_lead is None
    path = tmp_path / "a.tsv"
    save_map(explanation, path)
    assert path.read_text().splitlines()[0] == "time_s\tall leads"
    assert torch.equal(read_map(path).relevance.tensor, explanation.relevance.tensor)


def test_a_signal_is_refused_for_images_and_an_image_for_signals():
    flat = ModelCard(
        name="flat", inputs=(InputSpec(orientation="PL", shape=(8, 8)),), output=OutputSpec(kind="regression")
    )
    with pytest.raises(InputError, match="a signal for the input"):
        prepare_case(Model(nn.Flatten(), flat), {"image": _record()})
    with pytest.raises(InputError, match="an image for the input"):
        prepare_case(_model(8, 500), {"ecg": Volume.from_array(np.ones((8, 8)))})


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"rate_hz": 500, "spacing_mm": [1.0]}, "beside rate_hz"),
        ({"rate_hz": 500, "shape": [10, 10]}, "one entry"),
        ({"rate_hz": 500, "shape": [10], "fit": "resize"}, "crop-pad"),
        ({"leads": ["I", "I"]}, "different names"),
        ({"leads": ["I"], "channels": 2}, "different names"),
        ({"rate_hz": 0}, "greater than 0"),
    ],
)
def test_a_card_that_contradicts_itself_on_signals_is_refused(keys: dict, said: str):
    content = {"name": "m", "inputs": [{"name": "ecg", **keys}], "output": {"kind": "regression"}}
    with pytest.raises(InputError, match=said):
        validate_card(content)


def test_a_bare_network_takes_an_array_of_leads():
    network = nn.Sequential(nn.Conv1d(2, 3, 5), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 36, 1))
    explanation = regard.explain(network, np.random.default_rng(0).normal(size=(2, 40)), "gradient")
    assert explanation.leads == ("1", "2")
    assert explanation.by_lead.tensor.shape == (2, 40, 1, 1)


def test_a_run_goes_from_a_record_to_tables_pictures_and_a_report_and_is_resumed(tmp_path: Path):
    from regard import runs

    counts = (np.random.default_rng(5).normal(size=(4, 400)).cumsum(1) * 100).astype(int)
    header = write_mat(tmp_path, counts)
    torch.jit.trace(Weighted(200), torch.zeros(1, 2, 200)).save(str(tmp_path / "net.ts"))
    (tmp_path / "net.ts.card.yaml").write_text(
        "schema: regard.card/1\nname: weighted\n"
        "inputs: [{name: ecg, rate_hz: 250, leads: [V1, I], shape: [200], unit: mV}]\n"
        "output: {kind: regression, units: [ms]}\n"
    )
    request = runs.ExplainRequest(
        model=str(tmp_path / "net.ts"), paths=header, methods=("gradient", "occlusion"), output=tmp_path / "run",
        trust=True, quiet=True,
    )  # fmt: skip
    done = runs.explain(request)
    assert not done.failed
    files = {p.name for p in (tmp_path / "run" / "maps").iterdir()}
    assert {"A0001_desc-gradient_relevance.tsv", "A0001_desc-gradient_relevance.png"} <= files
    assert "A0001_space-network_desc-occlusion_relevance.tsv" in files
    assert not any(name.endswith(".nii.gz") for name in files)
    page = (tmp_path / "run" / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 2
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "run" / "maps").glob("*.tsv")}
    runs.explain(request)
    assert {p: p.stat().st_mtime_ns for p in before} == before


def test_the_viewer_lists_the_tables_of_a_run(tmp_path: Path):
    from regard.report.view import Site

    maps = tmp_path / "maps"
    maps.mkdir()
    save_map(regard.explain(_model(300, 500), _record(), "gradient"), maps / "a_desc-gradient_relevance.tsv")
    site = Site(tmp_path, "token")
    kind, _, page = site.answer("")
    assert b'href="maps/a_desc-gradient_relevance.tsv"' in page
    assert page.count(b"Table of the map") == 1
    assert site.answer("maps/a_desc-gradient_relevance.tsv")[2].is_file()


def test_a_cohort_of_beats_has_a_table_by_waves_and_its_population_over_time(tmp_path: Path):
    from regard import runs

    rows = ["case\timage\trate_hz"]
    generator = np.random.default_rng(0)
    for k in range(4):
        beat = generator.normal(size=(2, 100))
        (tmp_path / f"p{k}.csv").write_text("V1,I\n" + "\n".join(f"{a:.6f},{b:.6f}" for a, b in beat.T))
        rows.append(f"p{k}\tp{k}.csv\t250")
    (tmp_path / "beats.tsv").write_text("\n".join(rows) + "\n")
    (tmp_path / "waves.tsv").write_text("onset\toffset\tlabel\n0.05\t0.1\tQRS\n0.2\t0.3\tT\n")
    torch.jit.trace(Weighted(100), torch.zeros(1, 2, 100)).save(str(tmp_path / "net.ts"))
    (tmp_path / "net.ts.card.yaml").write_text(
        "schema: regard.card/1\nname: weighted\n"
        "inputs: [{name: ecg, rate_hz: 250, leads: [V1, I], shape: [100]}]\n"
        "output: {kind: regression, units: [ms]}\n"
    )
    runs.cohort(
        runs.CohortRequest(
            model=str(tmp_path / "net.ts"),
            table=tmp_path / "beats.tsv",
            methods=("gradient",),
            trust=True,
            atlas=tmp_path / "waves.tsv",
            output=tmp_path / "out",
            quiet=True,
        )
    )
    table = [line.split("\t") for line in (tmp_path / "out" / "regions.tsv").read_text().splitlines()]
    share = {row[0]: float(row[table[0].index("share")]) for row in table[1:]}
    weights = Weighted(100).w[0].sum(0).detach().numpy()
    times = np.arange(100) / 250
    # The gradient of a weighted sum is its weights, for every case.
    for wave, (onset, offset) in {"QRS": (0.05, 0.1), "T": (0.2, 0.3)}.items():
        inside = (times >= onset) & (times <= offset)
        assert share[wave] == pytest.approx(np.abs(weights[inside]).sum() / np.abs(weights).sum(), rel=1e-4)
    over_time = [
        line.split("\t") for line in (tmp_path / "out" / "population" / "desc-gradient.tsv").read_text().splitlines()
    ]
    assert over_time[0] == ["time_s", "mean", "std", "t", "n"]
    np.testing.assert_allclose([float(r[1]) for r in over_time[1:]], weights, rtol=1e-4, atol=1e-5)
