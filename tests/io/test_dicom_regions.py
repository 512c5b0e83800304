"""DICOM SEG and RTSTRUCT as regions, RTDOSE as an image."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from file_samples import WriteSeries, explanation_of, new_slice, put_pixels, rotation
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

import regard
from regard.core.errors import GeometryError, InputError
from regard.core.geometry import resample
from regard.core.volume import Volume
from regard.io.regions import read_region
from regard.io.segmentation_map import save_segmentation, threshold_of

CENTRE = np.array([10.0, -20.0, 30.0])


def item(**fields: object) -> Dataset:
    dataset = Dataset()
    for key, value in fields.items():
        setattr(dataset, key, value)
    return dataset


def circles(radius: float, step: float, directions: np.ndarray) -> list[np.ndarray]:
    """Contours of a sphere in planes ``step`` mm apart along the third direction, LPS."""
    angles = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    rings = []
    for height in np.arange(-radius + step / 2, radius, step):
        r = np.sqrt(radius**2 - height**2)
        flat = np.stack([r * np.cos(angles), r * np.sin(angles), np.full_like(angles, height)], axis=1)
        rings.append(CENTRE + flat @ directions.T)
    return rings


def rtstruct(path: Path, rois: dict[str, list[np.ndarray]]) -> Path:
    dataset = new_slice(Modality="RTSTRUCT", SOPClassUID="1.2.840.10008.5.1.4.1.1.481.3")
    numbers = {name: n + 1 for n, name in enumerate(rois)}
    dataset.StructureSetROISequence = Sequence([item(ROINumber=n, ROIName=name) for name, n in numbers.items()])
    dataset.ROIContourSequence = Sequence([
        item(ReferencedROINumber=numbers[name], ContourSequence=Sequence([
            item(ContourGeometricType="CLOSED_PLANAR", NumberOfContourPoints=len(p),
                 ContourData=[f"{v:.4f}" for v in p.ravel()]) for p in polygons])) for name, polygons in rois.items()
    ])  # fmt: skip
    dataset.save_as(path, enforce_file_format=True)
    return path


def volume_of(mask: Volume) -> float:
    return float(mask.tensor.sum()) * abs(float(np.linalg.det(mask.affine[:3, :3])))


def centre_of(mask: Volume) -> np.ndarray:
    return mask.grid.to_world(mask.tensor[0].nonzero().double().mean(0).numpy())


@pytest.mark.parametrize("turn", [(0, 0, 0), (90, 0, 0), (20, -15, 40)])
@pytest.mark.parametrize(("radius", "step"), [(20.0, 2.0), (8.0, 1.0)])
def test_a_sphere_of_contours_has_the_volume_of_a_sphere(
    radius: float, step: float, turn: tuple[int, int, int], tmp_path: Path
) -> None:
    path = rtstruct(tmp_path / "rs.dcm", {"ball": circles(radius, step, rotation(*turn))})
    mask = read_region(str(path))
    assert volume_of(mask) == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.02)
    assert np.allclose(centre_of(mask), CENTRE * [-1, -1, 1], atol=0.3)
    spread = mask.tensor[0].nonzero().double().numpy() @ mask.affine[:3, :3].T + mask.affine[:3, 3]
    distance = np.linalg.norm(spread - CENTRE * [-1, -1, 1], axis=1)
    assert distance.max() < radius + step


def test_a_contour_within_another_is_a_hole(tmp_path: Path) -> None:
    outer, inner = circles(20, 2, np.eye(3)), circles(10, 2, np.eye(3))
    path = rtstruct(tmp_path / "rs.dcm", {"shell": outer + inner})
    expected = 4 / 3 * np.pi * (20**3 - 10**3)
    assert volume_of(read_region(str(path))) == pytest.approx(expected, rel=0.03)


def test_a_structure_is_named_or_numbered(tmp_path: Path) -> None:
    path = rtstruct(tmp_path / "rs.dcm", {"big": circles(20, 2, np.eye(3)), "small": circles(8, 2, np.eye(3))})
    assert volume_of(read_region(f"{path}#small")) == volume_of(read_region(f"{path}#2"))
    for text in (str(path), f"{path}#other"):
        with pytest.raises(InputError, match=r"one of: big \(number 1\), small \(number 2\)"):
            read_region(text)


def test_planes_that_are_uneven_are_refused(tmp_path: Path) -> None:
    rings = circles(20, 2, np.eye(3))
    rings[3] = rings[3] + [0, 0, 0.7]
    with pytest.raises(GeometryError, match="planes of contours"):
        read_region(str(rtstruct(tmp_path / "rs.dcm", {"ball": rings})))


def test_pydicoms_own_structure_set() -> None:
    path = get_testdata_file("rtstruct.dcm")
    mask = read_region(f"{path}#patient")
    dataset = pydicom.dcmread(path, force=True)
    assert volume_of(mask) > 0
    points = np.concatenate([np.reshape(c.ContourData, (-1, 3)) for c in dataset.ROIContourSequence[0].ContourSequence])
    corners = np.array([mask.grid.to_world(c) for c in mask.tensor[0].nonzero().numpy()[[0, -1]]])
    assert np.abs(corners).max() <= np.abs(points.astype(float)).max() + 1


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_segments_of_a_seg(kind: str, write_series: WriteSeries, tmp_path: Path) -> None:
    highdicom = pytest.importorskip("highdicom")
    from highdicom.sr.coding import CodedConcept

    directions = rotation(20, -15, 40)
    paths = write_series(np.zeros((6, 10, 12), dtype=np.uint16), directions=directions)
    scan = regard.read(tmp_path / "series")
    masks = np.zeros((6, 10, 12, 2), dtype=bool)
    masks[1:4, 2:5, 3:8, 0] = True
    masks[2:6, 6:9, 1:4, 1] = True
    tissue = CodedConcept("85756007", "SCT", "Tissue")
    described = [
        highdicom.seg.SegmentDescription(n + 1, name, tissue, tissue, highdicom.seg.SegmentAlgorithmTypeValues.MANUAL)
        for n, name in enumerate(("liver", "spleen"))
    ]
    pixels = masks.astype(np.float32) if kind == "FRACTIONAL" else (masks * [1, 2]).sum(-1).astype(np.uint8)
    segmentation = highdicom.seg.Segmentation(
        [pydicom.dcmread(p) for p in paths], pixels, kind, described, highdicom.UID(), 9, highdicom.UID(), 1,
        "Nobody", "None", "1", "0",
    )  # fmt: skip
    segmentation.save_as(tmp_path / "seg.dcm")
    for n, name in enumerate(("liver", "spleen")):
        for label in (name, str(n + 1)):
            mask = read_region(f"{tmp_path / 'seg.dcm'}#{label}")
            on_scan = resample(mask, scan.grid, order=0).tensor[0].numpy() > 0
            assert np.array_equal(on_scan, masks[..., n].transpose(2, 1, 0)), label
    both = resample(read_region(str(tmp_path / "seg.dcm")), scan.grid, order=0).tensor[0].numpy() > 0
    assert np.array_equal(both, masks.any(-1).transpose(2, 1, 0))
    with pytest.raises(InputError, match=r"one of: liver \(number 1\)"):
        read_region(f"{tmp_path / 'seg.dcm'}#kidney")


def dose(path: Path, offsets: list[float], **fields: object) -> tuple[Path, np.ndarray]:
    stored = np.random.default_rng(1).integers(0, 60000, size=(len(offsets), 4, 5), dtype=np.uint16)
    dataset = new_slice(
        Modality="RTDOSE", SOPClassUID="1.2.840.10008.5.1.4.1.1.481.2", NumberOfFrames=len(offsets), DoseUnits="GY",
        ImagePositionPatient=[-20, -30, 40], ImageOrientationPatient=[1, 0, 0, 0, 1, 0], PixelSpacing=[2.0, 3.0],
        GridFrameOffsetVector=offsets, DoseGridScaling="0.001", **fields,
    )  # fmt: skip
    put_pixels(dataset, stored[0], bits=16)
    dataset.PixelData = stored.tobytes()
    dataset.save_as(path, enforce_file_format=True)
    return path, stored


@pytest.mark.parametrize(("offsets", "step"), [([0, 2.5, 5], 2.5), ([40, 42.5, 45], 2.5), ([0, -2, -4], -2.0)])
def test_a_dose_is_in_gray_and_lies_at_its_offsets(offsets: list[float], step: float, tmp_path: Path) -> None:
    path, stored = dose(tmp_path / "dose.dcm", offsets)
    volume = regard.read(path)
    assert volume.unit == "Gy"
    assert np.allclose(volume.tensor[0].numpy(), stored.transpose(2, 1, 0) * 0.001, rtol=1e-6)
    assert np.allclose(volume.grid.to_world((0, 0, 0)), (20, 30, 40))
    assert np.allclose(volume.grid.to_world((1, 2, 2)), (20 - 3, 30 - 4, 40 + 2 * step))


def test_a_dose_of_uneven_frames_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GeometryError, match="2 to 3 mm apart"):
        regard.read(dose(tmp_path / "dose.dcm", [0, 2, 5])[0])


def test_pydicoms_own_dose() -> None:
    path = get_testdata_file("rtdose.dcm")
    volume, dataset = regard.read(path), pydicom.dcmread(path, force=True)
    assert volume.unit == "relative dose"
    expected = dataset.pixel_array * float(dataset.DoseGridScaling)
    assert np.allclose(volume.tensor[0].numpy(), expected.transpose(2, 1, 0), rtol=1e-6)
    assert volume.spacing == pytest.approx((10, 10, 5))


def test_a_thresholded_map_comes_back_as_segments_at_its_place(write_series: WriteSeries, tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    write_series(np.zeros((6, 10, 12), dtype=np.uint16), directions=rotation(20, -15, 40))
    scan = regard.read(tmp_path / "series")
    relevance = torch.randn((1, *scan.shape), generator=torch.Generator().manual_seed(3))
    relevance[0, :3] = torch.nan
    explanation = explanation_of(scan, relevance)
    assert save_segmentation(explanation, tmp_path / "series", tmp_path / "map.dcm", 1.5)
    for number, side in ((1, relevance[0] >= 1.5), (2, relevance[0] <= -1.5)):
        mask = resample(read_region(f"{tmp_path / 'map.dcm'}#{number}"), scan.grid, order=0)
        assert torch.equal(mask.tensor[0] > 0, side)
    assert not save_segmentation(explanation, tmp_path / "series", tmp_path / "none.dcm", 99.0)
    assert not (tmp_path / "none.dcm").exists()
    with pytest.raises(InputError, match="in a private run"):
        save_segmentation(explanation, tmp_path / "series", tmp_path / "x.dcm", 1.5, private=True)
    for text in ("seg:", "seg:-1", "seg:nan", "pm:1"):
        with pytest.raises(InputError, match="seg:THRESHOLD with a number above 0"):
            threshold_of(text)
