"""Regions: labels on every layer, segments by name, and paths that hold the characters which divide a target."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from regard.core.errors import InputError
from regard.io.regions import read_region, split_region
from regard.models import ModelCard, OutputSpec
from regard.models.card import InputSpec
from regard.models.target_text import absolute_target, read_target

nrrd = pytest.importorskip("nrrd")
CARD = ModelCard(name="m", inputs=(InputSpec(),), output=OutputSpec(kind="image", names=("ct",)))


def save(path: Path, values: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)
    return path


def layered() -> np.ndarray:
    """Two layers: label 1 in one corner, label 2 overlapping it on the second layer."""
    values = np.zeros((4, 4, 4, 2), dtype=np.uint8)
    values[:2, :2, :2, 0] = 1
    values[1:3, 1:3, 1:3, 1] = 2
    return values


def test_a_label_on_the_second_layer_is_read(tmp_path: Path) -> None:
    path = save(tmp_path / "labels.nii.gz", layered())
    for label in (1, 2):
        expected = (layered() == label).any(3)
        assert np.array_equal(read_region(f"{path}#{label}").tensor[0].numpy() > 0, expected)
    assert np.array_equal(read_region(str(path)).tensor[0].numpy() > 0, (layered() > 0).any(3))
    with pytest.raises(InputError, match=r"no voxel lies; expected a label among 0, 1, 2"):
        read_region(f"{path}#5")


def segments(path: Path, *, values: tuple[int, int]) -> Path:
    data = layered().transpose(3, 0, 1, 2)
    data[1][data[1] == 2] = values[1]
    header = {
        "space": "left-posterior-superior",
        "kinds": ["list", "domain", "domain", "domain"],
        "space directions": np.vstack([np.full(3, np.nan), np.eye(3)]),
        "space origin": np.zeros(3),
    }
    for n, (name, value) in enumerate(zip(("liver", "tumour"), values, strict=True)):
        header |= {f"Segment{n}_Name": name, f"Segment{n}_ID": f"Segment_{n + 1}"}
        header |= {f"Segment{n}_LabelValue": str(value), f"Segment{n}_Layer": str(n)}
    nrrd.write(str(path), data, header)
    return path


def test_a_segment_on_its_layer_is_read_by_value_and_by_name(tmp_path: Path) -> None:
    path = segments(tmp_path / "a.seg.nrrd", values=(1, 2))
    second = layered()[..., 1] == 2
    for label in ("2", "tumour", "Segment_2"):
        assert np.array_equal(read_region(f"{path}#{label}").tensor[0].numpy() > 0, second)


def test_one_value_on_two_layers_is_asked_back(tmp_path: Path) -> None:
    path = segments(tmp_path / "a.seg.nrrd", values=(1, 1))
    with pytest.raises(InputError, match=r"several segments; expected one of: liver \(label 1, layer 0\), tumour"):
        read_region(f"{path}#1")
    assert np.array_equal(read_region(f"{path}#tumour").tensor[0].numpy() > 0, layered()[..., 1] == 2)
    with pytest.raises(InputError, match="is no segment of the file"):
        read_region(f"{path}#kidney")


def test_labels_that_a_float_file_has_rounded_are_whole(tmp_path: Path) -> None:
    values = np.zeros((3, 3, 3), dtype=np.float32)
    values[1, 1, 1] = 1.999996
    path = save(tmp_path / "float.nii.gz", values)
    assert int(read_region(f"{path}#2").tensor.sum()) == 1


@pytest.mark.parametrize("folder", ["a#1", "a@b", "a,b", "x#y@z,w"])
def test_a_folder_may_hold_what_divides_a_target(folder: str, tmp_path: Path) -> None:
    path = save(tmp_path / folder / "labels.nii.gz", layered())
    label = (layered() == 2).any(3)
    for text, channel in ((f"mean:{path}#2", 0), (f"mean:{path}#2@ct", 0), (f"mean:{path}#2@1", 1)):
        target = read_target(text, CARD)
        assert target.channel == channel
        assert torch.equal(target.region.tensor[0] > 0, torch.from_numpy(label))
        assert absolute_target(text) == text
    both = read_target(f"contrast:{path}#1,{path}#2", CARD)
    assert int(both.positive.region.tensor.sum()) == int((layered() == 1).sum())
    assert split_region(str(path)) == (str(path), "")


def test_a_folder_with_the_mark_and_no_such_file_is_told_whole(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file '.*a#1/gone\.nii\.gz'"):
        read_region(str(tmp_path / "a#1" / "gone.nii.gz"))
