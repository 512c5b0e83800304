"""MetaImage: what SimpleITK writes is read as SimpleITK reads it; what is cut or lies elsewhere is refused."""

from pathlib import Path

import numpy as np
import pytest
from file_samples import rotation

import regard
from regard.core.errors import FileError, ShapeError

sitk = pytest.importorskip("SimpleITK")


def written(path: Path, kind: str = "int16", *, compress: bool = False, axes: int = 3) -> np.ndarray:
    """An oblique image of 4 x 5 x 6 voxels (and 3 volumes), written by SimpleITK; values (k, j, i) as it has them."""
    generator = np.random.default_rng(7)
    shape = (3, 6, 5, 4)[4 - axes :]
    values = (generator.normal(size=shape) * 40 + 60).astype(kind)
    image = sitk.GetImageFromArray(values, isVector=False)
    image.SetSpacing((0.7, 1.3, 4.0, 1.0)[:axes])
    image.SetOrigin((12.0, -90.0, 30.0, 0.0)[:axes])
    if axes == 3:
        image.SetDirection(rotation(20, -15, 40).ravel().tolist())
    sitk.WriteImage(image, str(path), compress)
    return values


@pytest.mark.parametrize("ending", [".mha", ".mhd"])
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"])
def test_what_itk_writes_is_read(kind: str, compress: bool, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{ending}"
    values = written(path, kind, compress=compress)
    volume = regard.read(path)
    assert np.array_equal(volume.tensor[0].numpy(), values.transpose(2, 1, 0).astype(np.float32))
    image = sitk.ReadImage(str(path))
    for corner in ((0, 0, 0), (3, 0, 0), (0, 4, 5), (3, 4, 5)):
        lps = np.array(image.TransformIndexToPhysicalPoint(corner))
        assert np.allclose(volume.grid.to_world(corner), lps * [-1, -1, 1], atol=1e-4)


def test_big_endian_and_a_local_header_of_other_keys(tmp_path: Path) -> None:
    values = np.arange(24, dtype=">i2").reshape(4, 3, 2)
    header = "NDims = 3\nDimSize = 2 3 4\nElementType = MET_SHORT\nElementByteOrderMSB = True\nPosition = 1 2 3\n"
    (tmp_path / "x.mha").write_bytes(f"{header}ElementDataFile = LOCAL\n".encode() + values.tobytes())
    volume = regard.read(tmp_path / "x.mha")
    assert np.array_equal(volume.tensor[0].numpy(), values.transpose(2, 1, 0))
    assert np.allclose(volume.affine[:3, 3], (-1, -2, 3))


def test_four_axes_and_colours_are_channels(tmp_path: Path) -> None:
    values = written(tmp_path / "x.mha", axes=4)
    volume = regard.read(tmp_path / "x.mha")
    assert np.array_equal(volume.tensor.numpy(), values.transpose(0, 3, 2, 1))
    assert np.array_equal(regard.read(tmp_path / "x.mha", volume=2).tensor[0], volume.tensor[2])
    with pytest.raises(ShapeError):
        regard.read(tmp_path / "x.mha", volume=3)
    vector = sitk.GetImageFromArray(np.moveaxis(values, 0, -1), isVector=True)
    sitk.WriteImage(vector, str(tmp_path / "y.mha"))
    assert np.array_equal(regard.read(tmp_path / "y.mha").tensor.numpy(), volume.tensor.numpy())


def test_a_picture(tmp_path: Path) -> None:
    values = written(tmp_path / "x.mha", "uint8", axes=2)
    picture = regard.read(tmp_path / "x.mha")
    assert not picture.has_geometry
    assert np.array_equal(picture.tensor[0, :, :, 0].T.numpy(), values)
    assert picture.stored.levels == (0, 255)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("share", [0.02, 0.4, 0.97])
def test_a_cut_file_is_one_sentence(share: float, compress: bool, tmp_path: Path) -> None:
    written(tmp_path / "x.mha", "float64", compress=compress)
    content = (tmp_path / "x.mha").read_bytes()
    (tmp_path / "x.mha").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(FileError, match=r"x\.mha"):
        regard.read(tmp_path / "x.mha")


def test_data_elsewhere_or_missing_are_refused(tmp_path: Path) -> None:
    written(tmp_path / "x.mhd")
    header = (tmp_path / "x.mhd").read_text()
    for name, message in (("/etc/passwd", "elsewhere"), ("../x.raw", "elsewhere"), ("LIST", "several files"),
                          ("gone.raw", "'gone.raw' is not there")):  # fmt: skip
        (tmp_path / "x.mhd").write_text(header.replace("x.raw", name))
        with pytest.raises(FileError, match=message):
            regard.read(tmp_path / "x.mhd")
