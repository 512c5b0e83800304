"""DICOM series in the test's own folder."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from file_samples import WriteSeries, new_slice, put_pixels
from pydicom.dataset import FileDataset


@pytest.fixture
def write_series(tmp_path: Path) -> WriteSeries:
    """Write a series: stored values (slice, row, column), LPS directions of columns and rows, steps and origin."""

    def write(
        stored: np.ndarray,
        *,
        directions: np.ndarray | None = None,
        spacing: tuple[float, float] = (0.8, 0.6),
        step: float = 2.5,
        shear: tuple[float, float, float] = (0.0, 0.0, 0.0),
        origin: tuple[float, float, float] = (-20.0, -30.0, 40.0),
        folder: str = "series",
        names: Callable[[int], str] = "IM{:04d}.dcm".format,
        change: Callable[[int, FileDataset], None] | None = None,
        compress: str | None = None,
        uid: str = "1.2.826.0.1.3680043.2.1",
        slope: float = 1.0,
        intercept: float = -1024.0,
    ) -> list[Path]:
        rotated = np.eye(3) if directions is None else directions
        place = tmp_path / folder
        place.mkdir(exist_ok=True)
        paths = []
        for n, image in enumerate(stored):
            position = np.array(origin) + n * (rotated[:, 2] * step + np.array(shear))
            dataset = new_slice(
                SeriesInstanceUID=uid,
                FrameOfReferenceUID="1.2.826.0.1.3680043.2.99",
                InstanceNumber=n + 1,
                ImagePositionPatient=[f"{v:.6f}" for v in position],
                ImageOrientationPatient=[f"{v:.9f}" for v in rotated[:, :2].T.ravel()],
                PixelSpacing=list(spacing),
                RescaleSlope=slope,
                RescaleIntercept=intercept,
            )
            put_pixels(dataset, image)
            if change is not None:
                change(n, dataset)
            if compress is not None:
                dataset.compress(compress)
            path = place / names(n)
            pydicom.dcmwrite(path, dataset)
            paths.append(path)
        return paths

    return write
