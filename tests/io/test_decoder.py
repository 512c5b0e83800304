"""Native decoders run in a process of their own: what ends or stops it is one error of one file."""

import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

import regard
from regard.core.errors import FileError
from regard.io import decode, decoder
from regard.io.dicom_values import file_values

COMPRESSED = ["MR_small_RLE", "MR_small_jp2klossless", "MR_small_jpeg_ls_lossless", "JPEG2000", "SC_rgb_jpeg_gdcm",
              "SC_rgb_rle"]  # fmt: skip


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Decoders that abort, sleep or ask for all memory, by the name of the file."""
    script = tmp_path / "hostile_decode.py"
    script.write_text(
        textwrap.dedent(f"""
        import importlib.util, os, sys, time
        spec = importlib.util.spec_from_file_location("decode", {str(decode.__file__)!r})
        decode = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(decode)
        plain = dict(decode._DECODERS)

        def of(kind):
            def run(path):
                if "abort" in path:
                    os.abort()
                if "sleep" in path:
                    time.sleep(60)
                if "memory" in path:
                    bytearray(8 * 2**30)
                print("what a decoder prints must not reach the answer")
                return plain[kind](path)
            return run

        decode._DECODERS = {{kind: of(kind) for kind in plain}}
        decode.main()
        """)
    )
    monkeypatch.setattr(decoder, "_SCRIPT", script)
    decoder._SHARED.stop()
    yield
    decoder._SHARED.stop()


def picture(path: Path) -> Path:
    values = np.random.default_rng(0).integers(0, 256, (12, 10), dtype=np.uint8)
    Image.fromarray(values).save(path, compression="tiff_lzw")
    return path


@pytest.mark.parametrize("name", COMPRESSED)
def test_the_pixels_are_those_that_the_decoder_gives_in_this_process(name: str) -> None:
    path = Path(pydicom.__file__).parent / "data" / "test_files" / f"{name}.dcm"
    dataset = pydicom.dcmread(path)
    expected = np.asarray(dataset.pixel_array, np.float64) * float(dataset.get("RescaleSlope", 1) or 1)
    expected = expected + float(dataset.get("RescaleIntercept", 0) or 0)
    np.testing.assert_allclose(file_values(path).values.reshape(expected.shape), expected, rtol=1e-6)


def test_a_file_that_ends_its_decoder_is_one_error_and_the_next_is_read(hostile: None, tmp_path: Path) -> None:
    for name, words in (("abort", "decoder ended at it"), ("memory", "GiB")):
        with pytest.raises(FileError, match=words):
            regard.read(picture(tmp_path / f"{name}.tif"))
        good = regard.read(picture(tmp_path / "good.tif"))
        assert good.tensor[0, :, :, 0].T.numpy().tolist() == np.asarray(Image.open(tmp_path / "good.tif")).tolist()


def test_a_decoder_that_never_answers_is_ended(hostile: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    regard.read(picture(tmp_path / "good.tif"))
    monkeypatch.setattr(decoder, "SECONDS", 0.5)
    start = time.monotonic()
    with pytest.raises(FileError, match="no answer within"):
        regard.read(picture(tmp_path / "sleep.tif"))
    assert time.monotonic() - start < 20
    monkeypatch.setattr(decoder, "SECONDS", 30.0)
    assert regard.read(tmp_path / "good.tif").shape == (10, 12, 1)


def test_the_process_is_kept_for_the_next_file(tmp_path: Path) -> None:
    regard.read(picture(tmp_path / "a.tif"))
    first = decoder._SHARED.running
    regard.read(tmp_path / "a.tif")
    assert first is not None
    assert decoder._SHARED.running is first


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "P", "LA", "RGBA", "CMYK"])
@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_a_compressed_tiff_of_any_mode_is_the_plain_one(mode: str, compression: str, tmp_path: Path) -> None:
    colours = np.random.default_rng(1).integers(0, 256, (9, 8, 3), dtype=np.uint8)
    image = Image.fromarray(colours).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = 6 if mode in ("L", "RGB") else 1  # Pillow scrambles other modes without compression
    image.save(tmp_path / "plain.tif", exif=exif)
    image.save(tmp_path / "packed.tif", compression=compression, exif=exif)
    plain, packed = (regard.read(tmp_path / f"{name}.tif") for name in ("plain", "packed"))
    assert plain.shape == packed.shape
    assert np.array_equal(plain.tensor.numpy(), packed.tensor.numpy())
