from pathlib import Path

import numpy as np
import pytest
from file_samples import AFFINES

import regard
from regard.core.errors import FileError, GeometryError, MissingDependencyError
from regard.core.volume import PIXEL_AFFINE
from regard.io import nrrd as ours

nrrd = pytest.importorskip("nrrd", reason="the extra 'nrrd' is not installed")

TO_RAS = {
    "left-posterior-superior": [-1, -1, 1],
    "LPS": [-1, -1, 1],
    "right-anterior-superior": [1, 1, 1],
    "RAS": [1, 1, 1],
    "left-anterior-superior": [-1, 1, 1],
    "LAS": [-1, 1, 1],
}


def header_of(affine: np.ndarray, space: str) -> dict[str, object]:
    turned = np.diag(TO_RAS[space]) @ affine[:3]
    return {"space": space, "space directions": turned[:, :3].T, "space origin": turned[:, 3]}


@pytest.mark.parametrize("space", TO_RAS)
@pytest.mark.parametrize("name", AFFINES)
def test_every_space_becomes_ras(name: str, space: str, tmp_path: Path) -> None:
    data = np.random.default_rng(0).integers(-50, 50, (3, 4, 5)).astype(np.int16)
    nrrd.write(str(tmp_path / "x.nrrd"), data, header_of(AFFINES[name], space))
    scan = regard.read(tmp_path / "x.nrrd")
    assert np.allclose(scan.affine, AFFINES[name])
    assert np.array_equal(scan.tensor[0].numpy(), data)


def test_a_list_axis_becomes_channels(tmp_path: Path) -> None:
    data = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    header = header_of(AFFINES["oblique"], "RAS")
    header["space directions"] = np.vstack([np.full(3, np.nan), header["space directions"]])
    header["kinds"] = ["list", "domain", "domain", "domain"]
    nrrd.write(str(tmp_path / "x.nrrd"), data, header)
    scan = regard.read(tmp_path / "x.nrrd")
    assert np.array_equal(scan.tensor.numpy(), data)
    assert np.allclose(scan.affine, AFFINES["oblique"])


def test_a_picture(tmp_path: Path) -> None:
    nrrd.write(str(tmp_path / "x.nrrd"), np.arange(12, dtype=np.uint8).reshape(3, 4))
    picture = regard.read(tmp_path / "x.nrrd")
    assert picture.shape == (3, 4, 1)
    assert np.array_equal(picture.affine, PIXEL_AFFINE)
    assert not picture.has_geometry


def test_a_volume_that_does_not_say_where_it_is(tmp_path: Path) -> None:
    nrrd.write(str(tmp_path / "x.nrrd"), np.zeros((2, 2, 2)), {"spacings": [1.0, 1.0, 1.0]})
    with pytest.raises(GeometryError, match=r"x\.nrrd' in space 'none' without directions"):
        regard.read(tmp_path / "x.nrrd")
    header = {**header_of(AFFINES["RAS"], "RAS"), "space": "scanner-xyz"}
    nrrd.write(str(tmp_path / "y.nrrd"), np.zeros((2, 2, 2)), header)
    with pytest.raises(GeometryError, match=r"y\.nrrd' in space 'scanner-xyz'"):
        regard.read(tmp_path / "y.nrrd")
    header = {**header_of(AFFINES["RAS"], "RAS"), "space units": ["cm", "cm", "cm"]}
    nrrd.write(str(tmp_path / "z.nrrd"), np.zeros((2, 2, 2)), header)
    with pytest.raises(GeometryError, match="in cm; expected millimetres"):
        regard.read(tmp_path / "z.nrrd")


@pytest.mark.parametrize("share", [0.05, 0.9])
def test_a_truncated_file_is_one_sentence(share: float, tmp_path: Path) -> None:
    data = np.random.default_rng(0).normal(size=(9, 9, 9))
    nrrd.write(str(tmp_path / "x.nrrd"), data, header_of(AFFINES["RAS"], "RAS"))
    content = (tmp_path / "x.nrrd").read_bytes()
    (tmp_path / "x.nrrd").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(FileError, match="not a readable NRRD file|is truncated"):
        regard.read(tmp_path / "x.nrrd")


def test_data_outside_the_folder_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    nrrd.write(str(tmp_path / "in" / "x.nhdr"), np.zeros((2, 2, 2)), header_of(AFFINES["RAS"], "RAS"))
    assert regard.read(tmp_path / "in" / "x.nhdr").shape == (2, 2, 2)
    text = (tmp_path / "in" / "x.nhdr").read_text()
    (tmp_path / "x.raw.gz").write_bytes((tmp_path / "in" / "x.raw.gz").read_bytes())
    (tmp_path / "in" / "x.nhdr").write_text(text.replace("x.raw.gz", "../x.raw.gz"))
    with pytest.raises(FileError, match="data are elsewhere"):
        regard.read(tmp_path / "in" / "x.nhdr")


def test_without_pynrrd_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nrrd.write(str(tmp_path / "x.nrrd"), np.zeros((2, 2)))

    def absent(module: str, *, extra: str, purpose: str) -> None:
        raise MissingDependencyError.of(module, extra, purpose)

    monkeypatch.setattr(ours, "need", absent)
    with pytest.raises(MissingDependencyError, match=r"reading NRRD files needs.*pip install 'regard\[nrrd\]'"):
        regard.read(tmp_path / "x.nrrd")
