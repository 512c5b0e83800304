"""The benchmark: its statistics by brute force, its controls, and a whole run that is cut off and goes on."""

import csv
import html
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from regard.bench import markdown
from regard.bench import run as bench_run
from regard.bench.cell import Cell, run_cell
from regard.bench.controls import control_maps
from regard.bench.measuring import gauges
from regard.bench.plan import SIZES, BenchPlan
from regard.bench.question import question_of
from regard.bench.run import run_bench
from regard.bench.statistics import crossed_error, crossed_interval
from regard.bench.table import ALL, COLUMNS, DETECTION, EFFECT, MODEL, Row, dose_of, rows
from regard.core.errors import FileError, TargetError, UnknownNameError
from regard.core.quantity import Quantity, Sign
from regard.core.target import Output
from regard.evidence.measure import Exhibit
from regard.evidence.shortcut import detection_threshold
from regard.io import RunFolder
from regard.phantoms import PHANTOMS
from regard.phantoms.oracles import LinearOracle
from regard.phantoms.truth import TruePlaces, change_of_image, model_truth
from regard.testing.two_devices import ACCELERATOR, two_devices

TINY = BenchPlan(
    "smoke",
    methods=("gradient", "occlusion:window=6,stride=6"),
    measures=("average-precision", "relevance-mass"),
    phantoms=("linear", "suppressor", "decoy-0", "decoy-0.9"),
    shape=(16, 16),
    n_networks=2,
    n_train=16,
    n_test=6,
    n_explained=3,
    n_epochs=1,
)


def test_the_crossed_error_is_that_of_the_two_way_layout() -> None:
    random = np.random.default_rng(0)
    networks, patients, noise = 0.3, 0.5, 0.4
    shape = (20000, 6, 15)
    values = networks * random.standard_normal((shape[0], 6, 1)) + patients * random.standard_normal((shape[0], 1, 15))
    values = values + noise * random.standard_normal(shape)
    exact = networks**2 / 6 + patients**2 / 15 + noise**2 / 90
    assert float(values.mean((1, 2)).var()) == pytest.approx(exact, rel=0.05)
    assert float(np.square(crossed_error(values)).mean()) == pytest.approx(exact, rel=0.05)
    rows, columns = np.arange(3.0)[:, None], np.arange(4.0)[None]
    # Without an interaction: variances of 0 1 2 and of 0 1 2 3, over their numbers.
    assert float(crossed_error(rows + columns)) == pytest.approx(math.sqrt(1 / 3 + (5 / 3) / 4))


def test_crossed_interval_is_as_wide_as_the_networks_differ() -> None:
    random = np.random.default_rng(1)
    patients = random.normal(size=(1, 40))
    alone = crossed_interval(patients)
    error = float(patients.std() / math.sqrt(40))
    assert alone.high - alone.low == pytest.approx(2 * 1.96 * error, rel=0.15)
    same = crossed_interval(np.repeat(patients, 5, 0))
    assert (same.low, same.high) == pytest.approx((alone.low, alone.high), abs=0.05)
    apart = crossed_interval(patients + np.array([[-2.0], [-1.0], [0.0], [1.0], [2.0]]))
    assert apart.n == 40
    # Five networks are few: wider than the normal interval of their variance of 5/2, by about t of 4 degrees.
    assert 1.96 < (apart.high - apart.low) / 2 / math.sqrt(5 / 2 / 5 + error**2) < 4


def test_few_networks_have_an_interval_of_their_own_patients() -> None:
    patients = np.random.default_rng(2).normal(size=(1, 30))
    two = crossed_interval(patients + np.array([[-3.0], [3.0]]))
    alone = crossed_interval(patients)
    assert (two.low, two.high) == pytest.approx((alone.low, alone.high))


@pytest.mark.slow
@pytest.mark.parametrize("networks", [0.05, 0.2])
def test_crossed_intervals_cover_with_five_networks_and_skewed_patients(networks: float) -> None:
    random, hits = np.random.default_rng(3), 0
    for k in range(300):
        values = networks * random.standard_normal((5, 1)) + 0.2 * (random.exponential(1, (1, 20)) - 1)
        found = crossed_interval(values + 0.1 * random.standard_normal((5, 20)), seed=k)
        hits += found.low <= 0 <= found.high
    assert 0.89 <= hits / 300 <= 0.99


def test_crossed_interval_with_few_patients_or_nothing_defined() -> None:
    few = crossed_interval(np.arange(9.0)[None])
    assert few.value == 4
    assert math.isnan(few.low)
    none = crossed_interval(np.full((2, 12), np.nan))
    assert none.n == 0
    assert math.isnan(none.value)


def test_threshold_keeps_its_false_alarms() -> None:
    assert detection_threshold(np.arange(1.0, 20.0)) == 19.0
    assert detection_threshold(np.arange(1.0, 40.0)) == 38.0
    assert detection_threshold(np.arange(1.0, 19.0)) == math.inf
    random = np.random.default_rng(2)
    rates = [float((random.normal(size=400) > detection_threshold(random.normal(size=39))).mean()) for _ in range(300)]
    assert np.mean(rates) == pytest.approx(0.05, abs=0.01)


def test_controls_know_the_image_only() -> None:
    x = torch.zeros(1, 1, 16, 16)
    x[..., 8:] = 2.0
    made = control_maps(x, {"a": torch.rand(1, 1, 16, 16), "b": torch.rand(1, 1, 16, 16)}, seed=0, case="c")
    assert {k: len(v) for k, v in made.items()} == {"edges": 1, "image": 1, "smooth surrogate": 2}
    assert torch.equal(made["image"][0], x)
    assert set(made["edges"][0][0, 0].sum(0).topk(2).indices.tolist()) == {7, 8}


def test_measures_are_read_against_both_truths_and_skip_what_counts_neither_way() -> None:
    core, allowed, decoy = (torch.zeros(4, 4, dtype=torch.bool) for _ in range(3))
    core[0, 0] = allowed[0, 1:] = True
    places = TruePlaces(core, allowed, decoy)
    relevance = torch.zeros(1, 1, 4, 4)
    relevance[0, 0, 0] = torch.tensor([3.0, 100.0, 100.0, 100.0])
    relevance[0, 0, 2, 2] = 1.0
    network = LinearOracle(torch.ones(1, 4, 4))
    x = torch.ones(1, 1, 4, 4)
    exhibit = Exhibit(network, x, Output(0), relevance, Quantity.SCORE, Sign.UNSIGNED)
    (gauge,) = gauges(("relevance-mass",))
    assert gauge.names == ["relevance-mass", "relevance-mass@data"]
    assert gauge.direction == "higher"
    value, unit = gauge.read(exhibit, places)
    assert value == pytest.approx(0.75)
    assert unit == "1"


def test_plans_know_their_names() -> None:
    assert list(SIZES) == ["smoke", "default", "reference", "paper"]
    assert SIZES["reference"].n_networks == 5
    with pytest.raises(UnknownNameError, match="average-precision"):
        replace(TINY, measures=("average-precison",))
    with pytest.raises(UnknownNameError, match="linear"):
        replace(TINY, phantoms=("linar",))
    with pytest.raises(UnknownNameError, match="gradient"):
        replace(TINY, methods=("gradent",))
    seeds = [TINY.train_seed(n) for n in range(2)] + [TINY.test_seed, replace(TINY, seed=1).train_seed(0)]
    assert len(set(seeds)) == 4
    assert dose_of("decoy-0.3") == 0.3
    assert dose_of("linear") is None


def made_up(phantom: str, network: int, shift: float) -> Cell:
    """A cell with values that can be added up by hand."""
    fit = {"mae": 0.1, "floor_mean_mae": 0.3, "floor_histogram_mae": 0.2, "r2": 0.8}
    cell = Cell(phantom, network, "regression", "signal", "signal", 5, fit)
    patients = range(20)
    for method in TINY.labels:
        for measure in ("average-precision", "average-precision@data", "relevance-mass", "relevance-mass@data"):
            for p in patients:
                cell.note(method, measure, shift + 0.01 * p + 0.1 * network)
        for p in patients:
            cell.note(method, "relevance in the decoy", (0.5 if phantom == "decoy-0.9" else 0.0) + 0.001 * p)
    cell.truth = {"change:decoy": [shift] * 20, "shapley:decoy": [shift] * 20}
    return cell


def test_rows_are_means_over_patients_networks_and_phantoms() -> None:
    shifts = {"linear": 0.2, "suppressor": 0.4, "decoy-0": 0.0, "decoy-0.9": -0.7}
    cells = [made_up(p, n, s) for p, s in shifts.items() for n in range(2)]
    found = {(r.method, r.measure, r.phantom, r.network): r for r in rows(TINY, cells)}
    patients = np.mean(0.01 * np.arange(20))
    one = found["gradient", "average-precision", "linear", "1"]
    assert one.value == pytest.approx(0.2 + patients + 0.1)
    assert (one.n, one.n_patients, one.unit, one.direction) == (20, 20, "1", "higher")
    both = found["gradient", "average-precision", "linear", ALL]
    assert both.value == pytest.approx(0.2 + patients + 0.05)
    assert both.n == 40
    assert both.low < one.value - 0.05 < both.high
    # Over all phantoms without a decoy: the mean of linear and suppressor.
    assert found["gradient", "average-precision", ALL, ALL].value == pytest.approx(0.3 + patients + 0.05)
    assert found[MODEL, EFFECT, "decoy-0.9", ALL].value == pytest.approx(0.7)
    assert found["gradient", DETECTION, "decoy-0.9", ALL].value == 1.0
    assert found["gradient", DETECTION, "decoy-0", ALL].value <= 0.05


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Cell], list[Row]]:
    folder = tmp_path_factory.mktemp("bench")
    cells, made = run_bench(TINY, folder)
    return folder, cells, made


def test_a_run_writes_what_the_contract_says(whole: tuple[Path, list[Cell], list[Row]]) -> None:
    folder, cells, made = whole
    with (folder / "bench.tsv").open() as stream:
        read = list(csv.DictReader(stream, delimiter="\t"))
    columns = "method measure phantom network value low high n n_patients unit direction"
    assert " ".join(read[0]) == columns == " ".join(COLUMNS)
    assert len(read) == len(made)
    labels = {r["method"] for r in read}
    assert labels == {"gradient", "occlusion", "random-cam", "edges", "image", "smooth surrogate", MODEL}
    assert all(r["n_patients"] == "3" for r in read if r["measure"] == "relevance-mass")
    # Three patients: values, no interval; and too few cases to set a threshold at 5 %.
    assert all(r["low"] == "n/a" for r in read)
    assert {r["value"] for r in read if r["measure"] == DETECTION} == {"n/a"}
    for name in ("figures/leaderboard.png", "figures/shortcuts.png", "scores.json", "report.html"):
        assert (folder / name).stat().st_size > 500
    assert len(cells) == len(TINY.cells) == 8


def test_the_page_loads_nothing_and_has_the_table(whole: tuple[Path, list[Cell], list[Row]]) -> None:
    page = html.unescape((whole[0] / "report.html").read_text())
    assert "default-src 'none'" in page
    assert "http://" not in page
    assert "https://" not in page
    for text in ("Leaderboard", "occlusion", "smooth surrogate", "Is a shortcut seen?", "data:image/png;base64,"):
        assert text in page


def test_a_run_that_was_cut_off_ends_as_one_that_was_not(
    whole: tuple[Path, list[Cell], list[Row]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _, _ = whole
    count = 0

    def until_five(*arguments: object, **named: object) -> Cell:
        nonlocal count
        count += 1
        if count > 5:
            raise KeyboardInterrupt
        return run_cell(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(bench_run, "run_cell", until_five)
    with pytest.raises(KeyboardInterrupt):
        run_bench(TINY, tmp_path)
    assert not (tmp_path / "bench.tsv").exists()
    kept = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert len(kept) == 5
    # A half-written cell is made again.
    (tmp_path / "checkpoints" / kept[0]).write_text("{")
    count = -10
    run_bench(TINY, tmp_path)
    assert count == -10 + 4
    assert (tmp_path / "bench.tsv").read_bytes() == (folder / "bench.tsv").read_bytes()
    assert (tmp_path / "scores.json").read_bytes() == (folder / "scores.json").read_bytes()


def test_networks_of_a_phantom_share_their_patients_and_nothing_else(
    whole: tuple[Path, list[Cell], list[Row]],
) -> None:
    first, second = (c for c in whole[1] if c.phantom == "linear")
    assert first.values["image"]["average-precision@data"] == second.values["image"]["average-precision@data"]
    assert first.values["gradient"]["average-precision@data"] != second.values["gradient"]["average-precision@data"]
    assert first.fit["mae"] != second.fit["mae"]


def test_measures_that_need_no_place_or_the_method_again(tmp_path: Path) -> None:
    plan = replace(TINY, measures=("gini", "relevance-mass"), phantoms=("linear",), n_networks=1, n_explained=1)
    cells, made = run_bench(plan, tmp_path)
    names = {r.measure for r in made}
    assert names == {"gini", "relevance-mass", "relevance-mass@data"}
    assert all(0 <= r.value <= 1 for r in made if r.measure == "gini")


def test_volumes_by_the_same_code() -> None:
    plan = replace(TINY, shape=(16, 16, 16), n_train=4, n_test=2, n_explained=1, methods=("grad-ram",))
    cell = run_cell(plan, "decoy-0", 0)
    assert set(cell.values) == {"grad-ram", "random-cam", "edges", "image", "smooth surrogate"}
    assert all(0 <= v <= 1 for by in cell.values.values() for v in by["relevance-mass"])
    assert len(cell.truth["change:decoy"]) == 1


def test_a_class_is_asked_for_its_logit_and_graded_by_what_is_wrong() -> None:
    made = PHANTOMS.load("linear-classes")((16, 16))
    question = question_of(made)
    assert (question.kind, question.unit) == ("classification", "logit")
    assert question.target(made.subject(0)).label == "logit:1"
    logits, classes = np.array([2.0, -1.0, 0.5, -3.0]), np.array([1.0, 0.0, 0.0, 1.0])
    assert question.error_of(logits, classes) == 0.5
    # Pairs of upper and lower class in the right order: 2 > -1, 2 > 0.5, not -3 > -1, not -3 > 0.5.
    assert question.quality_of(logits, classes) == 0.5


@pytest.mark.parametrize("name", ["denoising", "correction"])
def test_an_image_is_asked_for_its_mean_over_the_structure(name: str) -> None:
    made = PHANTOMS.load(name)((24, 24))
    question, subject = question_of(made), made.subject(3)
    inside = subject.structure > 0.5
    assert question.kind == "image"
    mean = float(question.target(subject)(subject.target[None])[0])
    assert mean == pytest.approx(float(subject.target[0][inside].mean()), rel=1e-5)
    assert question.labels([subject])[0] == pytest.approx(mean, rel=1e-5)
    wanted = question.wanted([subject]).double().numpy()
    assert question.error_of(wanted + 0.5, wanted) == pytest.approx(0.5)
    with pytest.raises(TargetError):
        Output(0)(subject.target[None])


def test_model_truth_of_an_image_is_of_the_region_that_is_asked_for() -> None:
    """A perfect correction depends on the mark, a network that does nothing depends on the nuisance over the ball."""
    made = PHANTOMS.load("correction")((32, 32))
    subject = made.subject(0)
    target = question_of(made).target(subject)
    untouched = model_truth(target, made, 0)
    assert untouched.change["suppressor-mark"] == pytest.approx(0.0, abs=1e-6)
    moved = change_of_image(made, 0, "suppressor-mark").abs()
    mark, ball = moved > 0.999 * moved.max(), subject.structure

    def corrected(images: torch.Tensor) -> torch.Tensor:
        return images - images[:, 0][:, mark].mean(1)[:, None, None, None] * ball

    truth = model_truth(lambda x: target(corrected(x)), made, 0)
    assert truth.change["suppressor-mark"] == pytest.approx(-truth.change["suppressor"], rel=1e-3)
    assert bool(truth.places.core[mark].all())
    assert not bool(untouched.places.core[mark].any())


def test_classes_and_images_go_the_same_way_as_numbers(tmp_path: Path) -> None:
    names = ("linear", "linear-classes", "product-classes", "denoising", "correction")
    plan = replace(TINY, phantoms=names, n_networks=1, n_explained=2)
    cells, made = run_bench(plan, tmp_path)
    assert [c.kind for c in cells] == ["regression", "classification", "classification", "image", "image"]
    assert [c.unit for c in cells] == ["signal", "logit", "logit", "signal", "signal"]
    for cell in cells:
        shares = [v for key, v in cell.truth.items() if key.startswith("shapley")]
        assert all(len(v) == 2 for v in shares)
        assert np.abs(shares).sum() > 0
    assert {r.phantom for r in made} == {*names, ALL}
    fits = {c.phantom: set(c.fit) for c in cells}
    assert fits["product-classes"] == {"error_rate", "floor_mean_error_rate", "floor_histogram_error_rate", "auc"}
    assert fits["denoising"] == {"rmse", "floor_mean_rmse", "floor_input_rmse", "r2"}
    page = (tmp_path / "report.html").read_text()
    assert "a class" in page
    assert "an image" in page


def test_the_figures_of_the_documentation_are_written_from_the_folder(tmp_path: Path) -> None:
    plan = replace(TINY, phantoms=("linear", "decoy-0", "decoy-0.9"), n_networks=1, n_explained=1)
    config = {
        **vars(plan),
        "model": "small-regressor",
        "case_ids": [],
        "target": None,
        "reference": None,
        "device": "cpu",
    }
    with RunFolder(tmp_path / "bench", "bench", config) as folder:
        cells, _ = run_bench(plan, folder.path)
    page = tmp_path / "bench.md"
    page.write_text("# Before\n<!-- figures -->\nwhat stood here\n<!-- end of figures -->\nafter\n")
    markdown.main([str(tmp_path / "bench"), str(page)])
    text = page.read_text()
    assert text.startswith("# Before\n<!-- figures -->\n")
    assert text.endswith("<!-- end of figures -->\nafter\n")
    assert "what stood here" not in text
    assert markdown.opened(tmp_path / "bench") == (plan, cells)
    assert "| smooth surrogate | control |" in text
    assert (tmp_path / "images" / "bench-leaderboard.png").exists()
    page.write_text("# No place\n")
    with pytest.raises(FileError, match="figures"):
        markdown.main([str(tmp_path / "bench"), str(page)])


def test_images_of_a_benchmark_go_where_its_network_is() -> None:
    with two_devices() as devices:
        cell = run_cell(TINY, "linear", 0, device=str(ACCELERATOR))
        assert devices.n_there > 100
    at_home = run_cell(TINY, "linear", 0)
    assert cell.values["gradient"]["average-precision"] == pytest.approx(
        at_home.values["gradient"]["average-precision"]
    )
