"""The Zarr store, atlases and their spaces, BIDS folders, columns, and who stands out."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
from functions import Drawn, cases

from regard.cohort import moments
from regard.cohort.atlas import read_atlas, space_of
from regard.cohort.backends import ThisProcess
from regard.cohort.cases import find_cohort, read_bids
from regard.cohort.design import check_columns, contrasts, subgroups
from regard.cohort.engine import run_cases
from regard.cohort.region_table import MapFacts, contrast_rows, group_rows, subject_rows
from regard.cohort.regions import RegionFigures, region_figures
from regard.cohort.store import MapStore, blocks, open_maps, quantiles
from regard.core.errors import CardError, FileError, InputError
from regard.core.volume import Grid
from regard.io.tables import Case

N = 21
SHAPE = (40, 34, 5)


def test_maps_of_all_cases_and_their_exact_quantiles(tmp_path: Path) -> None:
    function = Drawn(shape=SHAPE, bad=("case-004",))
    names = [c.case for c in cases(N)]
    store = MapStore(tmp_path / "maps.zarr", names, Grid(SHAPE, np.eye(4)), ["map"])
    run_cases(function, cases(N), tmp_path / "checkpoints", ThisProcess(), store=store)
    array = open_maps(tmp_path / "maps.zarr")["map"]
    assert array.shape == (N, *SHAPE)
    assert array.chunks[1:] == (32, 32, 5)
    assert array.dtype == np.float32
    assert open_maps(tmp_path / "maps.zarr").attrs["case_ids"] == names
    parts = [moments.map_of(function.part(c).state, "map") if n != 4 else None for n, c in enumerate(cases(N))]
    for row, one in enumerate(parts):
        np.testing.assert_array_equal(array[row], np.full(SHAPE, np.nan, np.float32) if one is None else one)
    whole = np.stack([p for p in parts if p is not None])
    found = quantiles(array, [0.05, 0.5, 0.95])
    np.testing.assert_allclose(found, np.nanquantile(whole, [0.05, 0.5, 0.95], axis=0), rtol=1e-6)
    covered = np.zeros(SHAPE, int)
    for place, values in blocks(array):
        covered[place] += 1
        assert values.shape[0] == N
    assert (covered == 1).all()
    with pytest.raises(FileError, match="--maps all"):
        open_maps(tmp_path / "absent.zarr")


@pytest.mark.parametrize(
    ("name", "space"),
    [
        ("Tian_Subcortex_S1_3T_MNI152NLin2009cAsym_2mm.nii.gz", "MNI152NLin2009cAsym"),
        ("tpl-MNI152NLin6Asym_res-01_T1w.nii.gz", "MNI152NLin6Asym"),
        ("mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz", "MNI152NLin2009aSym"),
        ("mni_icbm152_t1_tal_nlin_asym_09c_brain.nii.gz", "MNI152NLin2009cAsym"),
        ("sub-01_space-OASIS30_T1w.nii.gz", "OASIS30"),
        ("atlas.nii.gz", None),
    ],
)
def test_the_space_that_a_name_tells(name: str, space: str | None) -> None:
    assert space_of(name) == space


def test_the_sidecar_tells_before_the_name(tmp_path: Path) -> None:
    (tmp_path / "atlas.json").write_text('{"SpatialReference": "tpl-MNI152NLin6Asym_res-02"}')
    assert space_of(tmp_path / "atlas.nii.gz") == "MNI152NLin6Asym"


def write_labels(path: Path, labels: np.ndarray, affine: np.ndarray | None = None) -> Path:
    nibabel.save(nibabel.Nifti1Image(labels, np.eye(4) if affine is None else affine), path)
    return path


def test_an_atlas_on_another_grid_with_its_names(tmp_path: Path) -> None:
    labels = np.zeros((8, 8, 8), np.uint8)
    labels[:4], labels[4:, :4] = 3, 17
    path = write_labels(tmp_path / "atlas.nii.gz", labels)
    (tmp_path / "names.tsv").write_text("index\tname\n3\tleft half\n17\tright front\n99\tnowhere\n")
    grid = Grid((16, 16, 16), np.array([[0.5, 0, 0, -0.25], [0, 0.5, 0, -0.25], [0, 0, 0.5, -0.25], [0, 0, 0, 1]]))
    atlas = read_atlas(path, grid, table=tmp_path / "names.tsv")
    assert atlas.names == {3: "left half", 17: "right front"}
    np.testing.assert_array_equal(atlas.labels, labels.repeat(2, 0).repeat(2, 1).repeat(2, 2))
    assert atlas.place[0, 0, 0] == 1
    assert atlas.place[15, 0, 0] == 2
    assert atlas.place[15, 15, 0] == 0
    assert read_atlas(path, grid).names == {3: "label 3", 17: "label 17"}
    with pytest.raises(InputError, match="no label of which"):
        read_atlas(path, Grid((4, 4, 4), np.array([[1, 0, 0, 500], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])))
    with pytest.raises(InputError, match="whole number"):
        read_atlas(write_labels(tmp_path / "grey.nii.gz", labels * 0.3), grid)
    (tmp_path / "twice.tsv").write_text("index\tname\n3\ta\n3\tb\n")
    with pytest.raises(CardError, match="label 3 twice"):
        read_atlas(path, grid, table=tmp_path / "twice.tsv")


def test_a_bids_folder(tmp_path: Path) -> None:
    for name in ("sub-02/anat/sub-02_T1w.nii.gz", "sub-01/ses-b/anat/sub-01_ses-b_acq-x_T1w.nii.gz",
                 "sub-01/ses-a/anat/sub-01_ses-a_T1w.nii", "sub-01/ses-a/anat/sub-01_ses-a_T2w.nii"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "participants.tsv").write_text("participant_id\tage\tsex\nsub-01\t50\tn/a\nsub-02\t60\tF\n")
    (tmp_path / "sub-01" / "sub-01_sessions.tsv").write_text("session_id\tage\nses-b\t53\n")
    found = read_bids(tmp_path)
    assert [c.case for c in found] == ["sub-01_ses-a", "sub-01_ses-b_acq-x", "sub-02"]
    assert [c.patient for c in found] == ["sub-01", "sub-01", "sub-02"]
    assert [c.columns["age"] for c in found] == ["50", "53", "60"]
    assert "sex" not in found[0].columns
    assert find_cohort(tmp_path) == found
    with pytest.raises(CardError, match="without sub-"):
        read_bids(tmp_path / "sub-02")
    with pytest.raises(FileError, match="a table"):
        find_cohort(tmp_path / "absent")


PEOPLE = [
    Case(f"c{n}", {}, {"patient": f"p{n // 2}", "sex": "FM"[n % 2], "age": str(40 + n), "site": "ABC"[n % 3]})
    for n in range(12)
]


def test_columns_become_effects_and_nuisance() -> None:
    found = {c.name: c for c in contrasts(PEOPLE, "sex", ["age", "site"])}
    assert list(found) == ["sex: M - F", "age"]
    assert found["age"].nuisance.shape == (12, 3)  # two of three sites, and sex
    assert found["sex: M - F"].effect.tolist() == [0, 1] * 6
    assert [c.name for c in contrasts(PEOPLE, "site", [])] == [f"site: {s} - others" for s in "ABC"]
    fewer = [*PEOPLE[:-1], Case("c11", {}, {"sex": "M"})]
    assert len(contrasts(fewer, "sex", ["age"])[0].rows) == 11
    with pytest.raises(InputError, match="at least two"):
        contrasts(PEOPLE[::2], "sex", [])
    with pytest.raises(InputError, match="the column 'sexe'"):
        check_columns(PEOPLE, ["sexe"])
    assert {k: len(v) for k, v in subgroups(PEOPLE, "age").items()} == {"age <= 45.5": 6, "age > 45.5": 6}
    assert {k: len(v) for k, v in subgroups(PEOPLE, "site").items()} == {f"site = {s}": 4 for s in "ABC"}


def figures(n: int, seed: int = 0, *, effect: np.ndarray | None = None) -> RegionFigures:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(4), 16).reshape(4, 4, 4)
    rows = []
    for k in range(n):
        values = rng.normal(size=labels.shape)
        if effect is not None:
            values = np.where(labels == 2, values * (1 + effect[k]), values)
        rows.append(region_figures(values, labels, 3).plain())
    return RegionFigures.stacked(rows)


FACTS = MapFacts("map", "years", True, {1: "a", 2: "b", 5: "c"}, "scan")


def test_a_group_effect_is_found_where_it_was_put() -> None:
    effect = contrasts(PEOPLE, "sex", ["age"])[0]
    found = list(
        contrast_rows(FACTS, figures(12, effect=3 * effect.effect), [c.case for c in PEOPLE], effect, n_draws=499)
    )
    assert [r["region"] for r in found] == ["a", "b", "c"]
    assert found[1]["p_maxT"] < 0.02
    assert found[1]["density"] > 0.3
    assert found[1]["contrast"] == "sex: M - F"
    assert found[1]["n"] == 12


def test_rows_of_a_cohort() -> None:
    own, null, patients = figures(24), figures(24, 1), [f"p{n // 2}" for n in range(24)]
    rows = list(group_rows(FACTS, own, null, patients, contrast="null", n_draws=99))
    for k, row in enumerate(rows):
        by_patient = own.density[:, k].reshape(12, 2).mean(1)
        assert row["n"] == 12
        assert row["density"] == pytest.approx(by_patient.mean())
        assert row["low"] < row["density"] < row["high"]
        assert row["mean"] == pytest.approx(row["positive"] + row["negative"])
        assert row["sum"] == pytest.approx(own.sum[:, k].mean())
        assert row["p_maxT"] > 0.05
    untested = list(group_rows(MapFacts("map", "1", False, FACTS.regions, "scan"), own, None, patients))
    assert all(np.isnan(r[c]) for r in untested for c in ("sum", "t", "p_maxT"))


def test_z_leaves_the_patient_out() -> None:
    own, patients = figures(15), [f"p{n // 3}" for n in range(15)]
    rows = [r for r in subject_rows(FACTS, own, [str(n) for n in range(15)], patients) if r["region"] == "b"]
    means = own.density[:, 1].reshape(5, 3).mean(1)
    for n, row in enumerate(rows):
        others = np.delete(means, n // 3)
        expected = (own.density[n, 1] - others.mean()) / (others.std(ddof=1) * np.sqrt(1 + 1 / 4))
        assert row["z"] == pytest.approx(expected)
        assert row["n"] == 4
