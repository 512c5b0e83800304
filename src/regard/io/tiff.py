"""TIFF of every sample type that Pillow does not read, or reads wrong: signed, 32 and 64 bits, BigTIFF, white as 0."""

from pathlib import Path

import numpy as np
import tifffile

from regard.core.errors import FileError

__all__ = ["TiffPage"]

_ORIENTATION = 274
_WHITE_IS_ZERO, _RGB, _UNCOMPRESSED = 0, 2, 1
_TURNS = {  # EXIF orientation to (transpose, flip rows, flip columns), in this order
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


class TiffPage:
    """The one page of a TIFF file.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    FileError
        If it has several pages.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with tifffile.TiffFile(path) as file:
            if len(file.pages) > 1:
                got = f"'{path}' of {len(file.pages)} pages"
                raise FileError(got, "one picture", "save its pages one by one, or as NIfTI")
            page = file.pages.first
            self.dtype = np.dtype(page.dtype) if page.dtype is not None else None
            self.samples = int(page.samplesperpixel)
            self.white_is_zero = int(page.photometric) == _WHITE_IS_ZERO
            self.is_big = bool(file.is_bigtiff)
            tag = page.tags.get(_ORIENTATION)
            self.orientation = int(tag.value) if tag is not None and int(tag.value) in _TURNS else 1
            # Pillow 13 takes the width of the turned picture for that of the stored rows, and scrambles them.
            self.is_scrambled = (
                self.orientation > 4 and int(page.compression) == _UNCOMPRESSED and int(page.photometric) <= _RGB
            )

    @property
    def is_plain(self) -> bool:
        """Whether Pillow reads it right: 8 bits of anything, 16 of grey."""
        eight = self.dtype in (np.dtype(np.uint8), np.dtype(bool))
        sixteen = self.dtype == np.dtype(np.uint16) and self.samples == 1 and not self.white_is_zero
        return not self.is_big and not self.is_scrambled and (eight or sixteen or self.dtype is None)

    @property
    def levels(self) -> tuple[float, float] | None:
        """Lowest and highest value of the sample type; None of floating point."""
        if self.dtype is None or self.dtype.kind not in "iu":
            return None
        info = np.iinfo(self.dtype)
        return float(info.min), float(info.max)

    def values(self) -> np.ndarray:
        """Pixels (row, column[, channel]) as float32, turned as the file says, more is brighter.

        Raises
        ------
        FileError
            If the pixels are no real numbers, are compressed in a way that has no decoder here, or lie with white as 0
            in floating point, which has no largest value to count from.
        """
        with tifffile.TiffFile(self.path) as file:
            page = file.pages.first
            if self.dtype is None or self.dtype.kind not in "iufb":
                raise FileError(f"'{self.path}' of type {self.dtype}", "real numbers", "save it as grey levels")
            try:
                stored = page.asarray()
            except ValueError as error:
                if "imagecodecs" not in str(error):
                    raise
                got = f"'{self.path}' of type {self.dtype}, compressed by method {int(page.compression)}"
                raise FileError(got, "one without compression, or with deflate", "save it again") from error
        if stored.ndim == 3 and self.samples > 1 and stored.shape[0] == self.samples != stored.shape[-1]:
            stored = np.moveaxis(stored, 0, -1)
        values = stored.astype(np.float64)
        if self.white_is_zero:
            if self.levels is None:
                got = f"'{self.path}' of {self.dtype}, in which 0 is white"
                raise FileError(got, "a largest value to count from", "save it with 0 as black")
            values = sum(self.levels) - values
        transpose, rows, columns = _TURNS[self.orientation]
        values = np.swapaxes(values, 0, 1) if transpose else values
        values = values[::-1] if rows else values
        return np.ascontiguousarray(values[:, ::-1] if columns else values, dtype=np.float32)
