"""Twenty geometries: another reader places the map where it places the scan, or reads neither.

ITK (through SimpleITK) takes its place from qform or sform by rules of its own and refuses some; nibabel by others.
"""

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from file_samples import AFFINES, WriteSeries, explanation_of, rotation

import regard
from regard.core.volume import Volume
from regard.io.maps import save_map

sitk = pytest.importorskip("SimpleITK")
SHAPE = (5, 6, 7)
CORNERS = np.array(np.meshgrid(*[(0, n - 1) for n in SHAPE], indexing="ij")).reshape(3, -1).T
FORMS = ("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z",
         "srow_x", "srow_y", "srow_z", "xyzt_units")  # fmt: skip


def nifti(affine: np.ndarray, codes: tuple[int, int] = (1, 1), *, sform: np.ndarray | None = None, unit: str = "mm",
          kind: type = nibabel.Nifti1Image) -> nibabel.Nifti1Image:  # fmt: skip
    """An image with a qform of ``affine``, a sform of ``sform`` or the same, and the codes of both."""
    values = np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)
    image = kind(values, None)  # with an affine given, nibabel would write that in place of the forms
    header = image.header
    header.set_qform(affine, codes[0], strip_shears=True)
    header.set_sform(affine if sform is None else sform, codes[1])
    header.set_xyzt_units(unit)
    return image


def moved(affine: np.ndarray, mm: tuple[float, float, float], degrees: float = 0.0) -> np.ndarray:
    other = affine.copy()
    other[:3, :3] = rotation(degrees, 0, 0) @ other[:3, :3]
    other[:3, 3] += mm
    return other


def sheared(affine: np.ndarray, mm: float) -> np.ndarray:
    """Slices that slip by ``mm`` along the second axis from one to the next."""
    other = affine.copy()
    other[:3, 2] += other[:3, 1] / np.linalg.norm(other[:3, 1]) * mm
    return other


OBLIQUE = AFFINES["oblique"]
MICRONS = OBLIQUE.copy()
MICRONS[:3] *= 1000
METRES = OBLIQUE.copy()
METRES[:3] /= 1000

GEOMETRIES: dict[str, Callable[[], nibabel.Nifti1Image]] = {
    **{name: (lambda a=affine: nifti(a)) for name, affine in AFFINES.items()},
    "codes 0 and 0": lambda: nifti(OBLIQUE, (0, 0)),
    "qform alone": lambda: nifti(OBLIQUE, (1, 0)),
    "sform alone": lambda: nifti(OBLIQUE, (0, 2)),
    "MNI 4 and 4": lambda: nifti(AFFINES["RAS"], (4, 4)),
    "Talairach sform": lambda: nifti(OBLIQUE, (1, 3), sform=AFFINES["RAS"]),
    "after SPM: forms 50 mm apart": lambda: nifti(OBLIQUE, (1, 2), sform=moved(OBLIQUE, (30.0, -40.0, 5.0), 12.0)),
    "aligned qform": lambda: nifti(OBLIQUE, (2, 1), sform=moved(OBLIQUE, (1.0, 2.0, 3.0))),
    "sform sheared by 0.05 mm": lambda: nifti(OBLIQUE, (1, 1), sform=sheared(OBLIQUE, 0.05)),
    "sheared sform alone": lambda: nifti(OBLIQUE, (0, 1), sform=sheared(OBLIQUE, 0.7)),
    "left-handed, qfac -1": lambda: nifti(OBLIQUE @ np.diag([1.0, 1.0, -1.0, 1.0])),
    "microns": lambda: nifti(MICRONS, unit="micron"),
    "metres": lambda: nifti(METRES, unit="meter"),
    "unit unknown": lambda: nifti(OBLIQUE, unit="unknown"),
    "NIfTI-2": lambda: nifti(OBLIQUE, (1, 2), sform=moved(OBLIQUE, (3.0, 4.0, 5.0)), kind=nibabel.Nifti2Image),
    "half turn": lambda: nifti(np.diag([-2.0, 2.0, -2.0, 1.0])),
}


def by_itk(path: Path) -> np.ndarray | None:
    """Where ITK places the corner voxels, or None where it does not read the file."""
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError:
        return None
    return np.array([image.TransformContinuousIndexToPhysicalPoint([float(v) for v in c]) for c in CORNERS])


def by_nibabel(path: Path) -> np.ndarray:
    return nibabel.affines.apply_affine(nibabel.load(path).affine, CORNERS)


def the_map_of(path: Path) -> Path:
    save_map(explanation_of(regard.read(path)), path.parent / "a_relevance.nii.gz")
    return path.parent / "a_relevance.nii.gz"


@pytest.mark.parametrize("name", GEOMETRIES)
def test_each_reader_places_the_map_where_it_places_the_scan(name: str, tmp_path: Path) -> None:
    scan = tmp_path / "scan.nii.gz"
    nibabel.save(GEOMETRIES[name](), scan)
    found = the_map_of(scan)
    assert np.abs(by_nibabel(scan) - by_nibabel(found)).max() < 1e-3
    here, there = by_itk(scan), by_itk(found)
    if here is not None:
        assert there is not None
        assert np.abs(here - there).max() < 1e-3
    scan_header, map_header = nibabel.load(scan).header, nibabel.load(found).header
    for key in FORMS:
        assert np.allclose(scan_header[key], map_header[key], rtol=1e-6, atol=0), key
    assert np.allclose(scan_header["pixdim"][:4], map_header["pixdim"][:4], rtol=1e-6)
    assert regard.read(found).grid.matches(regard.read(scan).grid)


def test_there_are_twenty_geometries_and_those_that_itk_refuses_are_known(tmp_path: Path) -> None:
    assert len(GEOMETRIES) >= 20
    refused = []
    for name, make in GEOMETRIES.items():
        nibabel.save(make(), tmp_path / "scan.nii")
        if by_itk(tmp_path / "scan.nii") is None:
            refused.append(name)
    assert refused == ["sheared sform alone", "NIfTI-2"]


@pytest.mark.parametrize("unit", ["micron", "meter"])
def test_the_origin_is_in_the_unit_of_the_header_too(unit: str, tmp_path: Path) -> None:
    nibabel.save(nifti(MICRONS if unit == "micron" else METRES, unit=unit), tmp_path / "scan.nii")
    assert np.allclose(regard.read(tmp_path / "scan.nii").affine, OBLIQUE, atol=1e-3)


def test_a_slice_of_a_scan_does_not_carry_the_forms_of_the_whole(tmp_path: Path) -> None:
    nibabel.save(nifti(OBLIQUE, (4, 4)), tmp_path / "scan.nii")
    slice_ = regard.read(tmp_path / "scan.nii").slice(2, 3)
    save_map(explanation_of(slice_), tmp_path / "a_relevance.nii.gz")
    found = nibabel.load(tmp_path / "a_relevance.nii.gz")
    assert np.allclose(found.affine, slice_.affine, atol=1e-4)
    assert np.allclose(found.header.get_qform(), slice_.affine, atol=1e-4)


def test_forms_of_another_grid_are_not_written(tmp_path: Path) -> None:
    """A volume that was cropped keeps what its file said; its map must lie where it lies."""
    nibabel.save(nifti(OBLIQUE, (4, 4)), tmp_path / "scan.nii")
    scan = regard.read(tmp_path / "scan.nii")
    affine = scan.affine.copy()
    affine[:3, 3] += affine[:3, 0] * 2
    cropped = Volume(scan.tensor[:, 2:], affine, stored=scan.stored)
    save_map(explanation_of(cropped), tmp_path / "a_relevance.nii.gz")
    assert np.allclose(nibabel.load(tmp_path / "a_relevance.nii.gz").affine, affine, atol=1e-4)


@pytest.mark.parametrize("tilt", [0.0, 0.9])
def test_itk_places_the_map_of_a_series_where_it_places_the_series(
    tilt: float, write_series: WriteSeries, tmp_path: Path
) -> None:
    """With a tilted gantry (``tilt`` mm from slice to slice) ITK has no shear, and stacks slices at right angles."""
    write_series(np.zeros((7, 6, 5), dtype=np.uint16), directions=rotation(20, -15, 40), shear=(0.0, tilt, 0.0))
    folder = tmp_path / "series"
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    series = sitk.ReadImage(names)
    scan = regard.read(folder)
    save_map(explanation_of(scan), tmp_path / "a_relevance.nii.gz")
    corners = [[float(v) for v in c] for c in CORNERS]
    here = np.array([series.TransformContinuousIndexToPhysicalPoint(c) for c in corners])
    assert np.abs(here - by_itk(tmp_path / "a_relevance.nii.gz")).max() < 1e-3
    assert np.allclose(by_nibabel(tmp_path / "a_relevance.nii.gz"), [scan.grid.to_world(c) for c in CORNERS], atol=1e-3)


def test_a_quaternion_longer_than_one_by_rounding_is_read(tmp_path: Path) -> None:
    image = nifti(np.diag([-2.0, 2.0, -2.0, 1.0]), (1, 0))
    raw = bytearray(image.to_bytes())
    raw[256:268] = np.array([0.0, 1.0 + 7e-6, 0.0], dtype="<f4").tobytes()
    (tmp_path / "scan.nii").write_bytes(bytes(raw))
    assert np.allclose(regard.read(tmp_path / "scan.nii").affine, np.diag([-2.0, 2.0, -2.0, 1.0]), atol=1e-4)
    found = the_map_of(tmp_path / "scan.nii")
    assert np.abs(by_itk(tmp_path / "scan.nii") - by_itk(found)).max() < 1e-3
    raw[256:268] = np.array([0.0, 1.01, 0.0], dtype="<f4").tobytes()
    (tmp_path / "scan.nii").write_bytes(bytes(raw))
    with pytest.raises(regard.io.nifti.FileError, match="not a readable NIfTI"):
        regard.read(tmp_path / "scan.nii")
