"""PNG, JPEG and TIFF pictures of 8 or 16 bits: grey levels or colours, with no place in the patient."""

import logging
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from regard.core.errors import FileError
from regard.core.stored import Stored
from regard.core.volume import PIXEL_AFFINE, Volume
from regard.io.first_bytes import first_bytes
from regard.io.tiff import TiffPage

__all__ = ["TIFF", "read_picture"]

logger = logging.getLogger(__name__)

_FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
_GREY = ("L", "I", "F", "I;16", "I;16L", "I;16B", "I;16N")
_BITS_PER_SAMPLE = 258
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""First bytes of a TIFF and of a BigTIFF."""
_UNREADABLE = (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, KeyError)


def _deep_colour(path: Path, image: Image.Image) -> bool:
    """Whether the file holds more than 8 bits in each of several channels, which Pillow would cut to 8."""
    if image.format == "PNG":
        head = path.read_bytes()[:26] if path.stat().st_size < 64 else path.open("rb").read(26)
        return head[24] == 16 and head[25] in (2, 4, 6)
    if image.format == "TIFF":
        bits = image.tag_v2.get(_BITS_PER_SAMPLE, (8,))  # type: ignore[attr-defined]
        return len(bits) > 1 and max(bits) > 8
    return False


def _plain_mode(image: Image.Image) -> Image.Image:
    """Grey or RGB: alpha dropped, a palette looked up."""
    if image.mode in _GREY or image.mode == "RGB":
        return image
    if image.mode in ("LA", "La", "1"):
        return image.convert("L")
    if image.mode in ("P", "PA"):
        colours = image.convert("RGB")
        planes = np.asarray(colours)
        grey = bool((planes[..., :1] == planes).all())
        return colours.convert("L") if grey else colours
    return image.convert("RGBA" if image.mode == "RGBa" else "RGB").convert("RGB")


def _values(path: Path) -> tuple[np.ndarray, tuple[float, float] | None]:
    """Pixels (row, column) or (row, column, channel), as stored, and the lowest and highest value of their type."""
    if first_bytes(path, 4) in TIFF:
        page = TiffPage(path)
        if not page.is_plain:
            return page.values(), page.levels
    with Image.open(path, formats=_FORMATS) as image:
        if image.format in ("PNG", "TIFF") and getattr(image, "n_frames", 1) > 1:
            got = f"'{path}' of {image.n_frames} pages"  # type: ignore[attr-defined]
            raise FileError(got, "one picture", "save its pages one by one, or as NIfTI")
        if _deep_colour(path, image):
            got = f"'{path}' with more than 8 bits in each colour"
            raise FileError(got, "8 or 16 bits of grey, or 8 of each colour", "save its channels as grey pictures")
        levels = (0.0, 65535.0) if image.mode.startswith("I") else None if image.mode == "F" else (0.0, 255.0)
        turned = ImageOps.exif_transpose(image)
        if turned.size != image.size or turned.getexif().get(0x0112) != image.getexif().get(0x0112):
            logger.info("%s: turned as its EXIF orientation says", path.name)
        if "A" in image.getbands():
            logger.info("%s: its alpha channel is dropped", path.name)
        return np.asarray(_plain_mode(turned)).astype(np.float32), levels


def read_picture(path: Path) -> Volume:
    """Read a picture as (channel, column, row, 1), float32, with the values that are stored.

    The EXIF orientation is applied, alpha dropped, a palette turned to its colours. TIFF is read in every sample type.

    Raises
    ------
    FileError
        If it is truncated, corrupt, far too large, of several pages, or in colours of more than 8 bits.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            pixels, levels = _values(path)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        most = (Image.MAX_IMAGE_PIXELS or 0) // 10**6
        raise FileError(f"'{path}' has too many pixels", f"at most {most} million", "make it smaller") from error
    except FileError:
        raise
    except _UNREADABLE as error:
        got = f"'{path}' is not a readable picture, or is truncated"
        raise FileError(got, "a whole PNG, JPEG or TIFF", "copy or export it again") from error
    planes = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
    tensor = torch.from_numpy(np.ascontiguousarray(planes.transpose(0, 2, 1)))[..., None]
    return Volume(tensor, PIXEL_AFFINE, "grey level", str(path), has_geometry=False, stored=Stored(levels=levels))
