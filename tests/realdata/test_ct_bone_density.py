"""A real abdominal CT through the bone density study: cut, outlined, read, explained, and told to be outside.

The networks are trained here, on a few phantoms for half a minute: enough to run, not enough to measure by. The data
folder is named by the environment variable ``REGARD_DATA``. The masks are TotalSegmentator's, not a person's.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from regard.cli import main
from regard.core.geometry import resample
from regard.core.volume import Volume
from regard.io import Case, read, save_volume
from regard.io.maps import read_map
from regard.studies.bmd.outlines import CLASSICAL
from regard.studies.bmd.reading import Reading, read_ct
from regard.studies.scoring.segmentation import dice

L1, BODY = 31, 1
SETTINGS = [
    "data.shape=[96,96]", "data.spacing_mm=2.0", "data.n_train=60", "data.n_calibration=0", "data.n_test=6",
    "data.doses=[0.0]", "train.n_members=2", "train.n_epochs=8", "train.n_decoy_epochs=1", "train.n_second_members=0",
    "train.unet_epochs=14", "train.unet_slices=60", "train.unet_widths=[16,16,32,64]",
]  # fmt: skip


@pytest.fixture(scope="module")
def mask(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Volume]:
    """L1 of the CT as the study's table wants it: its body 1, the rest of it 2."""
    vertebrae = read(data / "ct_body/ct_full_seg_vertebrae.nii.gz", unit="label")
    bodies = read(data / "ct_body/ct_full_seg_vertebral_bodies.nii.gz", unit="label")
    own = vertebrae.tensor == L1
    body = own & (bodies.tensor == BODY)
    found = vertebrae.with_tensor(body.float() + 2 * (own & ~body).float(), unit="label")
    path = tmp_path_factory.mktemp("mask") / "l1.nii.gz"
    save_volume(found, path)
    return path, found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bmd") / "run"
    words = ["study", "run", "bmd", "--size", "smoke", "-o", str(path), "-q", "--threads", "1", "--acts", "data,train"]
    assert main([*words, *(w for s in SETTINGS for w in ("--set", s))]) == 0
    return path


@pytest.fixture(scope="module")
def case(data: Path, mask: tuple[Path, Volume]) -> Case:
    columns = {"patient": "ct-full", "l1": str(mask[0])}
    return Case("ct-full", {"image": data / "ct_body/ct_full.nii.gz"}, columns, mask[0].parent)


@pytest.fixture(scope="module")
def reading(run: Path, case: Case) -> Reading:
    return read_ct(run, case, ["grad-ram", "grad-ramp", "integrated-gradients:n_steps=12"])


def at_middle(mask: Volume) -> np.ndarray:
    """Middle of L1's body [RAS mm], from the mask's own affine."""
    index = ((mask.tensor[0] - 1).abs() < 0.5).nonzero().double().mean(0).numpy()
    return mask.affine[:3, :3] @ index + mask.affine[:3, 3]


def test_the_slice_lies_where_l1_lies(reading: Reading, mask: tuple[Path, Volume], data: Path) -> None:
    image = reading.image
    assert image.shape == (96, 96, 1)
    assert np.allclose(image.spacing, (2.0, 2.0, 5.0))
    centre = image.affine[:3, :3] @ [47.5, 47.5, 0] + image.affine[:3, 3]
    assert np.abs(centre - at_middle(mask[1])).max() < 1e-6
    # The image's numbers are the CT's at the same millimetres: carried there by hand, voxel by voxel.
    ct = read(data / "ct_body/ct_full.nii.gz")
    drawn = np.random.default_rng(0).integers(20, 76, (200, 2))
    inverse = np.linalg.inv(ct.affine)
    ours, theirs = [], []
    for i, j in drawn:
        world = image.affine[:3, :3] @ [i, j, 0] + image.affine[:3, 3]
        x, y, z = np.rint(inverse[:3, :3] @ world + inverse[:3, 3]).astype(int)
        ours.append(float(image.tensor[0, i, j, 0]))
        theirs.append(float(ct.tensor[0, x, y, z]))
    assert np.corrcoef(ours, theirs)[0, 1] > 0.9


def test_every_map_lies_on_the_slice_and_its_number_is_stamped(reading: Reading) -> None:
    assert len(reading.explanations) == 3
    for explanation in reading.explanations:
        relevance = explanation.relevance
        assert relevance.shape == reading.image.shape
        assert np.array_equal(relevance.affine, reading.image.affine)
        assert bool(torch.isfinite(relevance.tensor).all()) and float(relevance.tensor.abs().max()) > 0
        assert any("simulated" in w and "outside" in w for w in explanation.warnings)
    assert any("simulated" in w for w in reading.warnings)
    assert all(0 < value < 3 for value in reading.densities.values())


def test_the_outline_lies_on_the_vertebra(reading: Reading, mask: tuple[Path, Volume]) -> None:
    """It meets the mask better than the same outline moved anywhere by 4 cm or more; how well is not for this test."""
    vertebra = mask[1].with_tensor((mask[1].tensor > 0.5).float())
    wanted = resample(vertebra, reading.image.grid, order=1).tensor[0, ..., 0].numpy() > 0.5
    found = reading.outline.tensor[0, ..., 0].numpy() > 0
    moved = [
        dice(np.roll(found, (i, j), (0, 1)), wanted)
        for i in range(-40, 41, 4)
        for j in range(-40, 41, 4)
        if i * i + j * j >= 400
    ]
    assert dice(found, wanted) > max(moved)
    by_hand = [outline(reading.image.tensor[0, ..., 0].T.numpy()) for outline in CLASSICAL.values()]
    assert all(0 < m.sum() < m.size / 4 for m in by_hand)


def test_the_command_line_stamps_it_too(run: Path, reading: Reading, tmp_path: Path) -> None:
    save_volume(reading.image, tmp_path / "slice.nii.gz")
    words = ["explain", str(run / "models/case1-member0"), str(tmp_path / "slice.nii.gz"), "-m", "grad-ram", "-q"]
    assert main([*words, "-o", str(tmp_path / "out")]) == 0
    (path,) = (tmp_path / "out/maps").glob("*_relevance.json")
    stored = read_map(path)
    assert np.allclose(stored.relevance.affine, reading.image.affine)
    assert any("simulated" in w for w in stored.sidecar["warnings"])
    assert "outside of what the network knows" in (tmp_path / "out/report.html").read_text()
