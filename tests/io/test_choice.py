"""What of a file is meant: one volume of several, one series of a folder, by option, column and argument."""

from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import torch
from file_samples import WriteSeries
from pydicom.dataset import FileDataset

import regard
from regard.core.errors import CardError, FileError, GeometryError, ShapeError
from regard.io.records import read_inputs
from regard.io.run_folder import RunFolder
from regard.io.tables import Case, choosing, read_table


@pytest.fixture
def echoes(tmp_path: Path) -> Path:
    """Three echoes in one file, echo n with the values n + a ramp."""
    values = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4, 1) / 100 + np.arange(3.0)
    nibabel.save(nibabel.Nifti1Image(values.astype(np.float32), np.diag([1, 2, 3, 1.0])), tmp_path / "echoes.nii.gz")
    return tmp_path / "echoes.nii.gz"


def test_one_volume_of_several(echoes: Path) -> None:
    whole = regard.read(echoes)
    for n in range(3):
        one = regard.read(echoes, volume=n)
        assert one.n_channels == 1
        assert torch.equal(one.tensor[0], whole.tensor[n])
        assert np.array_equal(one.affine, whole.affine)
    for wrong in (-1, 3):
        with pytest.raises(ShapeError, match=rf"volume {wrong} of '.*echoes.*', which has 3; expected 0 to 2"):
            regard.read(echoes, volume=wrong)


def test_one_volume_of_a_long_series_that_is_too_long_to_be_channels(tmp_path: Path) -> None:
    values = np.arange(2 * 2 * 2 * 100, dtype=np.int16).reshape(2, 2, 2, 100)
    image = nibabel.Nifti1Image(values, np.eye(4))
    image.header.set_slope_inter(0.5, 10)
    nibabel.save(image, tmp_path / "bold.nii")
    assert np.array_equal(regard.read(tmp_path / "bold.nii", volume=73).tensor[0], values[..., 73] * 0.5 + 10)
    with pytest.raises(FileError, match=r"--volume N \(0 to 99;"):
        regard.read(tmp_path / "bold.nii")


def test_a_table_and_a_command_choose_for_each_case_and_input(echoes: Path, tmp_path: Path) -> None:
    table = tmp_path / "cases.tsv"
    table.write_text("case\timage_t1\timage_t2\tvolume_t2\na\techoes.nii.gz\techoes.nii.gz\t1\n"
                     "b\techoes.nii.gz\techoes.nii.gz\tn/a\n")  # fmt: skip
    cases = choosing(read_table(table), ["t1=0", "2"])
    means = [[round(float(c.read(name).tensor.mean()) - 0.115, 3) for name in ("t1", "t2")] for c in cases]
    assert means == [[0, 1], [0, 2]]
    with pytest.raises(CardError, match="given before"):
        choosing(cases, ["1", "2"])
    with pytest.raises(CardError, match="an input among t1, t2"):
        choosing(cases, ["flair=2"])
    with pytest.raises(CardError, match="volume 'last' of case 'a'; expected a whole number"):
        choosing([Case("a", {"image": echoes})], ["last"])


def test_a_run_remembers_what_was_chosen(echoes: Path, tmp_path: Path) -> None:
    cases = choosing([Case("a", {"image": echoes})], ["1"], [])
    chosen = {"a": {"volume": "1"}}
    with RunFolder(tmp_path / "run", "explain", {"chosen": chosen, "methods": []}, cases=cases) as folder:
        folder.finish("done")
    again = read_inputs(tmp_path / "run")[0]
    assert torch.equal(again.read().tensor, regard.read(echoes, volume=1).tensor)


def test_one_series_of_a_study_folder(write_series: WriteSeries, tmp_path: Path) -> None:
    stored = np.arange(60, dtype=np.uint16).reshape(3, 4, 5)

    def numbered(number: int):
        def change(_: int, dataset: FileDataset) -> None:
            dataset.SeriesNumber = number

        return change

    write_series(stored, uid="1.2.3.4", names="a{}.dcm".format, change=numbered(2))
    write_series(stored[:2] + 7, uid="1.2.3.5", names="b{}.dcm".format, change=numbered(5))
    folder = tmp_path / "series"
    with pytest.raises(GeometryError, match=r"2 series mixed.*\(SeriesNumber 2, 5\).*--series UID or NUMBER"):
        regard.read(folder)
    for choice, n in ((2, 3), ("2", 3), ("1.2.3.4", 3), (5, 2), ("1.2.3.5", 2)):
        assert regard.read(folder, series=choice).shape == (5, 4, n)
    with pytest.raises(GeometryError, match=r"without the series 9; it has number 2, 1\.2\.3\.4 \(3 images\)"):
        regard.read(folder, series=9)
    write_series(stored[:1], uid="1.2.3.6", names="c{}.dcm".format, change=numbered(5))
    with pytest.raises(GeometryError, match="several series of the number 5"):
        regard.read(folder, series=5)
    with pytest.raises(FileError, match="which is not DICOM"):
        nibabel.save(nibabel.Nifti1Image(np.zeros((2, 2, 2), np.float32), np.eye(4)), tmp_path / "x.nii")
        regard.read(tmp_path / "x.nii", series=1)


def plain(paths: list[Path]) -> list[Path]:
    """The same files without ending: IM0000, IM0001 ..."""
    return [p.rename(p.with_suffix("")) for p in paths]


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"\0" * 128 + b"DICOM", b"garbage of a lost disk"])
def test_a_slice_that_is_not_readable_is_never_left_out(
    content: bytes, write_series: WriteSeries, tmp_path: Path
) -> None:
    paths = plain(write_series(np.zeros((4, 4, 5), dtype=np.uint16)))
    (tmp_path / "series" / "README").write_text("what is no slice is skipped")
    assert regard.read(tmp_path / "series").shape == (5, 4, 4)
    paths[-1].write_bytes(content)
    with pytest.raises(FileError, match=r"IM0003' is empty, or not DICOM beside DICOM images"):
        regard.read(tmp_path / "series")


@pytest.mark.parametrize("explicit", [True, False])
def test_a_slice_without_preamble_and_ending_is_read(explicit: bool, write_series: WriteSeries, tmp_path: Path) -> None:
    stored = np.arange(80, dtype=np.uint16).reshape(4, 4, 5)
    paths = plain(write_series(stored))
    before = regard.read(tmp_path / "series")
    for path in paths:
        content = path.read_bytes()
        if explicit:
            path.write_bytes(content[132:])
        else:
            dataset = pydicom.dcmread(path)
            dataset.preamble = None
            del dataset.file_meta
            pydicom.dcmwrite(path, dataset, implicit_vr=True, little_endian=True)
            assert path.read_bytes()[:2] == b"\x08\0"
    after = regard.read(tmp_path / "series")
    assert torch.equal(before.tensor, after.tensor)
    assert np.allclose(before.affine, after.affine)
    assert torch.equal(regard.read(paths[0]).tensor[..., 0], before.tensor[..., 0])


def test_a_mosaic_is_refused(write_series: WriteSeries) -> None:
    path = write_series(
        np.zeros((1, 8, 8), dtype=np.uint16),
        change=lambda _, d: setattr(d, "ImageType", ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]),
    )[0]
    with pytest.raises(FileError, match="is a mosaic: many slices side by side.*dcm2niix"):
        regard.read(path)


def test_orientations_are_compared_by_angle_not_by_rounding(write_series: WriteSeries, tmp_path: Path) -> None:
    """0.125 lies where rounding to two digits turns; a jitter of 1e-6 must not part a series."""

    def change(n: int, dataset: FileDataset) -> None:
        tilt = 0.125 + (1e-6 if n % 2 else -1e-6)
        dataset.ImageOrientationPatient = [np.sqrt(1 - tilt**2), tilt, 0, -tilt, np.sqrt(1 - tilt**2), 0]

    write_series(np.zeros((4, 4, 5), dtype=np.uint16), change=change)
    assert regard.read(tmp_path / "series").shape == (5, 4, 4)

    def turned(n: int, dataset: FileDataset) -> None:
        tilt = np.radians(0.2) if n == 3 else 0.0
        dataset.ImageOrientationPatient = [np.cos(tilt), np.sin(tilt), 0, -np.sin(tilt), np.cos(tilt), 0]

    write_series(np.zeros((4, 4, 5), dtype=np.uint16), folder="turned", change=turned)
    with pytest.raises(GeometryError, match="of 2 orientations"):
        regard.read(tmp_path / "turned")


def test_steps_that_change_are_no_gap(write_series: WriteSeries, tmp_path: Path) -> None:
    places = [0, 5, 10, 15, 20, 30, 40, 50]

    def change(n: int, dataset: FileDataset) -> None:
        dataset.ImagePositionPatient = [-20, -30, places[n]]

    write_series(np.zeros((8, 4, 5), dtype=np.uint16), change=change)
    message = r"steps change: 4 of 5 mm from 0\.00 to 20\.00 mm, then 3 of 10 mm from 20\.00 to 50\.00 mm"
    with pytest.raises(GeometryError, match=message):
        regard.read(tmp_path / "series")
