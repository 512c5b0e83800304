import subprocess
from pathlib import Path
from typing import Any

import dcm2niix
import nibabel
import numpy as np
import pydicom
import pytest
import torch
from file_samples import WriteSeries, assert_same_world, rotation
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

import regard
from regard.core.errors import FileError, GeometryError, MissingDependencyError
from regard.io import dicom_values


@pytest.fixture
def stored() -> np.ndarray:
    """Stored values (slice, row, column) with an L whose corner is at slice 2, row 3, column 5."""
    values = np.random.default_rng(0).integers(900, 1100, (6, 10, 12)).astype(np.uint16)
    values[2, 3:9, 5] = 2000
    values[2, 3, 5:8] = 2500
    values[2, 3, 5] = 4000
    return values


def oracle(folder: Path, out: Path) -> tuple[np.ndarray, np.ndarray]:
    """Voxels and affine that dcm2niix makes of a folder."""
    out.mkdir()
    subprocess.run(
        [dcm2niix.bin, "-z", "n", "-b", "n", "-f", "o", "-o", str(out), str(folder)], check=True, capture_output=True
    )
    images = sorted(out.glob("*.nii"))
    assert len(images) == 1
    image = nibabel.load(images[0])
    return image.get_fdata(), image.affine


def mirror(n: int) -> str:
    return f"IM{100 - n:04d}.dcm"


SERIES: dict[str, dict[str, Any]] = {
    "axial": {},
    "names in reverse": {"names": mirror},
    "no ending": {"names": "IM{:04d}".format},
    "feet first": {"step": -2.5},
    "oblique": {"directions": rotation(25, -10, 35)},
    "sagittal": {"directions": np.array([[0, 0, -1], [1, 0, 0], [0, -1, 0]], dtype=float)},
    "coronal": {"directions": np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], dtype=float)},
    "slope that is not whole": {"slope": 0.25, "intercept": -100.5},
    "RLE": {"compress": RLELossless},
    "JPEG 2000": {"compress": JPEG2000Lossless},
    "JPEG-LS": {"compress": JPEGLSLossless},
}


@pytest.mark.parametrize("name", SERIES)
def test_a_series_is_what_dcm2niix_makes_of_it(
    name: str, stored: np.ndarray, write_series: WriteSeries, tmp_path: Path
) -> None:
    if name == "JPEG-LS":
        pytest.importorskip("jpeg_ls", reason="no encoder of JPEG-LS to write the test's file with")
    # Encoders of wavelets need images larger than a few blocks.
    write_series(np.repeat(np.repeat(stored, 4, 1), 4, 2), **SERIES[name])
    scan = regard.read(tmp_path / "series")
    assert scan.unit == "HU"
    values, affine = oracle(tmp_path / "series", tmp_path / "out")
    assert_same_world(scan, values, affine, atol=1e-3)


@pytest.mark.parametrize("name", ["axial", "feet first", "oblique"])
def test_a_marker_in_patient_coordinates(
    name: str, stored: np.ndarray, write_series: WriteSeries, tmp_path: Path
) -> None:
    options = SERIES[name]
    write_series(stored, **options)
    scan = regard.read(tmp_path / "series")
    directions = options.get("directions", np.eye(3))
    lps = np.array([-20.0, -30.0, 40.0]) + directions @ [5 * 0.6, 3 * 0.8, 2 * options.get("step", 2.5)]
    place = np.unravel_index(int(scan.tensor[0].argmax()), scan.shape)
    assert np.allclose(scan.grid.to_world(place), lps * [-1, -1, 1], atol=1e-4)
    assert place[:2] == (5, 3)  # i = column, j = row
    assert scan.tensor[0][place] == 4000 - 1024


def test_slices_rise_along_the_normal(stored: np.ndarray, write_series: WriteSeries, tmp_path: Path) -> None:
    write_series(stored, step=-2.5, names=mirror)
    scan = regard.read(tmp_path / "series")
    assert scan.affine[2, 2] == 2.5
    assert np.array_equal(scan.tensor[0].numpy(), stored[::-1].transpose(2, 1, 0) - 1024.0)


def test_a_tilted_gantry_is_a_shear_not_a_lie(stored: np.ndarray, write_series: WriteSeries, tmp_path: Path) -> None:
    write_series(stored, shear=(0.0, 0.7, 0.0))
    scan = regard.read(tmp_path / "series")
    assert np.allclose(scan.grid.to_world((0, 0, 3)), [20, 30 - 3 * 0.7, 40 + 3 * 2.5])


def test_one_file_is_one_slice(stored: np.ndarray, write_series: WriteSeries) -> None:
    paths = write_series(stored)
    scan = regard.read(paths[2])
    assert scan.shape == (12, 10, 1)
    assert scan.spacing == pytest.approx((0.6, 0.8, 2.0))
    assert np.allclose(scan.affine[:3, 3], [20, 30, 45])


def test_each_slice_has_its_own_rescale(stored: np.ndarray, write_series: WriteSeries, tmp_path: Path) -> None:
    def change(n: int, dataset: FileDataset) -> None:
        dataset.RescaleSlope, dataset.RescaleIntercept = n + 0.5, n

    write_series(stored, change=change)
    expected = stored * (np.arange(6) + 0.5)[:, None, None] + np.arange(6)[:, None, None]
    assert np.allclose(regard.read(tmp_path / "series").tensor[0].numpy(), expected.transpose(2, 1, 0))


def test_signed_values(write_series: WriteSeries, tmp_path: Path) -> None:
    write_series(np.arange(-30, 30, dtype=np.int16).reshape(2, 5, 6), intercept=0.0)
    assert float(regard.read(tmp_path / "series").tensor.min()) == -30


def test_monochrome1_does_not_turn_hounsfield_units(
    stored: np.ndarray, write_series: WriteSeries, tmp_path: Path
) -> None:
    write_series(stored, folder="plain")
    write_series(stored, change=lambda _, d: setattr(d, "PhotometricInterpretation", "MONOCHROME1"))
    assert torch.equal(regard.read(tmp_path / "series").tensor, regard.read(tmp_path / "plain").tensor)


@pytest.mark.parametrize(("dtype", "total"), [(np.uint16, 4095), (np.int16, -1)])
def test_a_monochrome1_radiograph_is_turned_within_its_stored_bits(
    dtype: type, total: int, write_series: WriteSeries
) -> None:
    pixels = np.arange(60).astype(dtype).reshape(1, 6, 10)

    def radiograph(_: int, dataset: FileDataset) -> None:
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope"):
            delattr(dataset, keyword)
        del dataset.RescaleIntercept
        dataset.Modality, dataset.PhotometricInterpretation = "DX", "MONOCHROME1"
        dataset.ImagerPixelSpacing = [0.2, 0.1]

    picture = regard.read(write_series(pixels, change=radiograph)[0])
    assert np.array_equal(picture.tensor[0, :, :, 0].numpy(), total - pixels[0].T.astype(float))
    assert np.array_equal(picture.affine, np.diag([-0.1, -0.2, 1.0, 1.0]))
    assert (picture.has_geometry, picture.unit) == (False, "grey level")


def test_a_radiograph_without_spacing_has_pixels_of_one(write_series: WriteSeries) -> None:
    def radiograph(_: int, dataset: FileDataset) -> None:
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
            delattr(dataset, keyword)
        dataset.Modality = "CR"

    picture = regard.read(write_series(np.zeros((1, 6, 10), np.uint16), change=radiograph)[0])
    assert picture.spacing == (1.0, 1.0, 1.0)
    assert picture.shape == (10, 6, 1)


def test_a_gap_names_the_missing_places(stored: np.ndarray, write_series: WriteSeries, tmp_path: Path) -> None:
    paths = write_series(stored)
    paths[2].unlink()
    paths[4].unlink()
    message = (
        r"a gap: 2 of 6 images missing along the slice normal, at 45\.00 mm, 50\.00 mm; expected an image every 2\.5 mm"
    )
    with pytest.raises(GeometryError, match=message):
        regard.read(tmp_path / "series")


def test_mixed_series_are_named_and_counted(stored: np.ndarray, write_series: WriteSeries, tmp_path: Path) -> None:
    write_series(stored)
    write_series(stored[:2], names="other{}.dcm".format, uid="1.2.3.99", origin=(0, 0, 0))
    message = r"2 series mixed.*1\.2\.826\.0\.1\.3680043\.2\.1 \(6 images\), 1\.2\.3\.99 \(2 images\)"
    with pytest.raises(GeometryError, match=message):
        regard.read(tmp_path / "series")


def test_duplicates_name_the_place_and_the_files(stored: np.ndarray, write_series: WriteSeries, tmp_path: Path) -> None:
    write_series(stored)
    write_series(stored[:1], names="again{}.dcm".format)
    with pytest.raises(GeometryError, match=r"two images at one place.*40\.00 mm \(.*again0\.dcm"):
        regard.read(tmp_path / "series")


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_missing_geometry_is_named_and_counted(
    keyword: str, stored: np.ndarray, write_series: WriteSeries, tmp_path: Path
) -> None:
    paths = write_series(stored, change=lambda n, d: delattr(d, keyword) if n in (1, 3) else None)
    with pytest.raises(GeometryError, match=f"{keyword} missing in 2 of 6 images"):
        regard.read(tmp_path / "series")
    with pytest.raises(GeometryError, match=f"{keyword} missing in 1 of 1 images"):
        regard.read(paths[1])


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"PixelSpacing": [1.0, 1.0]}, "pixel spacings"),
        ({"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}, "orientations"),
    ],
)
def test_images_that_do_not_belong_are_counted(
    values: dict[str, Any], name: str, stored: np.ndarray, write_series: WriteSeries, tmp_path: Path
) -> None:
    write_series(stored, change=lambda n, d: [setattr(d, k, v) for k, v in values.items()] if n == 5 else None)
    with pytest.raises(GeometryError, match=rf"of 2 {name}: .*\(5 images\), .*\(1 images\)"):
        regard.read(tmp_path / "series")


def test_sizes_that_differ(stored: np.ndarray, write_series: WriteSeries, tmp_path: Path) -> None:
    write_series(stored)
    write_series(stored[:1, :5], names="small{}.dcm".format, origin=(-20, -30, 55))
    with pytest.raises(GeometryError, match=r"2 sizes: 10 x 12 \(6 images\), 5 x 12 \(1 images\)"):
        regard.read(tmp_path / "series")


def test_uneven_steps(stored: np.ndarray, write_series: WriteSeries, tmp_path: Path) -> None:
    def change(n: int, dataset: FileDataset) -> None:
        if n == 5:
            dataset.ImagePositionPatient = [-20, -30, 40 + 5 * 2.5 + 0.7]

    write_series(stored, change=change)
    with pytest.raises(GeometryError, match=r"uneven steps: 3\.2 mm at 50\.00 mm"):
        regard.read(tmp_path / "series")


def test_directions_that_are_not_directions(stored: np.ndarray, write_series: WriteSeries) -> None:
    paths = write_series(stored[:1], change=lambda _, d: setattr(d, "ImageOrientationPatient", [1, 0, 0, 1, 0, 0]))
    with pytest.raises(GeometryError, match="two directions of length 1 at right angles"):
        regard.read(paths[0])


def test_what_is_no_image_is_skipped_and_said(
    stored: np.ndarray, write_series: WriteSeries, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="regard")
    paths = write_series(stored)
    (tmp_path / "series" / "notes.txt").write_text("a note")
    (tmp_path / "series" / "DICOMDIR").write_bytes(paths[0].read_bytes())
    (tmp_path / "series" / ".hidden.dcm").write_bytes(paths[0].read_bytes())
    report = pydicom.dcmread(paths[0])
    for keyword in ("PixelData", "Rows", "Columns"):
        delattr(report, keyword)
    report.Modality, report.SOPClassUID = "SR", "1.2.840.10008.5.1.4.1.1.88.11"
    pydicom.dcmwrite(tmp_path / "series" / "report.dcm", report)
    assert regard.read(tmp_path / "series").shape == (12, 10, 6)
    assert "skipped 2 files that are not DICOM" in caplog.text
    assert "skipped 1 DICOM files that hold no image" in caplog.text


@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_a_truncated_slice_is_one_sentence(
    share: float, stored: np.ndarray, write_series: WriteSeries, tmp_path: Path
) -> None:
    paths = write_series(np.repeat(np.repeat(stored, 8, 1), 8, 2))
    content = paths[3].read_bytes()
    paths[3].write_bytes(content[: int(len(content) * share)])
    with pytest.raises(FileError, match=r"IM0003\.dcm' (is truncated in its header|has pixels that are missing)"):
        regard.read(tmp_path / "series")
    paths[3].write_bytes(b"")
    with pytest.raises(FileError, match=r"IM0003\.dcm' is empty, or not DICOM"):
        regard.read(tmp_path / "series")


def test_a_truncated_compressed_slice_is_one_sentence(stored: np.ndarray, write_series: WriteSeries) -> None:
    path = write_series(np.kron(stored[:1], np.ones((1, 4, 4), np.uint16)), compress=JPEG2000Lossless)[0]
    path.write_bytes(path.read_bytes()[:-120])
    with pytest.raises(FileError, match="pixels that are missing, truncated or corrupt"):
        regard.read(path)


def test_a_file_without_its_mark_is_read(stored: np.ndarray, write_series: WriteSeries) -> None:
    path = write_series(stored[:1])[0]
    dataset = pydicom.dcmread(path)
    bare = Dataset({e.tag: e for e in dataset})
    bare.save_as(path, implicit_vr=True, little_endian=True, enforce_file_format=False)
    assert path.read_bytes()[128:132] != b"DICM"
    assert float(regard.read(path).tensor.max()) == stored[0].max() - 1024


def test_a_missing_decoder_names_the_extra(
    stored: np.ndarray, write_series: WriteSeries, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_series(stored[:1], compress=RLELossless)[0]

    class Unable:
        is_available = False

    monkeypatch.setattr(dicom_values, "get_decoder", lambda _: Unable())
    with pytest.raises(MissingDependencyError, match=r"RLE.*no decoder.*pip install 'regard\[dicom\]'"):
        regard.read(path)


def test_a_film_is_refused(stored: np.ndarray, write_series: WriteSeries) -> None:
    path = write_series(stored[:1])[0]
    film = pydicom.dcmread(path)
    film.NumberOfFrames, film.PixelData = 6, stored.tobytes()
    pydicom.dcmwrite(path, film)
    with pytest.raises(FileError, match="6 frames and no place for each"):
        regard.read(path)


def test_an_enhanced_file_is_the_series_it_replaces(
    stored: np.ndarray, write_series: WriteSeries, tmp_path: Path
) -> None:
    write_series(stored, folder="single", slope=2.0)
    path = write_series(stored[:1], slope=2.0)[0]
    enhanced = pydicom.dcmread(path)

    def item(**fields: Any) -> Sequence:
        dataset = Dataset()
        for keyword, value in fields.items():
            setattr(dataset, keyword, value)
        return Sequence([dataset])

    enhanced.SharedFunctionalGroupsSequence = item(
        PixelMeasuresSequence=item(PixelSpacing=[0.8, 0.6], SliceThickness=2.5),
        PlaneOrientationSequence=item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
        PixelValueTransformationSequence=item(RescaleSlope=2.0, RescaleIntercept=-1024.0, RescaleType="HU"),
    )
    order = [3, 0, 5, 1, 4, 2]
    frames = [item(PlanePositionSequence=item(ImagePositionPatient=[-20, -30, 40 + 2.5 * n]))[0] for n in order]
    enhanced.PerFrameFunctionalGroupsSequence = Sequence(frames)
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(enhanced, keyword)
    del enhanced.RescaleSlope
    del enhanced.RescaleIntercept
    enhanced.NumberOfFrames, enhanced.PixelData = 6, stored[order].tobytes()
    pydicom.dcmwrite(path, enhanced)
    one, many = regard.read(path), regard.read(tmp_path / "single")
    assert torch.equal(one.tensor, many.tensor)
    assert one.grid.matches(many.grid)
    assert one.unit == "HU"


def test_a_ct_that_does_not_say_its_rescale_is_not_called_hounsfield(
    stored: np.ndarray, write_series: WriteSeries
) -> None:
    def change(_: int, dataset: FileDataset) -> None:
        del dataset.RescaleIntercept

    assert regard.read(write_series(stored[:1], change=change)[0]).unit == "intensity"


def test_colours_are_channels_of_a_picture_and_no_slice(write_series: WriteSeries, tmp_path: Path) -> None:
    pixels = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)

    def colour(_: int, dataset: FileDataset) -> None:
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
        dataset.BitsAllocated = dataset.BitsStored = 8
        dataset.HighBit, dataset.PixelData = 7, pixels.tobytes()
        dataset.RescaleIntercept = 0

    def photograph(n: int, dataset: FileDataset) -> None:
        colour(n, dataset)
        dataset.Modality = "XC"
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
            delattr(dataset, keyword)

    path = write_series(np.zeros((1, 4, 5), np.uint16), change=photograph, folder="photograph")[0]
    assert np.array_equal(regard.read(path).tensor[..., 0].numpy(), pixels.transpose(2, 1, 0))
    path = write_series(np.zeros((1, 4, 5), np.uint16), change=colour)[0]
    with pytest.raises(FileError, match="grey levels of 4 x 5"):
        regard.read(path)


def test_a_palette_and_moving_pictures_are_refused(stored: np.ndarray, write_series: WriteSeries) -> None:
    def palette(_: int, dataset: FileDataset) -> None:
        dataset.PhotometricInterpretation = "PALETTE COLOR"

    with pytest.raises(FileError, match="colours of a palette"):
        regard.read(write_series(stored[:1], change=palette)[0])
    path = write_series(stored[:1])[0]
    film = pydicom.dcmread(path)
    film.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"  # MPEG2
    film.PixelData = pydicom.encaps.encapsulate([b"0" * 64])
    film["PixelData"].VR = "OB"
    film["PixelData"].is_undefined_length = True
    pydicom.dcmwrite(path, film)
    with pytest.raises(FileError, match=r"transfer syntax MPEG2.*a still image"):
        regard.read(path)


def test_images_off_a_line(stored: np.ndarray, write_series: WriteSeries, tmp_path: Path) -> None:
    def change(n: int, dataset: FileDataset) -> None:
        if n == 3:
            dataset.ImagePositionPatient = [-20, -10, 40 + 3 * 2.5]

    write_series(stored, change=change)
    with pytest.raises(GeometryError, match=r"images up to 20 mm off a straight line"):
        regard.read(tmp_path / "series")


def test_bits_above_the_stored_ones_are_not_values(write_series: WriteSeries) -> None:
    pixels = np.arange(20, dtype=np.uint16).reshape(1, 4, 5)
    scan = regard.read(write_series(pixels | 0x8000, intercept=0.0)[0])
    assert np.array_equal(scan.tensor[0, :, :, 0].numpy(), pixels[0].T)


@pytest.mark.parametrize(("units", "unit"), [("BQML", "Bq/mL"), ("GML", "g/mL"), ("CNTS", "intensity")])
def test_the_unit_of_positron_emission(units: str, unit: str, stored: np.ndarray, write_series: WriteSeries) -> None:
    def change(_: int, dataset: FileDataset) -> None:
        dataset.Modality, dataset.Units = "PT", units

    assert regard.read(write_series(stored[:1], change=change)[0]).unit == unit


def test_a_lookup_table_gives_the_values(write_series: WriteSeries) -> None:
    def change(_: int, dataset: FileDataset) -> None:
        table = Dataset()
        table.LUTDescriptor, table.LUTData, table.ModalityLUTType = [4, 0, 16], [10, 20, 40, 80], "US"
        table["LUTDescriptor"].VR = "US"
        table["LUTData"].VR = "US"
        dataset.ModalityLUTSequence = Sequence([table])
        del dataset.RescaleSlope
        del dataset.RescaleIntercept

    scan = regard.read(write_series(np.arange(4, dtype=np.uint16).reshape(1, 2, 2), change=change)[0])
    assert scan.tensor[0, :, :, 0].T.flatten().tolist() == [10, 20, 40, 80]
