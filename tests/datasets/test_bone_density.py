"""A user's table of CT with densities: what is read, and what is refused."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from regard.core.errors import CardError, FileError, InputError
from regard.core.volume import Volume
from regard.datasets.bone_density import label_of, leaks, read_density_table, slices_through_l1
from regard.io import Case, save_volume

sys.path.insert(0, str(Path(__file__).parents[1] / "studies"))
from bmd_tree import AFFINE, body, tree, write

CUT = {"shape": (32, 24), "spacing_mm": 4.5, "slice_mm": 4.0, "offsets_mm": (-4.0, 0.0, 4.0)}


def test_missing_columns_are_the_tables_mistake(tmp_path: Path) -> None:
    for lacking in ("label", "patient"):
        columns = tuple(c for c in ("case", "image", "patient", "label", "l1") if c != lacking)
        with pytest.raises(CardError, match=f"without the column {lacking}"):
            read_density_table(tree(tmp_path / lacking, n_good=1, columns=columns, defects=False))
    with pytest.raises(FileError, match=r"cases\.tsv"):
        (tmp_path / "empty").mkdir()
        read_density_table(tmp_path / "empty")
    assert len(read_density_table(tree(tmp_path / "folder", n_good=2, defects=False).parent)) == 2


def test_slices_lie_where_the_mask_says(tmp_path: Path) -> None:
    cases = read_density_table(tree(tmp_path, n_good=2, defects=False))
    by_mask, by_height = slices_through_l1(cases[1], **CUT), slices_through_l1(cases[0], **CUT)
    assert len(by_mask) == 3
    middle = by_mask[1]
    assert middle.image.shape == (24, 32, 1) and middle.image.grid.orientation == "LPS"
    # The mask's body has its middle at voxel (19.5, 22, 3.5).
    wanted = AFFINE[:3, :3] @ [19.5, 22, 3.5] + AFFINE[:3, 3]
    assert np.allclose(middle.image.grid.to_world([11.5, 15.5, 0]), wanted, atol=1e-6)
    assert [s.image.affine[2, 3] - wanted[2] for s in by_mask] == pytest.approx([-4.0, 0.0, 4.0])
    assert float(middle.body.max()) == 1 and float(middle.vertebra.sum()) > float(middle.body.sum())
    inside = middle.image.tensor[middle.body == 1]
    assert float(inside.mean()) == pytest.approx(100 + 300 * 0.9, abs=6)
    assert by_height[0].body is None
    assert by_height[1].image.affine[2, 3] == pytest.approx(wanted[2])


def test_a_thick_slice_lies_in_the_middle_of_what_it_averages(tmp_path: Path) -> None:
    """HU that rise by 20 with each mm of height, in a scan of 4 mm: a slice of 8 mm holds those of its own middle."""
    height = AFFINE[2, 3] + 4.0 * np.arange(8)
    rising = np.broadcast_to(20 * (height - height[0]) - 200, (40, 40, 8))
    write(tmp_path / "ct.nii.gz", rising)
    at = float(height[0] + 15.0)
    case = Case("a", {"image": tmp_path / "ct.nii.gz"}, {"label": "0.9", "patient": "p", "l1": f"{at}"})
    (cut,) = slices_through_l1(case, shape=(24, 24), spacing_mm=4.5, slice_mm=8.0, offsets_mm=(0.0,))
    assert cut.image.affine[2, 3] == pytest.approx(at)
    assert cut.image.unit == "HU"
    assert float(cut.image.tensor[0, 12, 12, 0]) == pytest.approx(20 * 15.0 - 200, abs=0.1)


def test_a_slice_of_any_orientation_gives_the_same(tmp_path: Path) -> None:
    """The same anatomy stored with other axes is cut the same."""
    plain = Volume(torch.tensor(body(0.9, 1)).float()[None], AFFINE, "HU")
    flipped_affine = AFFINE @ np.array([[-1, 0, 0, 39], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]])
    flipped = Volume(plain.tensor.flip(1).transpose(2, 3), flipped_affine, "HU")
    made = []
    for name, volume in (("a", plain), ("b", flipped)):
        save_volume(volume, tmp_path / f"{name}.nii.gz")
        height = f"{AFFINE[2, 3] + 14.0}"
        case = Case(name, {"image": tmp_path / f"{name}.nii.gz"}, {"label": "0.9", "patient": "p", "l1": height})
        made.append(slices_through_l1(case, **CUT)[1].image)
    assert torch.allclose(made[0].tensor, made[1].tensor, atol=1e-3)
    assert np.allclose(made[0].affine, made[1].affine, atol=1e-4)


def test_one_slice_needs_no_l1(tmp_path: Path) -> None:
    write(tmp_path / "one.nii.gz", body(0.8, 3)[:, :, 3:4])
    found = slices_through_l1(Case("one", {"image": tmp_path / "one.nii.gz"}, {"label": "0.8"}), **CUT)
    assert len(found) == 1 and found[0].body is None


@pytest.mark.parametrize(("said", "reason"), [("112.5", "looks like mg"), ("0.01", "g/cm2"), ("7", "0.1 to 3")])
def test_densities_of_another_unit(said: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        label_of(Case("c", {}, {"label": said}))
    assert label_of(Case("c", {}, {"label": "0.95"})) == 0.95


def test_a_patient_in_two_splits_is_told() -> None:
    rows = [("a", "p", "train"), ("b", "p", "train"), ("c", "p", "test"), ("d", "q", "held")]
    found = leaks([Case(c, {}, {"patient": p, "split": s}) for c, p, s in rows])
    assert list(found) == ["c", "d"]
