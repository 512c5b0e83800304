"""The tuberculosis study through the command line: phantoms, a user's tree, a suppressor of another run; its parts."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from shenzhen_tree import DEFECTS, mura, shenzhen
from torch import Tensor, nn

from regard.cli import main
from regard.core.errors import CardError, InputError
from regard.core.explanation import Explanation
from regard.core.quantity import Quantity, Sign
from regard.core.volume import Volume
from regard.datasets.radiographs import read_mura
from regard.explainers.cam.crm import CRM
from regard.explainers.spec import parse_methods
from regard.io import RunFolder, read_map
from regard.io.records import read_run
from regard.models import load_model, write_card
from regard.models.card import ModelCard
from regard.models.zoo import ZOO
from regard.models.zoo.vgg import VGG16
from regard.studies.config import resolve
from regard.studies.folds import folds_of, held_out
from regard.studies.run import StudyRun
from regard.studies.tuberculosis.config import SIZES, TuberculosisConfig
from regard.studies.tuberculosis.figures import draw_maps, flat_features, outline
from regard.studies.tuberculosis.floors import FLOORS
from regard.studies.tuberculosis.networks import (
    EXPLAINED,
    TARGET,
    Learning,
    grey_convolutions,
    learn_in_pairs,
    log_odds,
    start,
)
from regard.studies.tuberculosis.phantoms import LETTER, again, phantom_cohort, state_of, with_letter
from regard.studies.tuberculosis.suppression import Between
from regard.studies.tuberculosis.truth import case_truth, rendered
from regard.testing.two_devices import ACCELERATOR, two_devices
from regard.training.classify import Classify, balanced_weights

THERE = ("--device", str(ACCELERATOR))
"""Where the networks of the runs here are; a recorder sees that their images are there too."""

TINY = [
    "data.n_pretrain=4", "data.n_each=2", "data.n_cases=12", "train.pretrain_epochs=1", "train.n_epochs=1",
    "train.decoy_epochs=1", "explain.methods=[crm,grad-cam,random-cam,lime:n_samples=20]", "weigh.n_null=3",
    "weigh.methods=[crm]", "weigh.n_decoy=2", "score.perplexity=3",
]  # fmt: skip


def sets(*more: str) -> list[str]:
    return [part for text in (*TINY, *more) for part in ("--set", text)]


def tiny() -> TuberculosisConfig:
    return resolve(SIZES, "smoke", settings=TINY)


def command(path: Path, *more: str) -> list[str]:
    return [
        "study",
        "run",
        "tuberculosis",
        "--size",
        "smoke",
        *THERE,
        "-o",
        str(path),
        "-q",
        "--threads",
        "1",
        *sets(*more),
    ]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tuberculosis") / "run"
    with two_devices() as devices:
        assert main([*command(path)]) == 0
        assert devices.n_there > 1000
    return path


def told(path: Path) -> dict[str, dict[str, dict[str, object]]]:
    found: dict[str, dict[str, dict[str, object]]] = json.loads((path / "scores.json").read_text())["scores"]
    return found


def test_a_run_on_phantoms_writes_all_that_it_should(finished: Path) -> None:
    scores = told(finished)
    for arm in ("plain", "suppressed"):
        names = {"auc", "accuracy", "sensitivity", "specificity", "precision", "f1", "mcc", "kappa", "fold1_auc"}
        assert names <= set(scores[arm]) and scores[arm]["auc"]["n_patients"] == 12
        assert {"auc", "auc_letter_at_random", "effect_of_letter_1", "seen_by_crm"} <= set(scores[f"decoy_0.9_{arm}"])
        assert {"silhouette", "neighbours_right"} == set(scores[f"separation_{arm}"])
        assert f"boxes_crm_{arm}" in scores and "change_bones" in scores[f"depends_{arm}"]
    assert {"auc_difference", "auc_permutation_p", "mcnemar_p", "fold0_delong_p"} <= set(
        scores["suppressed_minus_plain"]
    )
    assert all(s["n"] is not None and s["unit"] for g in scores.values() for s in g.values())
    assert "average-precision@data" in scores["map_crm"] and "deletion" in scores["map_crm"]
    page = (finished / "report.html").read_text()
    for words in (
        "perfect suppressor, and no network",
        "simulated patients",
        "Smaller than published",
        "With and without bones",
    ):
        assert words in page
    maps = {p.name.split("_desc-")[1] for p in (finished / "maps").glob("*_relevance.nii.gz")}
    assert {"crm_relevance.nii.gz", "crmpublished_relevance.nii.gz", "crmsuppressed_relevance.nii.gz"} <= maps
    assert read_run(finished)["state"] == "done"


def test_run_again_it_does_nothing_and_another_setting_is_refused(finished: Path) -> None:
    before = (finished / "scores.json").read_bytes()
    made = {p: p.stat().st_mtime_ns for p in finished.rglob("*.safetensors")}
    assert main(command(finished)) == 0
    assert made == {p: p.stat().st_mtime_ns for p in finished.rglob("*.safetensors")} != {}
    assert (finished / "scores.json").read_bytes() == before
    assert main(command(finished, "train.n_epochs=2")) == 2


def test_saved_maps_are_those_of_the_network(finished: Path) -> None:
    model = load_model(finished / "models/fold0-plain")
    stored = read_map(sorted((finished / "maps").glob("*_desc-crm_relevance.nii.gz"))[0])
    with RunFolder(finished.parent / "look", "study", {}) as folder:
        cohort = phantom_cohort(StudyRun(tiny(), folder, source=finished), tiny(), "study")
    row = cohort.cases.index(str(stored.sidecar["case"]))
    wanted = CRM(model.network, EXPLAINED).attribute(
        cohort.plain[row : row + 1], TARGET, case=str(stored.sidecar["case"])
    )
    assert torch.allclose(stored.relevance.tensor[0, :, :, 0].T, wanted[0, 0], atol=1e-6)


def test_the_classifier_is_a_model_like_any_other(finished: Path) -> None:
    model = load_model(finished / "models/fold0-plain")
    assert model.card.layer == EXPLAINED and model.card.output.names == ("well", "ill")
    assert isinstance(dict(model.network.named_modules())[EXPLAINED], nn.ReLU)
    assert isinstance(dict(model.network.named_modules())["features.28"], nn.Conv2d)
    assert model.card.inputs[0].shape == (64, 64)


def base_run(path: Path, size: int) -> Path:
    """A finished run of bone suppression, as far as the study looks: its record and a network."""
    with RunFolder(path, "study", {"study": "bone-suppression", "size": "smoke", "config": {}}):
        folder = path / "models" / "ae-bs"
        folder.mkdir(parents=True)
        torch.manual_seed(0)
        kwargs = {"widths": [2, 2, 2, 2, 2]}
        from safetensors.torch import save_file

        save_file(dict(ZOO.load("ae-bs")(**kwargs).state_dict()), folder / "weights.safetensors")
        inputs = [{"channels": 1, "shape": [size, size], "unit": "1"}]
        card = {
            "name": "ae-bs", "zoo": "ae-bs", "kwargs": kwargs, "weights": "weights.safetensors", "inputs": inputs,
            "output": {"kind": "image", "grid": "input"},
        }  # fmt: skip
        write_card(ModelCard.model_validate(card), folder / "card.yaml")
    return path


@pytest.mark.slow
def test_the_suppressor_of_another_run_and_the_chain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, path = base_run(tmp_path / "base", 128), tmp_path / "run"
    more = ["data.doses=[0.0]", "explain.methods=[crm,random-cam,input-x-gradient]", "data.n_cases=10"]
    assert main([*command(path, *more), "--from", str(base)]) == 0
    assert (path / "models/suppressor/card.yaml").exists()
    page = (path / "report.html").read_text()
    assert "bones suppressed by ae-bs" in page and "perfect suppressor, and no network" not in page
    chained = sorted((path / "maps").glob("*chain_relevance.json"))
    assert chained and {"gradientchain", "inputxgradientchain"} <= {
        p.name.split("_")[1].removeprefix("desc-") for p in chained
    }
    said = json.loads(chained[0].read_text())
    case = chained[0].name.partition("_desc-")[0]
    own = json.loads((path / "maps" / f"{case}_desc-crmsuppressed_relevance.json").read_text())
    assert said["prediction"] == pytest.approx(own["prediction"], abs=1e-4)
    assert "map_gradient-chain" in told(path)
    # An odd size cannot be brought to the classifier's.
    odd = base_run(tmp_path / "odd", 96)
    assert main([*command(tmp_path / "r2"), "--from", str(odd)]) == 2
    assert "multiple" in capsys.readouterr().err
    # A study that this one does not build on.
    with RunFolder(tmp_path / "other", "study", {"study": "bmd", "size": "smoke", "config": {}}):
        pass
    assert main([*command(tmp_path / "r3"), "--from", str(tmp_path / "other")]) == 2


@pytest.mark.slow
def test_a_users_tree_with_every_defect_runs_to_a_report(tmp_path: Path) -> None:
    folder, path = shenzhen(tmp_path / "data"), tmp_path / "run"
    assert main([*command(path), "--data", str(folder)]) == 3
    with (path / "failures.tsv").open(newline="") as stream:
        failed = {r["case"]: r for r in csv.DictReader(stream, dialect="excel-tab")}
    assert set(failed) == set(DEFECTS)
    for case, words in DEFECTS.items():
        assert words in failed[case]["message"], failed[case]
    scores = told(path)
    assert scores["plain"]["auc"]["n"] == 16 and "suppressed_minus_plain" in scores
    assert "depends_plain" not in scores and not any(g.startswith(("boxes", "decoy")) for g in scores)
    page = (path / "report.html").read_text()
    assert "your own images" in page and "the user&#39;s twins" in page
    assert main([*command(path), "--data", str(folder)]) == 3  # told again, and nothing read twice


@pytest.mark.slow
def test_radiographs_without_twins_have_one_arm(tmp_path: Path) -> None:
    folder, path = shenzhen(tmp_path / "data", n_good=12, defects=False, twins=False), tmp_path / "run"
    assert main([*command(path), "--data", str(folder)]) == 0
    scores = told(path)
    assert "plain" in scores and "suppressed" not in scores
    assert "neither a suppressor" in (path / "report.html").read_text()


def test_too_few_cases_are_the_users_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = shenzhen(tmp_path / "data", n_good=4, defects=False)
    assert main([*command(tmp_path / "r"), "--data", str(folder)]) == 2
    assert "ill patients whose images can be used" in capsys.readouterr().err


def test_a_mura_folder_becomes_cases_and_a_table_for_cohorts(tmp_path: Path, finished: Path) -> None:
    found = read_mura(mura(tmp_path / "data", 6))
    assert len(found.cases) == 12 and not found.failures
    assert {r.patient for r in found.cases} == {f"patient{k:05}" for k in range(3)}
    assert {r.columns["part"] for r in found.cases} == {"wrist", "elbow"}
    table = tmp_path / "cases.tsv"
    lines = [f"{r.case}\t{r.image}\t{r.patient}\t{r.label}\t{r.columns['part']}" for r in found.cases]
    table.write_text("\n".join(["case\timage\tpatient\tlabel\tpart", *lines]) + "\n")
    out = tmp_path / "cohort"
    arguments = ["cohort", str(finished / "models/fold0-plain"), str(table), "-m", "grad-cam", "-t", "logit:1"]
    assert main([*arguments, "-o", str(out), "-q"]) == 0
    assert (out / "report.html").exists()
    with (out / "failures.tsv").open(newline="") as stream:
        assert not list(csv.DictReader(stream, dialect="excel-tab"))


@pytest.mark.parametrize("size", list(SIZES))
def test_every_size_is_valid_and_its_methods_can_be_built(size: str) -> None:
    config = TuberculosisConfig.model_validate(SIZES[size].model_dump())
    network = VGG16(1, 2, 2)
    for spec in parse_methods(config.explain.methods):
        spec.build(network, layer=EXPLAINED)
    assert set(config.weigh.methods) <= {s.label for s in parse_methods(config.explain.methods)}


def test_the_paper_size_is_the_papers() -> None:
    paper = SIZES["paper"]
    plan = paper.train
    assert (plan.width, plan.n_folds, paper.data.size, plan.n_epochs, plan.batch_size) == (64, 4, 256, 32, 16)
    assert (plan.optimiser, plan.learning_rate, plan.momentum, plan.decay) == ("sgd", 1e-3, 0.9, 1e-6)
    assert (plan.rotation, plan.shift, plan.flip, plan.dropout) == (5.0, 0.2, True, 0.5)


@pytest.mark.parametrize("setting", ["data.doses=[0.3]", "data.size=8", "explain.methods=[crm:n=3]", "train.n_folds=1"])
def test_a_setting_that_would_fail_later_fails_at_once(setting: str) -> None:
    with pytest.raises(CardError, match=setting.partition("=")[0]):
        resolve(SIZES, "default", settings=[setting])


def test_folds_are_by_patient_and_alike() -> None:
    patients = [f"p{n // 2}" for n in range(80)]
    labels = [n // 2 % 4 == 0 for n in range(80)]
    folds = folds_of(labels, patients, 4, seed=1)
    assert all(len({int(f) for f, p in zip(folds, patients) if p == name}) == 1 for name in set(patients))
    counts = [(int((folds == f).sum()), int(np.array(labels)[folds == f].sum())) for f in range(4)]
    assert max(n for n, _ in counts) - min(n for n, _ in counts) <= 4
    assert max(n for _, n in counts) - min(n for _, n in counts) <= 2
    assert not np.array_equal(folds, folds_of(labels, patients, 4, seed=2))
    with pytest.raises(InputError, match="folds"):
        folds_of([True, False, False, False], list("abcd"), 2, seed=0)


def test_what_is_held_out_has_both_kinds_and_whole_patients() -> None:
    patients = [f"p{n // 2}" for n in range(60)]
    labels = [n // 2 % 3 == 0 for n in range(60)]
    held = held_out(labels, patients, 0.2, seed=0, what="a")
    assert {p for p, h in zip(patients, held) if h}.isdisjoint(p for p, h in zip(patients, held) if not h)
    assert {x for x, h in zip(labels, held) if h} == {True, False}
    mixed = held_out([True, False] * 5, [f"p{n // 2}" for n in range(10)], 0.2, seed=0, what="b")
    assert mixed.sum() == 2
    with pytest.raises(InputError, match="one kind"):
        held_out([True, True], ["a", "b"], 0.2, seed=0, what="c")


def test_no_test_case_chooses_an_epoch(tmp_path: Path) -> None:
    # The leak of the paper's code: the fold that is tested on must not be in what is learnt from or chosen on.
    labels, patients = [n % 2 == 0 for n in range(40)], [f"p{n}" for n in range(40)]
    folds = folds_of(labels, patients, 4, seed=0)
    for fold in range(4):
        rest = np.flatnonzero(folds != fold)
        held = held_out([labels[r] for r in rest], [patients[r] for r in rest], 0.2, seed=0, what=f"fold{fold}")
        chosen = {patients[r] for r in rest[held]}
        assert chosen.isdisjoint(patients[r] for r in np.flatnonzero(folds == fold))
        assert chosen.isdisjoint(patients[r] for r in rest[~held]) and chosen


def test_one_grey_channel_is_three_equal_ones() -> None:
    torch.manual_seed(1)
    colours, grey = VGG16(3, 2, 4).eval(), VGG16(1, 2, 4).eval()
    grey.load_state_dict({**colours.state_dict(), **grey_convolutions(colours.state_dict())})
    x = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        assert torch.allclose(grey(x), colours(x.expand(-1, 3, -1, -1)), atol=1e-5)


def test_random_weights_are_made_for_the_images() -> None:
    torch.manual_seed(2)
    images = 0.5 + 0.02 * torch.randn(12, 1, 32, 32)
    network = VGG16(1, 2, 4).eval()
    start(network, None, images)
    x = images
    with torch.no_grad():
        for layer in network.features:
            x = layer(x)
            if isinstance(layer, nn.Conv2d):
                assert torch.allclose(x.mean((0, 2, 3)), torch.zeros(x.shape[1]), atol=1e-3)
                assert torch.allclose(x.std((0, 2, 3)), torch.ones(x.shape[1]), atol=1e-2)
        plain = VGG16(1, 2, 4).eval()
        apart = [n.pooled(images).std(0).mean() for n in (network, plain)]
    assert apart[0] > 100 * apart[1]  # radiographs that are alike give features that are not


def test_weights_of_a_user_are_taken(tmp_path: Path) -> None:
    colours = VGG16(3, 2, 4)
    torch.save(colours.state_dict(), tmp_path / "vgg.pth")
    network = VGG16(1, 2, 4)
    start(network, tmp_path / "vgg.pth", torch.rand(1, 1, 32, 32))
    theirs = colours.state_dict()
    assert torch.allclose(network.features[0].weight, theirs["features.0.weight"].sum(1, keepdim=True))
    assert torch.equal(network.features[28].weight, theirs["features.28.weight"])


def test_pairs_differ_by_the_finding_and_are_cut_around_it() -> None:
    config = resolve(SIZES, "smoke", settings=["train.square=16", "train.whole_epochs=1", "train.rotation=0"])
    images = torch.rand(8, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    findings = torch.zeros(8, 64, 64)
    for k in (1, 3, 5, 7):
        images[k] = images[k - 1]
        findings[k, 4 * k : 4 * k + 5, 40:45] = 1
        images[k, 0, 4 * k : 4 * k + 5, 40:45] += 5
    what = Learning(
        "n", images, torch.tensor([0.0, 1.0] * 4), list("aabbccdd"), n_epochs=3, rate=1.0, findings=findings
    )
    pairs = learn_in_pairs(config, what, np.arange(8), seed=1)
    assert len(pairs) == 4
    for epoch in (0, 1, 2):
        x, y = pairs.__getitems__([(epoch, k) for k in range(4)])
        assert x.shape == ((8, 1, 64, 64) if epoch == 2 else (8, 1, 16, 16)) and y.tolist() == [0, 1] * 4
        if epoch < 2:
            apart = (x[1::2] - x[::2]).abs()
            assert bool((apart.flatten(1).max(1).values > 4).all()) and float((apart > 1e-6).float().mean()) < 0.2
    again = pairs.__getitems__([(0, 2)])[0]
    assert torch.equal(again, pairs.__getitems__([(0, 0), (0, 2)])[0][2:])  # whatever the batch


def test_class_weights_and_the_published_rate() -> None:
    weights = balanced_weights(torch.tensor([0, 0, 0, 1]))
    assert torch.allclose(weights, torch.tensor([4 / 6, 2.0]))
    assert torch.equal(balanced_weights(torch.tensor([1, 1])), torch.tensor([0.0, 0.5]))
    module = Classify(nn.Linear(2, 2), learning_rate=1e-3, decay=0.5)
    made = module.configure_optimizers()
    optimiser, schedule = made["optimizer"], made["lr_scheduler"]["scheduler"]  # type: ignore[index]
    assert isinstance(optimiser, torch.optim.SGD) and optimiser.param_groups[0]["nesterov"]
    rates = []
    for _ in range(3):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    assert rates == pytest.approx([1e-3 / (1 + 0.5 * k) for k in range(3)])
    assert float(log_odds(torch.tensor([[1.0, 3.5]]))) == 2.5


def test_phantoms_change_by_what_is_changed(tmp_path: Path) -> None:
    config = tiny()
    with RunFolder(tmp_path / "r", "study", {}) as folder:
        run = StudyRun(config, folder)
        cohort = phantom_cohort(run, config, "study")
        followed = phantom_cohort(run, config, "study", dose=0.9)
        row = int(np.flatnonzero(cohort.ill)[0])
        patient = cohort.patients[row]
        state = state_of(run, config, patient)
        plain, soft = again(run, config, patient, [{}, {LETTER: True}, {LETTER: False}])
        made = rendered(run, config, patient)
        lettered = with_letter(run, config, cohort.of([row]), [True])
    assert torch.equal(plain[0], cohort.plain[row]) and torch.equal(soft[0], cohort.soft[row])
    assert torch.equal(lettered.plain[0], plain[1])
    assert torch.equal(cohort.labels, followed.labels) and not torch.equal(cohort.marker, followed.marker)
    assert float(((followed.marker > 0.5) == (followed.labels > 0.5)).float().mean()) > 0.8
    letter = (plain[1] - plain[2]).abs()[0] > 0.05
    assert 0 < int(letter.sum()) < 200 and not bool((letter & (cohort.findings[row] > 0.5)).any())
    # A reader of the finding's place depends on the finding alone; one of the letter's on the letter.
    inside = made.places[0]

    def reader(where: Tensor):  # type: ignore[no-untyped-def]
        return lambda x: x[:, 0][:, where].mean(1)

    def both(where: Tensor):  # type: ignore[no-untyped-def]
        read = reader(where)
        return case_truth(lambda p, s: read(p), read, made, config.data.size, cohort.pixel_mm)

    names = list(state)
    finding = both(inside & ~letter)
    assert abs(finding.shapley[names[0]]) > 20 * abs(finding.shapley[LETTER])
    assert torch.equal(finding.places.core, made.places[0])
    cheat = both(letter)
    assert abs(cheat.shapley[LETTER]) > 5 * abs(cheat.shapley[names[0]]) and cheat.change[LETTER] > 0
    assert bool((cheat.places.core & letter).any())
    worth = [float(reader(letter)(p[None])) for p in made.plain]
    assert sum(cheat.shapley.values()) == pytest.approx(worth[-1] - worth[0], abs=1e-6)
    assert cheat.bones == pytest.approx(worth[-1] - float(reader(letter)(made.soft[-1:])), abs=1e-6)


def test_floors_know_what_they_know() -> None:
    rng = torch.Generator().manual_seed(0)
    ill = np.arange(40) % 2 == 0
    images = torch.rand(40, 1, 48, 48, generator=rng) * 0.2 + 0.4
    images[torch.from_numpy(ill), :, 4:16, 4:16] += 0.3
    known, asked = slice(0, 20), slice(20, 40)
    for name in ("brightness", "coarse_image", "asymmetry", "histogram"):
        scores = FLOORS[name](images[known], ill[known], images[asked])
        assert scores[ill[asked]].min() > scores[~ill[asked]].max(), name


def test_features_that_coincide_do_not_crash_the_picture() -> None:
    from sklearn import manifold

    same = np.zeros((10, 5))
    assert (flat_features(manifold, same, 3.0, 0) == 0).all()
    few = np.repeat(np.random.default_rng(0).normal(size=(4, 5)), 3, 0)
    found = flat_features(manifold, few, 3.0, 0)
    assert found.shape == (12, 2) and np.isfinite(found).all()
    apart = np.concatenate([np.random.default_rng(1).normal(k * 8, 1, (12, 5)) for k in (0, 1)])
    found = flat_features(manifold, apart, 5.0, 0)
    assert np.isfinite(found).all() and np.array_equal(found, flat_features(manifold, apart, 5.0, 0))


def test_between_brings_to_range_and_size() -> None:
    pooled = Between(2)(torch.tensor([[[[2.0, 0, -1, 0], [1, 1, 0, 0], [0.5] * 4, [0.5] * 4]]]))
    assert torch.allclose(pooled, torch.tensor([[[[0.75, 0.0], [0.5, 0.5]]]]))


def test_a_finding_is_outlined_where_it_is_on_a_finer_image(tmp_path: Path) -> None:
    """Maps through a suppressor lie on its finer grid; findings are known on the classifier's."""
    scan = Volume(torch.zeros(1, 32, 32, 1), np.diag([1.0, 1.0, 1.0, 1.0]))
    explanation = Explanation(
        scan, scan, "ill", "gradient", Quantity.SENSITIVITY, Sign.RAISES, "1", 0.0, "ill - well", "log-odds"
    )
    places = np.zeros((8, 8))
    places[6:, :2] = 1
    axis = Figure().subplots()
    outline(axis, places, (32, 32))
    box = axis.collections[0].get_datalim(axis.transData)
    assert (box.x1, box.y0) == (7.5, 23.5)
    draw_maps([[explanation]], [places], tmp_path / "maps.png")
    assert (tmp_path / "maps.png").stat().st_size > 1000
