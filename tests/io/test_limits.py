"""What a small file becomes in memory is bounded, and a flag lifts the bound."""

import bz2
import gzip
import os
import time
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest

import regard
from regard.core.errors import FileError
from regard.io import limits
from regard.io.limits import check_size, limited, without_limits

pytest.importorskip("nrrd", reason="pynrrd is not installed")

HEADER = (
    "NRRD0004\ntype: short\ndimension: 3\nsizes: {sizes}\nspace: left-posterior-superior\n"
    "space directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\nendian: little\nencoding: {encoding}\n{more}\n"
)


def claims(path: Path, shape: tuple[int, ...], n_packed: int) -> Path:
    """A NIfTI file whose header says ``shape``, of about ``n_packed`` bytes."""
    header = nibabel.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(np.int16)
    header["vox_offset"] = 352
    header["magic"] = b"n+1"
    path.write_bytes(gzip.compress(header.binaryblock + bytes(4) + os.urandom(n_packed), 1))
    return path


def test_a_megabyte_that_says_it_is_1024_cubed_is_refused_and_the_flag_named(tmp_path: Path) -> None:
    path = claims(tmp_path / "x.nii.gz", (1024, 1024, 1024), 2_100_000)
    with pytest.raises(
        FileError, match=r"1024 x 1024 x 1024 voxels, which take 4 GiB; expected at most 2 GiB.*--no-limits"
    ):
        regard.read(path)
    with pytest.raises(FileError, match="truncated"):  # what it is without the limit
        regard.read(path, limits=False)
    assert limited()


def test_an_image_that_grows_too_much_is_refused_where_it_is_large(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="times as many; expected at most 200 times"):
        regard.read(claims(tmp_path / "x.nii.gz", (640, 512, 512), 400_000))
    check_size(tmp_path, (512, 512, 300), 2, 200_000)  # a mask of a scan packs as well


def test_the_limits_come_back_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), without_limits():
        assert not limited()
        1 / 0
    assert limited()
    with without_limits(False):
        assert limited()


@pytest.mark.parametrize(
    "more", ["data file: ok.raw\ndatafile: secret.raw\n", "datafile: secret.raw\ndata file: ok.raw\n"]
)
def test_a_header_that_names_its_data_twice_is_refused(more: str, tmp_path: Path) -> None:
    for name in ("ok.raw", "secret.raw"):
        (tmp_path / name).write_bytes(bytes(16))
    (tmp_path / "x.nhdr").write_text(HEADER.format(sizes="2 2 2", encoding="raw", more=more))
    with pytest.raises(FileError, match="with both 'data file"):
        regard.read(tmp_path / "x.nhdr")


@pytest.mark.parametrize("spelling", ["data file", "datafile"])
@pytest.mark.parametrize("name", ["../secret.raw", "{absolute}", "LIST", "s%d.raw", "link.raw"])
def test_data_outside_the_folder_of_the_header_are_not_read(spelling: str, name: str, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "secret.raw").write_bytes(bytes(16))
    (folder / "link.raw").symlink_to(tmp_path / "secret.raw")
    more = f"{spelling}: {name.format(absolute=tmp_path / 'secret.raw')}\n"
    (folder / "x.nhdr").write_text(HEADER.format(sizes="2 2 2", encoding="raw", more=more))
    with pytest.raises(FileError):
        regard.read(folder / "x.nhdr")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("more", ["line skip: 9999999999\n", "lineskip: 9999999999\n", "byte skip: 9999999999999\n",
                                  "byteskip: -5\n", "line skip: -1\n"])  # fmt: skip
def test_skipping_what_is_not_there_is_refused_at_once(more: str, tmp_path: Path) -> None:
    (tmp_path / "x.nrrd").write_bytes(HEADER.format(sizes="2 2 2", encoding="raw", more=more).encode() + bytes(16))
    start = time.monotonic()
    with pytest.raises(FileError, match="skip"):
        regard.read(tmp_path / "x.nrrd")
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("encoding", ["gzip", "bzip2"])
def test_no_more_is_unpacked_than_the_header_says(
    encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.arange(8, dtype="<i2")
    content = values.tobytes() + bytes(50_000_000)
    packed = gzip.compress(content, 1) if encoding == "gzip" else bz2.compress(content, 1)
    (tmp_path / "x.nrrd").write_bytes(HEADER.format(sizes="2 2 2", encoding=encoding, more="").encode() + packed)
    wanted: list[int] = []
    plain = zlib.decompressobj

    class Counting:
        def __init__(self, *arguments: int) -> None:
            self._inner = plain(*arguments)

        def decompress(self, data: bytes, most: int) -> bytes:
            wanted.append(most)
            return self._inner.decompress(data, most)

        def __getattr__(self, name: str) -> object:
            return getattr(self._inner, name)

    monkeypatch.setattr("regard.io.nrrd_data.zlib.decompressobj", Counting)
    read = regard.read(tmp_path / "x.nrrd").tensor[0].numpy()
    assert np.array_equal(read, values.reshape(2, 2, 2, order="F"))
    assert all(0 < n <= 16 for n in wanted)


@pytest.mark.parametrize("encoding", ["gzip", "bzip2"])
def test_a_bomb_with_a_header_to_match_is_refused(encoding: str, tmp_path: Path) -> None:
    header = HEADER.format(sizes="4096 4096 400", encoding=encoding, more="")
    (tmp_path / "x.nrrd").write_bytes(header.encode() + bytes(4000))
    with pytest.raises(FileError, match="--no-limits"):
        regard.read(tmp_path / "x.nrrd")


@pytest.mark.parametrize("endian", ["little", "big"])
@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2", "ascii"])
def test_the_voxels_are_those_that_pynrrd_reads(encoding: str, endian: str, tmp_path: Path) -> None:
    import nrrd

    values = np.random.default_rng(0).integers(-300, 300, (5, 4, 3)).astype((">" if endian == "big" else "<") + "i2")
    space = {"space": "left-posterior-superior", "space directions": np.eye(3), "space origin": np.zeros(3)}
    nrrd.write(str(tmp_path / "x.nrrd"), values, {**space, "encoding": encoding})
    expected, _ = nrrd.read(str(tmp_path / "x.nrrd"))
    assert np.array_equal(regard.read(tmp_path / "x.nrrd").tensor[0].numpy(), expected)


def test_a_deflated_dicom_that_grows_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pydicom

    whole = Path(pydicom.__file__).parent / "data" / "test_files" / "image_dfl.dcm"
    assert regard.read(whole).shape == (512, 512, 1)
    content = whole.read_bytes()
    start = 132 + 12 + int(pydicom.dcmread(whole).file_meta.FileMetaInformationGroupLength)
    packed = zlib.compressobj(wbits=-15)
    inside = zlib.decompress(content[start:], wbits=-15) + bytes(3_000_000)
    (tmp_path / "x.dcm").write_bytes(content[:start] + packed.compress(inside) + packed.flush())
    monkeypatch.setattr("regard.io.dicom_file.LARGEST", 2_000_000)
    with pytest.raises(FileError, match="deflated part becomes more than"):
        regard.read(tmp_path / "x.dcm")
    assert regard.read(whole).shape == (512, 512, 1)


def test_the_limit_is_that_of_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "hostile-input.md").read_text()
    assert f"{limits.LARGEST // 2**30} GiB" in page
    assert f"{limits.MOST_EXPANSION} times" in page
