"""DICOM slices, explanations and affines that the tests of this folder are made of."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from regard.core.explanation import Explanation
from regard.core.quantity import Quantity, Sign
from regard.core.volume import Volume


def rotation(x: float, y: float, z: float) -> np.ndarray:
    """Rotation by three angles in degrees."""
    a, b, c = np.deg2rad([x, y, z])
    rx = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    ry = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    rz = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return rz @ ry @ rx


def affine_of(directions: np.ndarray, spacing: tuple[float, ...], origin: tuple[float, ...]) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = directions @ np.diag(spacing)
    affine[:3, 3] = origin
    return affine


WriteSeries = Callable[..., list[Path]]
"""What the fixture `write_series` gives."""

AFFINES = {
    "RAS": affine_of(np.eye(3), (1.0, 1.0, 1.0), (-10.0, 5.0, 3.0)),
    "anisotropic": affine_of(np.eye(3), (0.7, 1.3, 4.0), (12.0, -90.0, 30.0)),
    "flipped": affine_of(np.diag([-1.0, 1.0, -1.0]), (1.0, 2.0, 3.0), (50.0, 60.0, 70.0)),
    "permuted": affine_of(np.eye(3)[:, [2, 0, 1]], (1.0, 2.0, 3.0), (1.0, 2.0, 3.0)),
    "oblique": affine_of(rotation(20, -15, 40), (0.9, 0.9, 2.5), (-33.0, 44.0, -55.0)),
    "oblique, flipped": affine_of(rotation(-50, 10, 75) @ np.diag([1.0, -1.0, 1.0]), (0.5, 0.5, 5.0), (7.0, 8.0, 9.0)),
}


def new_slice(**fields: Any) -> FileDataset:
    """A CT slice without pixels and geometry; ``fields`` by keyword."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", Dataset(), file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    dataset.Modality, dataset.PatientID, dataset.PatientName = "CT", "1234", "Nobody^No"
    dataset.PatientBirthDate = dataset.PatientSex = dataset.AccessionNumber = dataset.StudyID = ""
    dataset.ReferringPhysicianName = dataset.StudyTime = ""
    dataset.StudyDate, dataset.StudyInstanceUID, dataset.ImageType = (
        "20200101",
        "1.2.3.4.5.6.7",
        ["ORIGINAL", "PRIMARY"],
    )
    dataset.Manufacturer, dataset.SeriesNumber, dataset.SliceThickness = "Siemens", 1, 2.0
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = 16
    for keyword, value in fields.items():
        setattr(dataset, keyword, value)
    return dataset


def put_pixels(dataset: FileDataset, stored: np.ndarray, bits: int = 12) -> None:
    """Set the pixels (row, column) of a slice."""
    dataset.Rows, dataset.Columns = stored.shape
    dataset.BitsStored, dataset.HighBit = bits, bits - 1
    dataset.PixelRepresentation = int(np.issubdtype(stored.dtype, np.signedinteger))
    dataset.PixelData = stored.astype("<i2" if dataset.PixelRepresentation else "<u2").tobytes()


def explanation_of(scan: Volume, relevance: torch.Tensor | None = None, **more: Any) -> Explanation:
    """An explanation on the grid of a scan."""
    values = torch.randn(1, *scan.shape, generator=torch.Generator().manual_seed(0)) if relevance is None else relevance
    fields: dict[str, Any] = {
        "relevance": scan.with_tensor(values, unit="years"),
        "scan": scan,
        "case": "sub-01",
        "method": "integrated-gradients",
        "quantity": Quantity.CONTRIBUTION,
        "sign": Sign.RAISED,
        "unit": "years",
        "prediction": 61.25,
        "target": "output:0",
        "output_unit": "years",
        "knobs": {"n_steps": 50},
        "made": {"seed": 3, "batch_size": 4, "threads": 1, "device": "cpu", "versions": {"regard": "0.1.0"}},
    }
    return Explanation(**{**fields, **more})


def assert_same_world(read: Volume, values: np.ndarray, affine: np.ndarray, atol: float = 0.0) -> None:
    """Both images have the same voxels at the same places, whatever the order of their axes."""
    shape = np.array(read.shape)
    corners = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1).reshape(-1, 3)
    world = corners @ read.affine[:3, :3].T + read.affine[:3, 3]
    index = (world - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T
    nearest = np.rint(index).astype(int)
    assert np.abs(index - nearest).max() < 1e-3
    assert sorted(values.shape) == sorted(read.shape)
    found = values[tuple(nearest.T)]
    np.testing.assert_allclose(read.tensor[0].numpy().reshape(-1), found, atol=atol, rtol=0)
