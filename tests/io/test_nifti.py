import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from file_samples import AFFINES, explanation_of

import regard
from regard.core.errors import FileError, GeometryError
from regard.io.maps import save_map


def save(path: Path, data: np.ndarray, affine: np.ndarray | None = None) -> Path:
    nibabel.save(nibabel.Nifti1Image(data, np.eye(4) if affine is None else affine), path)
    return path


@pytest.fixture
def marker() -> tuple[np.ndarray, tuple[int, int, int]]:
    """An L: its corner is the only voxel where all three arms meet, and each arm has its own length."""
    data = np.zeros((9, 11, 13), dtype=np.float32)
    corner = (2, 3, 4)
    data[2:8, 3, 4] = 1
    data[2, 3:7, 4] = 2
    data[2, 3, 4:6] = 3
    data[corner] = 9
    return data, corner


@pytest.mark.parametrize("name", AFFINES)
def test_an_l_shaped_marker_keeps_its_corner_from_file_to_map(
    name: str, marker: tuple[np.ndarray, tuple[int, int, int]], tmp_path: Path
) -> None:
    data, corner = marker
    affine = AFFINES[name]
    world = affine @ [*corner, 1]
    scan = regard.read(save(tmp_path / "scan.nii.gz", data, affine))
    assert np.allclose(scan.affine, affine, atol=1e-5)
    place = np.unravel_index(int(scan.tensor[0].argmax()), scan.shape)
    assert np.allclose(scan.grid.to_world(place), world[:3], atol=1e-4)

    save_map(explanation_of(scan, scan.tensor.clone()), tmp_path / "map_relevance.nii.gz")
    back = nibabel.load(tmp_path / "map_relevance.nii.gz")
    place = np.unravel_index(int(back.get_fdata().argmax()), back.shape)
    assert place == corner
    assert np.allclose((back.affine @ [*place, 1])[:3], world[:3], atol=1e-4)
    assert np.array_equal(back.get_fdata(), data)


def test_scale_factors_are_applied(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.eye(4))
    image.header.set_slope_inter(0.5, -3)
    image.header.set_data_dtype(np.int16)
    path = tmp_path / "scaled.nii"
    raw = bytearray(image.to_bytes())
    raw[112:120] = np.array([0.5, -3.0], dtype="<f4").tobytes()
    raw[352:] = np.arange(24, dtype="<i2").reshape(4, 3, 2).T.tobytes(order="F")
    path.write_bytes(bytes(raw))
    stored = np.arange(24).reshape(4, 3, 2).T
    assert np.array_equal(regard.read(path).tensor[0].numpy(), 0.5 * stored - 3)
    assert regard.read(path).tensor.dtype == torch.float32


def test_the_unit_is_what_the_user_says(tmp_path: Path) -> None:
    path = save(tmp_path / "ct.nii.gz", np.zeros((2, 2, 2), np.float32))
    assert regard.read(path).unit == "intensity"
    assert regard.read(path, unit="HU").unit == "HU"


@pytest.mark.parametrize(
    ("shape", "channels", "space"),
    [
        ((3, 4, 5, 2), 2, (3, 4, 5)),
        ((3, 4, 5, 1), 1, (3, 4, 5)),
        ((3, 4, 5, 1, 3), 3, (3, 4, 5)),
        ((3, 4), 1, (3, 4, 1)),
    ],
)
def test_further_axes_become_channels(
    shape: tuple[int, ...], channels: int, space: tuple[int, ...], tmp_path: Path
) -> None:
    data = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    scan = regard.read(save(tmp_path / "image.nii.gz", data))
    assert (scan.n_channels, scan.shape) == (channels, space)
    last = tuple(n - 1 for n in shape[:2])
    assert scan.tensor[-1, last[0], last[1], -1] == data[*last, ...].max()


def test_a_time_series_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "bold.nii.gz", np.zeros((2, 2, 2, 100), np.float32))
    with pytest.raises(FileError, match=r"shape \(2, 2, 2, 100\).*64 channels"):
        regard.read(path)


def test_nan_is_read_as_it_is(tmp_path: Path) -> None:
    data = np.zeros((2, 2, 2), np.float32)
    data[0, 1, 0] = np.nan
    assert int(torch.isnan(regard.read(save(tmp_path / "nan.nii.gz", data)).tensor).sum()) == 1


@pytest.mark.parametrize("dtype", [np.complex64, np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])])
def test_complex_and_colour_voxels_are_refused(dtype: np.dtype, tmp_path: Path) -> None:
    path = save(tmp_path / "odd.nii.gz", np.zeros((2, 2, 2), dtype))
    with pytest.raises(FileError, match="one real number for each voxel"):
        regard.read(path)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_file_is_one_sentence(ending: str, share: float, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(size=(9, 9, 9)).astype(np.float32)
    path = save(tmp_path / f"cut{ending}", noise)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(FileError, match=r"cut\.nii.*(truncated|not a readable)"):
        regard.read(path)


def test_one_wrong_byte_in_a_compressed_file_is_noticed(tmp_path: Path) -> None:
    path = save(tmp_path / "flip.nii.gz", np.random.default_rng(0).normal(size=(9, 9, 9)).astype(np.float32))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(FileError, match="not a readable NIfTI"):
        regard.read(path)


def test_a_header_that_promises_more_than_the_file_can_hold_is_refused_before_reading(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.zeros((2, 2, 2), np.float32), np.eye(4))
    raw = bytearray(image.to_bytes())
    raw[40:56] = np.array([3, 30000, 30000, 30000, 1, 1, 1, 1], dtype="<i2").tobytes()
    path = tmp_path / "huge.nii.gz"
    path.write_bytes(gzip.compress(bytes(raw)))
    with pytest.raises(FileError, match="truncated"):
        regard.read(path)


def test_parallel_voxel_axes_are_a_geometry_error_that_names_the_file(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.zeros((2, 2, 2), np.float32), np.eye(4))
    raw = bytearray(image.to_bytes())
    raw[252:256] = np.array([0, 1], dtype="<i2").tobytes()
    raw[280:328] = np.array([[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0]], dtype="<f4").tobytes()
    path = tmp_path / "flat.nii"
    path.write_bytes(bytes(raw))
    with pytest.raises(GeometryError, match=r"flat\.nii.*determinant 0"):
        regard.read(path)


def test_microns_become_millimetres(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    image = nibabel.Nifti1Image(np.zeros((2, 2, 2), np.float32), np.diag([50.0, 50.0, 50.0, 1.0]))
    image.header.set_xyzt_units("micron")
    nibabel.save(image, tmp_path / "small.nii")
    assert regard.read(tmp_path / "small.nii").spacing == pytest.approx((0.05, 0.05, 0.05))
    assert "microns" in caplog.text


@pytest.mark.parametrize(("unit", "in_mm"), [("micron", 0.001), ("meter", 1000.0)])
def test_the_origin_is_in_the_headers_unit_too(tmp_path: Path, unit: str, in_mm: float) -> None:
    affine = np.array([[0.0, 50, 0, -1200], [-40, 0, 0, 340], [0, 0, 60, 77], [0, 0, 0, 1]])
    image = nibabel.Nifti1Image(np.zeros((2, 3, 4), np.float32), affine)
    image.header.set_xyzt_units(unit)
    nibabel.save(image, tmp_path / "small.nii")
    found = regard.read(tmp_path / "small.nii").affine
    np.testing.assert_allclose(found[:3], affine[:3] * in_mm, rtol=1e-6)


def test_sform_and_qform_that_differ_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    image = nibabel.Nifti1Image(np.zeros((2, 2, 2), np.float32), np.eye(4))
    image.set_sform(np.diag([2.0, 2.0, 2.0, 1.0]), 1)
    image.set_qform(np.eye(4), 1)
    nibabel.save(image, tmp_path / "two.nii")
    assert regard.read(tmp_path / "two.nii").spacing == (2.0, 2.0, 2.0)
    assert "sform and qform differ" in caplog.text
    image.set_sform(None, 0)
    image.set_qform(None, 0)
    nibabel.save(image, tmp_path / "none.nii")
    regard.read(tmp_path / "none.nii")
    assert "neither sform nor qform" in caplog.text


def test_freesurfer_volumes_are_read(tmp_path: Path) -> None:
    data = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)
    nibabel.save(nibabel.MGHImage(data, AFFINES["oblique"]), tmp_path / "brain.mgz")
    scan = regard.read(tmp_path / "brain.mgz")
    assert np.array_equal(scan.tensor[0].numpy(), data)
    assert np.allclose(scan.affine, AFFINES["oblique"], atol=1e-4)
