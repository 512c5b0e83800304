"""TIFF of every sample type, and DICOM's bits and padding, are the numbers that were written."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from file_samples import WriteSeries, new_slice, put_pixels

import regard
from regard.core.errors import FileError, GeometryError
from regard.models import InputSpec, Preparation

TURNED = {
    1: lambda x: x,
    2: np.fliplr,
    3: lambda x: np.rot90(x, 2),
    4: np.flipud,
    5: lambda x: x.T,
    6: lambda x: np.rot90(x, -1),
    7: lambda x: np.rot90(x, 2).T,
    8: lambda x: np.rot90(x, 1),
}
"""What each EXIF orientation does to the stored pixels, so that they stand as they are to be seen."""

TYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64", "float16")


def values_of(kind: str) -> np.ndarray:
    """Six by four numbers that reach both ends of the type."""
    if np.dtype(kind).kind == "f":
        return np.linspace(-3.5, 60000 if kind == "float16" else 1e6, 24).reshape(6, 4).astype(kind)
    info = np.iinfo(kind)
    return np.linspace(info.min, info.max, 24).reshape(6, 4).astype(kind)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", TYPES)
def test_tiff_holds_what_was_written(kind: str, order: str, big: bool, tmp_path: Path) -> None:
    values = values_of(kind)
    tifffile.imwrite(tmp_path / "x.tif", values, byteorder=order, bigtiff=big, photometric="minisblack")
    picture = regard.read(tmp_path / "x.tif")
    assert np.array_equal(picture.tensor[0, :, :, 0].T.numpy(), values.astype(np.float32))
    if np.dtype(kind).kind in "iu":
        assert picture.stored.levels == (np.iinfo(kind).min, np.iinfo(kind).max)


@pytest.mark.parametrize("kind", ["uint8", "uint16", "uint32", "int16"])
def test_white_as_0_is_turned(kind: str, tmp_path: Path) -> None:
    values = values_of(kind)
    tifffile.imwrite(tmp_path / "x.tif", values, photometric="miniswhite")
    info = np.iinfo(kind)
    expected = (float(info.min) + float(info.max) - values.astype(np.float64)).astype(np.float32)
    assert np.array_equal(regard.read(tmp_path / "x.tif").tensor[0, :, :, 0].T.numpy(), expected)


def test_white_as_0_in_floating_point_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", values_of("float32"), photometric="miniswhite")
    with pytest.raises(FileError, match="in which 0 is white; expected a largest value to count from"):
        regard.read(tmp_path / "x.tif")


def test_complex_numbers_and_cut_files_are_one_sentence(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", values_of("float32").astype(np.complex64))
    with pytest.raises(FileError, match="of type complex64; expected real numbers"):
        regard.read(tmp_path / "x.tif")
    tifffile.imwrite(tmp_path / "y.tif", np.zeros((64, 64), np.float64))
    content = (tmp_path / "y.tif").read_bytes()
    for share in (0.01, 0.5, 0.99):
        (tmp_path / "y.tif").write_bytes(content[: int(len(content) * share)])
        with pytest.raises(FileError, match=r"y\.tif"):
            regard.read(tmp_path / "y.tif")


def test_the_orientation_of_a_tiff_is_followed_in_every_type(tmp_path: Path) -> None:
    for orientation in range(1, 9):
        for kind in ("uint8", "uint16", "int32"):
            values = np.arange(24).reshape(6, 4).astype(kind)
            expected = TURNED[orientation](values)
            tifffile.imwrite(tmp_path / "x.tif", values, extratags=[(274, "H", 1, orientation, True)])
            assert np.array_equal(regard.read(tmp_path / "x.tif").tensor[0, :, :, 0].T.numpy(), expected)


def padded(n_bits: int = 16) -> np.ndarray:
    """Stored values of a CT, signed, with -2000 around a disk of 0 to 99."""
    values = np.full((1, 12, 12), -2000, dtype=np.int16)
    values[0, 3:9, 3:9] = np.arange(36).reshape(6, 6)
    return values


@pytest.mark.parametrize("header", [-2000, 63536])
def test_padding_of_a_ct_is_its_air(header: int, write_series: WriteSeries, tmp_path: Path) -> None:
    def change(_: int, dataset) -> None:
        put_pixels(dataset, padded()[0], bits=16)
        dataset.add_new(0x00280120, "US" if header > 0 else "SS", header)

    write_series(padded(), change=change)
    scan = regard.read(tmp_path / "series").tensor[0, :, :, 0].T.numpy()
    inside = np.s_[3:9, 3:9]
    assert np.array_equal(scan[inside], padded()[0][inside] - 1024.0)
    outside = np.ones((12, 12), dtype=bool)
    outside[inside] = False
    assert set(scan[outside]) == {-1024.0}


def test_a_range_of_padding(write_series: WriteSeries, tmp_path: Path) -> None:
    stored = padded()
    stored[0, 0, :] = -1990

    def change(_: int, dataset) -> None:
        put_pixels(dataset, stored[0], bits=16)
        dataset.PixelPaddingValue, dataset.PixelPaddingRangeLimit = -2000, -1985

    write_series(stored, change=change)
    assert float(regard.read(tmp_path / "series").tensor.min()) == -1024.0


def test_padding_that_is_water_is_no_padding(
    write_series: WriteSeries, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stored = np.array([[[-1000, 0], [0, 1000]]], dtype=np.int16)

    def change(_: int, dataset) -> None:
        put_pixels(dataset, stored[0], bits=16)
        dataset.PixelPaddingValue = 0

    write_series(stored, change=change, intercept=0.0)
    assert sorted(regard.read(tmp_path / "series").tensor.flatten().tolist()) == [-1000, 0, 0, 1000]
    assert "lies within the measured values" in caplog.text


def radiograph(path: Path, **fields: object) -> Path:
    dataset = new_slice(Modality="DX", SOPClassUID="1.2.840.10008.5.1.4.1.1.1.1", **fields)
    stored = np.arange(20, dtype=np.uint16).reshape(4, 5) * 200
    stored[0, 0] = 0
    put_pixels(dataset, stored, bits=12)
    dataset.save_as(path, enforce_file_format=True)
    return path


def test_padding_of_a_radiograph_is_dark_whichever_way_it_is_stored(tmp_path: Path) -> None:
    path = radiograph(tmp_path / "x.dcm", PhotometricInterpretation="MONOCHROME1", PixelPaddingValue=0)
    picture = regard.read(path)
    values = picture.tensor[0, :, :, 0].T.numpy()
    assert values[0, 0] == values.min() == 4095 - 3800
    assert values[0, 1] == values.max() == 4095 - 200
    assert picture.stored.levels == (0.0, 4095.0)


def test_a_radiograph_with_the_detectors_spacing_goes_into_a_network_in_mm(tmp_path: Path) -> None:
    spec = InputSpec(orientation="PL", spacing_mm=(0.5, 0.5), shape=(16, 20), fit="crop-pad", levels=(0, 4095))
    picture = regard.read(radiograph(tmp_path / "x.dcm", ImagerPixelSpacing=[1.0, 1.0]))
    prepared = Preparation(spec).prepare(picture)
    assert prepared.grid.spacing[:2] == (0.5, 0.5)
    assert any("that at the detector (ImagerPixelSpacing)" in w for w in prepared.warnings)
    known = regard.read(radiograph(tmp_path / "y.dcm", PixelSpacing=[1.0, 1.0]))
    assert not any("detector" in w for w in Preparation(spec).prepare(known).warnings)
    with pytest.raises(GeometryError, match="does not say the size of a pixel.*ImagerPixelSpacing"):
        Preparation(spec).prepare(regard.read(radiograph(tmp_path / "z.dcm")))
