import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import regard
from regard.core.errors import FileError
from regard.core.volume import PIXEL_AFFINE

RAMP = np.arange(6 * 4).reshape(4, 6)


def save(path: Path, pixels: np.ndarray, mode: str | None = None, **options: object) -> Path:
    Image.fromarray(pixels, mode).save(path, **options)
    return path


@pytest.mark.parametrize("name", ["x.png", "x.tif", "x.bmp"])
def test_eight_bits_have_axes_column_and_row(name: str, tmp_path: Path) -> None:
    picture = regard.read(save(tmp_path / name, RAMP.astype(np.uint8)))
    assert picture.tensor.shape == (1, 6, 4, 1)
    assert np.array_equal(picture.tensor[0, :, :, 0].numpy(), RAMP.T)
    assert np.array_equal(picture.affine, PIXEL_AFFINE)
    assert (picture.has_geometry, picture.unit) == (False, "grey level")


@pytest.mark.parametrize("name", ["x.png", "x.tif"])
def test_sixteen_bits_keep_every_level(name: str, tmp_path: Path) -> None:
    pixels = (RAMP * 2731 + 7).astype(np.uint16)
    assert pixels.max() > 60000
    picture = regard.read(save(tmp_path / name, pixels))
    assert np.array_equal(picture.tensor[0, :, :, 0].numpy(), pixels.T)


def test_float_tiff(tmp_path: Path) -> None:
    pixels = RAMP.astype(np.float32) / 7 - 1
    assert np.array_equal(regard.read(save(tmp_path / "x.tiff", pixels)).tensor[0, :, :, 0].numpy(), pixels.T)


def test_jpeg_keeps_its_shape(tmp_path: Path) -> None:
    flat = np.full((8, 16), 77, np.uint8)
    picture = regard.read(save(tmp_path / "x.jpg", flat, quality=100))
    assert picture.shape == (16, 8, 1)
    assert float((picture.tensor - 77).abs().max()) <= 1


def test_colours_become_channels_and_alpha_is_dropped(tmp_path: Path) -> None:
    rgba = np.stack([RAMP, RAMP + 50, RAMP + 100, RAMP + 7], -1).astype(np.uint8)
    for channels, mode in ((3, "RGB"), (4, "RGBA")):
        picture = regard.read(save(tmp_path / "x.png", rgba[..., :channels]))
        assert picture.tensor.shape == (3, 6, 4, 1), mode
        assert np.array_equal(picture.tensor[1, :, :, 0].numpy(), RAMP.T + 50)
    grey = regard.read(save(tmp_path / "la.png", rgba[..., [0, 3]]))
    assert np.array_equal(grey.tensor[:, :, :, 0].numpy(), RAMP.T[None])


def test_a_palette_is_looked_up(tmp_path: Path) -> None:
    indexed = Image.fromarray(RAMP.astype(np.uint8), "L").convert("P")
    indexed.putpalette([v for n in range(256) for v in (255 - n, n, 0)])
    indexed.save(tmp_path / "colour.png")
    picture = regard.read(tmp_path / "colour.png")
    assert np.array_equal(picture.tensor[0, :, :, 0].numpy(), 255 - RAMP.T)
    indexed.putpalette([v for n in range(256) for v in (255 - n,) * 3])
    indexed.save(tmp_path / "grey.png")
    assert np.array_equal(regard.read(tmp_path / "grey.png").tensor[:, :, :, 0].numpy(), 255 - RAMP.T[None])


def test_exif_orientation_is_applied(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="regard")
    exif = Image.Exif()
    exif[0x0112] = 6  # the top of the scene is at the right of the stored rows
    save(tmp_path / "x.png", RAMP.astype(np.uint8), exif=exif)
    picture = regard.read(tmp_path / "x.png")
    assert np.array_equal(picture.tensor[0, :, :, 0].numpy(), np.rot90(RAMP, -1).T)
    assert "EXIF" in caplog.text


def test_white_is_zero_tiff_is_turned_at_sixteen_bits_too(tmp_path: Path) -> None:
    pixels = (RAMP * 2000).astype(np.uint16)
    raw = bytearray(save(tmp_path / "x.tif", pixels).read_bytes())
    assert regard.read(tmp_path / "x.tif").tensor[0, 5, 3, 0] == 46000
    entry = struct.pack("<HHI", 262, 3, 1)
    at = raw.index(entry)
    raw[at + 8 : at + 10] = struct.pack("<H", 0)
    (tmp_path / "x.tif").write_bytes(bytes(raw))
    assert np.array_equal(regard.read(tmp_path / "x.tif").tensor[0, :, :, 0].numpy(), 65535 - pixels.T.astype(int))


def png(width: int, height: int, bits: int, colour: int, data: bytes) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def test_sixteen_bits_of_colour_are_refused_not_cut(tmp_path: Path) -> None:
    (tmp_path / "deep.png").write_bytes(png(2, 1, 16, 2, b"\0" + bytes(range(12))))
    with pytest.raises(FileError, match="more than 8 bits in each colour"):
        regard.read(tmp_path / "deep.png")


def test_a_decompression_bomb_is_one_sentence(tmp_path: Path) -> None:
    for side in (10_000, 60_000):  # above Pillow's warning, above Pillow's error
        (tmp_path / "bomb.png").write_bytes(png(side, side, 8, 0, b"\0" * 100))
        with pytest.raises(FileError, match="too many pixels"):
            regard.read(tmp_path / "bomb.png")


@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.tif"])
def test_a_truncated_picture_is_one_sentence(name: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
    path = save(tmp_path / name, noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(FileError, match="truncated"):
        regard.read(path)


def test_several_pages_are_refused(tmp_path: Path) -> None:
    pages = [Image.fromarray(RAMP.astype(np.uint8))] * 3
    pages[0].save(tmp_path / "x.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(FileError, match="of 3 pages"):
        regard.read(tmp_path / "x.tif")


def test_a_corner_marker_is_where_it_was(tmp_path: Path) -> None:
    pixels = np.zeros((20, 30), np.uint8)
    pixels[4, 7:20] = 100  # the long arm, along the row
    pixels[4:9, 7] = 100
    pixels[4, 7] = 255
    picture = regard.read(save(tmp_path / "x.png", pixels))
    column, row, _ = np.unravel_index(int(picture.tensor[0].argmax()), picture.shape)
    assert (column, row) == (7, 4)
    assert np.array_equal(picture.grid.to_world((column, row, 0)), [-7, -4, 0])
