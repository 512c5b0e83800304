"""What a path holds is found by content, and every file that cannot be read is one sentence."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

import regard
from regard.core.errors import FileError, InputError
from regard.io.reading import kind_of, strip_ending


def one_sentence(error: InputError) -> bool:
    return "\n" not in str(error) and "expected" in str(error) and error.exit_code == 2


@pytest.mark.parametrize(
    "name", ["scan.nii", "scan.nii.gz", "scan.dcm", "scan.png", "scan.jpg", "scan.tif", "scan.nrrd", "scan.mgz"]
)
@pytest.mark.parametrize("content", [b"", b"\0" * 600, b"not an image, but a long enough text " * 20, b"\x1f\x8b\x08"])
def test_every_ending_with_foreign_content_is_one_sentence(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(FileError, match="scan") as caught:
        regard.read(path)
    assert one_sentence(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"no file '.*gone\.nii\.gz'; expected an existing file; check the path"):
        regard.read(tmp_path / "gone.nii.gz")


def test_an_unknown_ending(tmp_path: Path) -> None:
    (tmp_path / "notes.docx").write_bytes(b"PK\x03\x04" + b"x" * 500)
    with pytest.raises(FileError, match="no image that I know"):
        regard.read(tmp_path / "notes.docx")


def test_an_ending_that_contradicts_the_content(tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "x.png")
    (tmp_path / "x.png").rename(tmp_path / "x.nii.gz")
    with pytest.raises(FileError, match=r"ends in \.nii\.gz but holds a picture image"):
        regard.read(tmp_path / "x.nii.gz")


def test_a_folder_instead_of_a_file(tmp_path: Path) -> None:
    folder = tmp_path / "scan.nii.gz"
    folder.mkdir()
    with pytest.raises(FileError, match="without a DICOM image") as caught:
        regard.read(folder)
    assert one_sentence(caught.value)
    (folder / "a.nii").write_bytes(b"x")
    with pytest.raises(FileError, match="without a DICOM image"):
        regard.read(folder)


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "locked.nii"
    path.write_bytes(b"x" * 400)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(FileError, match="Permission denied"):
        regard.read(path)


def test_content_decides_where_the_ending_is_unknown(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 2, 2), np.float32), np.eye(4)), tmp_path / "x.nii")
    (tmp_path / "x.nii").rename(tmp_path / "IM0001")
    with pytest.raises(FileError, match=r"without its ending; expected \.nii"):
        kind_of(tmp_path / "IM0001")
    Image.new("L", (4, 3)).save(tmp_path / "x.png")
    (tmp_path / "x.png").rename(tmp_path / "scan.v2")
    assert regard.read(tmp_path / "scan.v2").shape == (4, 3, 1)


def test_endings_are_taken_off_whole() -> None:
    assert strip_ending("sub-01.v2.NII.GZ") == "sub-01.v2"
    assert strip_ending("a.png") == "a"
    assert strip_ending("1.2.840.113") == "1.2.840.113"
    assert strip_ending(".nii.gz") == ".nii.gz"
