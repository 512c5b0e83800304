"""Images in two files: NIfTI and Analyze pairs, headers with data beside them; and what a refusal says was found."""

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest

import regard
from regard.core.errors import FileError
from regard.io.contents import content_sha256

VALUES = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4)
KINDS = (nibabel.Nifti1Pair, nibabel.Nifti2Pair, nibabel.AnalyzeImage, nibabel.Spm99AnalyzeImage)
AFFINE = np.diag([-1.0, 2.0, 3.0, 1.0])


@pytest.mark.parametrize(
    "kind", [nibabel.Nifti1Pair, nibabel.Nifti2Pair, nibabel.AnalyzeImage, nibabel.Spm99AnalyzeImage]
)
@pytest.mark.parametrize("ending", [".hdr", ".img"])
def test_both_files_of_a_pair_stand_for_it(kind: type, ending: str, tmp_path: Path) -> None:
    image = kind(VALUES, AFFINE)
    nibabel.save(image, tmp_path / "scan.img")
    volume = regard.read(tmp_path / f"scan{ending}")
    assert np.array_equal(volume.tensor[0].numpy(), VALUES)
    assert np.allclose(np.abs(np.diag(volume.affine)), (1, 2, 3, 1))
    before = content_sha256(tmp_path / "scan.hdr")
    content = bytearray((tmp_path / "scan.img").read_bytes())
    content[-1] ^= 1
    (tmp_path / "scan.img").write_bytes(bytes(content))
    assert content_sha256(tmp_path / "scan.hdr") != before
    (tmp_path / "scan.img").write_bytes(bytes(content[:50]))
    with pytest.raises(FileError, match="truncated"):
        regard.read(tmp_path / "scan.hdr")
    (tmp_path / "scan.img").unlink()
    with pytest.raises(FileError, match="'scan.hdr' without 'scan.img' beside it; expected both files of a pair"):
        regard.read(tmp_path / "scan.hdr")


def test_analyze_says_that_left_and_right_are_a_guess(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    nibabel.save(nibabel.AnalyzeImage(VALUES, AFFINE), tmp_path / "scan.img")
    regard.read(tmp_path / "scan.hdr")
    assert "does not say left from right" in caplog.text


def test_compressed_or_not_is_told_by_the_content(tmp_path: Path) -> None:
    content = nibabel.Nifti1Image(VALUES, AFFINE).to_bytes()
    (tmp_path / "packed.nii").write_bytes(gzip.compress(content))
    (tmp_path / "plain.nii.gz").write_bytes(content)
    for name in ("packed.nii", "plain.nii.gz"):
        assert np.array_equal(regard.read(tmp_path / name).tensor[0].numpy(), VALUES)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "a Git LFS pointer"),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "a web page"),
        (b"PK\x03\x04" + b"\0" * 400, "a ZIP archive"),
        (b"\0" * 500, "bytes of 0"),
        (b"case\timage\n", "text that begins with 'case image'"),
    ],
)
@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".dcm", ".png", ".nrrd", ".mha", ".hdr"])
def test_a_refusal_says_what_was_found(content: bytes, words: str, ending: str, tmp_path: Path) -> None:
    (tmp_path / f"scan{ending}").write_bytes(content)
    with pytest.raises(FileError, match=f"ends in {ending}.* but holds .*{words}"):
        regard.read(tmp_path / f"scan{ending}")


def test_cifti_is_refused_by_name(tmp_path: Path) -> None:
    image = nibabel.Nifti2Image(np.zeros((1, 1, 1, 1, 5, 7), np.float32), np.eye(4))
    image.header["intent_code"] = 3002
    nibabel.save(image, tmp_path / "x.dtseries.nii")
    with pytest.raises(FileError, match=r"is a CIFTI file \(intent 3002\)"):
        regard.read(tmp_path / "x.dtseries.nii")


def test_a_long_header_extension_is_no_obstacle(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(VALUES, AFFINE)
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"x" * 9000))
    nibabel.save(image, tmp_path / "x.nii.gz")
    assert np.array_equal(regard.read(tmp_path / "x.nii.gz").tensor[0].numpy(), VALUES)


def test_a_data_file_with_a_space_in_its_name(tmp_path: Path) -> None:
    nrrd = pytest.importorskip("nrrd")
    nrrd.write(str(tmp_path / "x.nhdr"), VALUES, {"space": "RAS", "space directions": np.eye(3), "encoding": "raw"},
               detached_header=True)  # fmt: skip
    data = next(p for p in tmp_path.iterdir() if p.suffix != ".nhdr")
    data.rename(tmp_path / "my data.raw")
    header = (tmp_path / "x.nhdr").read_text().replace(data.name, "my data.raw")
    (tmp_path / "x.nhdr").write_text(header)
    assert np.array_equal(regard.read(tmp_path / "x.nhdr").tensor[0].numpy(), VALUES)
    (tmp_path / "my data.raw").unlink()
    with pytest.raises(FileError, match="whose data file 'my data.raw' is not there"):
        regard.read(tmp_path / "x.nhdr")
