"""Scans at two doses: the archive's layout, pairs of folders, and what is wrong with them."""

import csv
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from regard.core.errors import CardError, FileError, GeometryError, InputError
from regard.core.volume import Volume
from regard.datasets.dose_pairs import load_pair, read_dose_pairs, read_ldct_and_projection, read_pair_folders
from regard.io import save_volume

AFFINE = np.diag([-2.0, -2.0, 3.0, 1.0])


def series(folder: Path, values: np.ndarray) -> None:
    """A CT series of stored values (slice, row, column) with an intercept of -1024."""
    folder.mkdir(parents=True)
    uid = generate_uid()
    for n, image in enumerate(values):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        one.SOPClassUID, one.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        one.Modality, one.SeriesInstanceUID, one.InstanceNumber = "CT", uid, n + 1
        one.ImagePositionPatient, one.ImageOrientationPatient = [-10.0, -12.0, 3.0 * n], [1, 0, 0, 0, 1, 0]
        one.PixelSpacing, one.SliceThickness, one.RescaleSlope, one.RescaleIntercept = [2.0, 2.0], 3.0, 1, -1024
        one.ImageType, one.SamplesPerPixel, one.PhotometricInterpretation = ["ORIGINAL"], 1, "MONOCHROME2"
        one.Rows, one.Columns = image.shape
        one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 12, 11, 0
        one.PixelData = image.astype("<u2").tobytes()
        pydicom.dcmwrite(folder / f"1-{n:03d}.dcm", one)


def archive(folder: Path, places: dict[tuple[str, str], str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    columns = ["Series UID", "Subject ID", "Series Description", "Manufacturer", "File Location"]
    with (folder / "metadata.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        for n, ((subject, said), place) in enumerate(places.items()):
            writer.writerow([n, subject, said, "SIEMENS", place])
    return folder


def test_the_archives_layout(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    stored = generator.integers(0, 1400, (3, 10, 12))
    for dose, noise in (("Low", 60), ("Full", 0)):
        added = noise * generator.integers(0, 2, stored.shape)
        series(tmp_path / "C002" / "study" / f"{dose} Dose Images-1", stored + added)
    there = "C002/study/{} Dose Images-1".format
    found = read_dose_pairs(
        archive(
            tmp_path,
            {
                ("C002", "Low Dose Images"): "./" + there("Low"),
                ("C002", "Full dose images"): ".\\" + there("Full").replace("/", "\\"),
                ("C002", "Full Dose Projections"): "./C002/study/projections",
                ("L004", "Full Dose Images"): "./L004/full",
                ("N005", "Low Dose Images"): "./N005/low",
                ("N005", "Full Dose Images"): "./N005/full",
            },
        )
    )
    assert [p.case for p in found.pairs] == ["C002"]
    assert "0 series of low-dose images" in str(found.failures["L004"])
    assert "no folder" in str(found.failures["N005"])
    low, full = load_pair(found.pairs[0])
    assert low.shape == full.shape == (12, 10, 3)
    assert low.orientation == "LPS"
    assert torch.equal(full.tensor[0].permute(2, 1, 0), torch.tensor(stored - 1024).float())


def test_the_archives_table_is_checked(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="metadata.csv"):
        read_ldct_and_projection(tmp_path)
    (tmp_path / "metadata.csv").write_text("Subject ID,File Location\n")
    with pytest.raises(CardError, match="Series Description"):
        read_ldct_and_projection(tmp_path)
    with pytest.raises(CardError, match="outside"):
        read_ldct_and_projection(archive(tmp_path / "a", {("C1", "Low Dose Images"): "../../etc"}))


def volume(seed: int, deviation: float = 10.0, low: float = -1000.0) -> torch.Tensor:
    values = torch.full((1, 10, 9, 2), low)
    values[:, 3:7, 3:7] = 60.0
    return values + deviation * torch.randn(values.shape, generator=torch.Generator().manual_seed(seed))


def test_pairs_of_folders(tmp_path: Path) -> None:
    flipped = AFFINE @ np.diag([-1.0, 1.0, 1.0, 1.0])
    for name, dose, affine in (("a_1", "quarter", AFFINE), ("a_2", "quarter", AFFINE), ("b", "quarter", flipped)):
        (tmp_path / dose).mkdir(exist_ok=True)
        (tmp_path / "Full_Dose").mkdir(exist_ok=True)
        save_volume(Volume(volume(1), affine, "HU"), tmp_path / dose / f"{name}.nii.gz")
        if name != "a_2":
            save_volume(Volume(volume(2), affine, "HU"), tmp_path / "Full_Dose" / f"{name}.nii.gz")
    found = read_pair_folders(tmp_path)
    assert [(p.case, p.patient) for p in found.pairs] == [("a_1", "a"), ("b", "b")]
    assert "no full-dose scan" in str(found.failures["a_2"])
    plain, turned = (load_pair(p)[0] for p in found.pairs)
    assert torch.equal(turned.tensor, plain.tensor.flip(1))
    with pytest.raises(FileError, match="both doses"):
        read_pair_folders(tmp_path / "quarter")


@pytest.mark.parametrize(
    ("low", "full", "error", "words"),
    [
        (volume(1), volume(1), InputError, "same image"),
        (volume(1), volume(2)[:, :, :8], GeometryError, "one grid"),
        (volume(1, low=0.0), volume(2), InputError, "CT in HU"),
        (volume(1) * torch.nan, volume(2), InputError, "NaN"),
    ],
)
def test_a_pair_that_is_none(
    tmp_path: Path, low: torch.Tensor, full: torch.Tensor, error: type[Exception], words: str
) -> None:
    for dose, values in (("low", low), ("full", full)):
        (tmp_path / dose).mkdir()
        save_volume(Volume(values, AFFINE, "HU"), tmp_path / dose / "p.nii.gz")
    (pair,) = read_pair_folders(tmp_path).pairs
    with pytest.raises(error, match=words):
        load_pair(pair)
