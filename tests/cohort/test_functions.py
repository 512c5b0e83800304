"""The functions over cases, and voxel-wise tests: against the single call, and against all voxels at once."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file

from regard.case.explaining import explain_case
from regard.cohort import moments
from regard.cohort.backends import ThisProcess
from regard.cohort.design import contrasts
from regard.cohort.engine import run_cases
from regard.cohort.explaining import DIFFERENCE, IMAGE, NULL, Explaining
from regard.cohort.permutation import freedman_lane
from regard.cohort.question import Predicting, Question
from regard.cohort.voxelwise import largest_t, tfce
from regard.cohort.weighing import Weighing, weighed_maps
from regard.core.errors import InputError
from regard.evidence.weigh import all_verdicts, comparisons
from regard.io.tables import Case
from regard.models import load_model
from regard.models.scans import read_scans
from regard.models.zoo.small import small_regressor

CARD = {
    "schema": "regard.card/1",
    "name": "tiny",
    "zoo": "small-regressor",
    "kwargs": {"widths": [2, 3]},
    "weights": "weights.safetensors",
    "inputs": [{"name": "image", "orientation": "PL", "shape": [16, 16], "unit": "grey level"}],
    "output": {"kind": "regression", "names": ["bmd"], "units": ["g/cm2"]},
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "card.yaml").write_text(yaml.safe_dump(CARD))
    torch.manual_seed(3)
    network = small_regressor(widths=(2, 3))
    state = {k: v.contiguous() for k, v in network.state_dict().items()}
    save_file(state, tmp_path / "model" / "weights.safetensors")
    return tmp_path / "model"


@pytest.fixture
def people(tmp_path: Path) -> list[Case]:
    found = []
    for n in range(5):
        values = np.random.default_rng(n).integers(0, 255, (16, 16), dtype=np.uint8)
        Image.fromarray(values).save(tmp_path / f"{n}.png")
        found.append(Case(f"c{n}", {"image": tmp_path / f"{n}.png"}, {"patient": f"p{n}"}, tmp_path))
    return found


def test_explaining_is_what_a_single_call_gives(model: Path, people: list[Case], tmp_path: Path) -> None:
    question = Question(str(model), ("gradient", "input-x-gradient@ixg"))
    affine = tuple(np.diag([-1.0, -1, 1, 1]).ravel())
    function = Explaining(question, (16, 16, 1), affine, null="randomised")
    part = function.open().part(people[0])
    loaded = load_model(model)
    single = explain_case(loaded, read_scans(people[0], loaded), question.methods, case="c0")
    for explanation in single.explanations:
        np.testing.assert_array_equal(moments.map_of(part.state, explanation.name), explanation.numpy())
    assert part.row["prediction"] == single.prediction
    null = moments.map_of(part.state, "gradient" + NULL)
    assert abs(np.corrcoef(null.ravel(), single.explanations[0].numpy().ravel())[0, 1]) < 0.9
    again = function.open().part(people[0])
    assert all(again.state[k].tobytes() == v.tobytes() for k, v in part.state.items())
    assert np.abs(moments.map_of(part.state, "gradient" + DIFFERENCE)).sum() <= 2 + 1e-5
    assert moments.map_of(part.state, IMAGE).max() > 200
    # The network that was explained is the one that comes back.
    assert function.open().part(people[1]).row["prediction"] != part.row["prediction"]


def test_a_reference_for_all_is_the_scan_itself(model: Path, people: list[Case]) -> None:
    """Not its mask: a file that was read as a region gave a constant image."""
    methods = ("integrated-gradients:n_steps=4", "occlusion:window=4,stride=4")
    question = Question(str(model), methods, reference=str(people[1].inputs["image"]))
    function = Explaining(question, (16, 16, 1), tuple(np.diag([-1.0, -1, 1, 1]).ravel()))
    part, loaded = function.open().part(people[0]), load_model(model)
    other = read_scans(people[1], loaded)
    single = explain_case(loaded, read_scans(people[0], loaded), methods, reference=other, case="c0")
    for explanation in single.explanations:
        np.testing.assert_array_equal(moments.map_of(part.state, explanation.name), explanation.numpy())


def test_predicting_keeps_rows_and_no_map(model: Path, people: list[Case], tmp_path: Path) -> None:
    found = run_cases(Predicting(Question(str(model))), people, tmp_path / "run", ThisProcess())
    loaded = load_model(model)
    expected = [explain_case(loaded, read_scans(c, loaded), ["gradient"], case=c.case).prediction for c in people]
    assert [row["prediction"] for row in found.rows.values()] == expected
    assert dict(found.state) == {}
    assert list(found.rows[0]["outputs"]) == ["bmd"]


def test_weighing_gives_what_verdicts_are_made_of(model: Path, people: list[Case], tmp_path: Path) -> None:
    question = Question(str(model), ("gradient",))
    function = Weighing(question, ("deletion",), n_null=9, n_patients=5)
    found = weighed_maps(run_cases(function, people, tmp_path / "run", ThisProcess()))
    assert [w.patient for w in found] == [f"p{n}" for n in range(5)]
    assert {"surrogate", "edges", "displaced"} <= set(found[0].figures["deletion"].controls)
    rows = comparisons(found)
    assert any(r.case == "*" and r.n == 5 for r in rows)
    assert set(all_verdicts(rows)) == {"gradient"}


class Planted:
    """Maps in memory with a group effect at one place, as a Zarr array is read."""

    def __init__(self, n: int, *, effect: float = 4.0) -> None:
        self.values = np.random.default_rng(0).normal(size=(n, 36, 6, 4)).astype(np.float32)
        self.values[: n // 2, 8:13, 2:5, 1:3] += effect
        self.values[0, 0, 0, 0] = np.nan
        self.shape = self.values.shape

    def __getitem__(self, place: object) -> np.ndarray:
        return self.values[place]  # type: ignore[index]


GROUPED = [Case(f"c{n}", {}, {"group": "AB"[n < 8], "age": str(n % 5)}) for n in range(16)]


def test_blocks_of_voxels_give_what_all_voxels_at_once_give() -> None:
    array = Planted(16)
    effect = contrasts(GROUPED, "group", ["age"])[0]
    names = [c.case for c in GROUPED]
    found = largest_t(array, list(range(16)), effect, names, n_orders=99)
    columns = array.values.reshape(16, -1).astype(np.float64)
    use = np.isfinite(columns).all(0)
    whole = freedman_lane(columns[:, use], effect.effect, effect.nuisance, blocks=names, n_draws=99)
    np.testing.assert_allclose(found.t.ravel()[use], whole.t)
    np.testing.assert_allclose(found.p.ravel()[use], whole.p)
    assert np.isnan(found.p[0, 0, 0])
    assert (found.p[8:13, 2:5, 1:3] <= 0.05).mean() > 0.5
    assert (found.p <= 0.05).sum() < 40


@pytest.mark.slow
def test_tfce_finds_the_place_and_refuses_repeated_scans() -> None:
    array = Planted(16)
    effect = contrasts(GROUPED, "group", [])[0]
    names = [c.case for c in GROUPED]
    found = tfce(array, np.eye(4), list(range(16)), effect, names, n_orders=99)
    place = np.zeros(found.p.shape, bool)
    place[8:13, 2:5, 1:3] = True
    assert (found.p[place] <= 0.05).mean() > 0.6
    assert (found.p[~place] <= 0.05).mean() < 0.1
    with pytest.raises(InputError, match="16 scans of 8 patients"):
        tfce(array, np.eye(4), list(range(16)), effect, [f"p{n // 2}" for n in range(16)])
