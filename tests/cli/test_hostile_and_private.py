"""``regard explain`` with hostile models and names, with DICOM, and in private."""

import hashlib
import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from command_line import Regard
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

NAME, NUMBER = "LASTNAME^FIRST", "PID-4711"


@pytest.fixture
def series(tmp_path: Path) -> Callable[..., Path]:
    """Write a CT series full of identifiers, in a folder."""

    def write(folder: str = "ct", *, slices: int = 8) -> Path:
        place = tmp_path / folder
        place.mkdir(parents=True)
        values = np.random.default_rng(0).integers(900, 1200, (slices, 20, 16), dtype=np.uint16)
        for n, image in enumerate(values):
            meta = FileMetaDataset()
            meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = CTImageStorage, ExplicitVRLittleEndian
            meta.MediaStorageSOPInstanceUID = f"1.2.826.0.1.3680043.2.7.{n + 1}"
            dataset = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
            dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
            dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate, dataset.PatientSex = NAME, NUMBER, "", ""
            dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.826.0.1.3680043.2.5", "1.2.826.0.1.3680043.2.6"
            dataset.FrameOfReferenceUID = "1.2.826.0.1.3680043.2.99"
            dataset.StudyID = dataset.AccessionNumber = dataset.ReferringPhysicianName = dataset.StudyDescription = ""
            dataset.StudyDate = dataset.StudyTime = dataset.PositionReferenceIndicator = ""
            dataset.Modality, dataset.SeriesNumber, dataset.InstanceNumber = "CT", 1, n + 1
            dataset.ImagePositionPatient = [-20, -30, 40 + 2.5 * n]
            dataset.ImageOrientationPatient, dataset.PixelSpacing = [1, 0, 0, 0, 1, 0], [0.8, 0.6]
            dataset.SliceThickness, dataset.RescaleSlope, dataset.RescaleIntercept = 2.5, 1, -1024
            dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 20, 16, 1
            dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME2", 0
            dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
            dataset.PixelData = image.tobytes()
            dataset.save_as(place / f"{NUMBER}_{n:03d}.dcm", enforce_file_format=True)
        return place

    return write


def everything(folder: Path) -> bytes:
    """Every written byte, compressed files also as they are without compression, and every name."""
    import gzip

    found = b""
    for path in sorted(folder.rglob("*")):
        found += path.name.encode() + b"\n"
        if path.is_file():
            content = path.read_bytes()
            found += content + (gzip.decompress(content) if path.suffix == ".gz" else b"")
    return found


def test_dicom_series_are_numbered_and_nothing_identifies(
    regard: Regard, model_3d: Path, series: Callable, tmp_path: Path
) -> None:
    one, two, out = series("ct"), series("again"), tmp_path / "run"
    said = regard("explain", model_3d, one, two, "-m", "gradient", "-o", out)
    assert said.code == 0, said.err
    assert (out / "maps/case-0001_desc-gradient_relevance.nii.gz").exists()
    assert (out / "maps/case-0002_desc-gradient_relevance.nii.gz").exists()
    assert f"case-0002\timage\t{two}" in (out / "inputs.tsv").read_text()
    image = nibabel.load(out / "maps/case-0001_desc-gradient_relevance.nii.gz")
    assert image.shape == (16, 20, 8)
    assert np.allclose(image.affine @ [0, 0, 0, 1], [20, 30, 40, 1])
    assert np.allclose(nibabel.affines.voxel_sizes(image.affine), [0.6, 0.8, 2.5])
    for secret in (NAME, NUMBER, "1.2.826.0.1.3680043.2"):
        assert secret.encode() not in everything(out)


def test_parametric_maps(regard: Regard, model_3d: Path, series: Callable, nifti: Callable, tmp_path: Path) -> None:
    pytest.importorskip("highdicom", reason="the extra 'dicom' is not installed")
    base = ("explain", model_3d, "-m", "gradient", "-o", tmp_path / "run", "--dicom")
    scan = nifti()
    assert regard(*base, scan).refused("--dicom", "scan.nii.gz")
    assert regard(*base, series("other"), "--private").refused("--dicom with --private")
    assert regard(*base, series("third"), "--slice", "k:0").refused("--dicom with --slice")
    assert not (tmp_path / "run").exists()
    assert regard(*base, series()).code == 0
    written = pydicom.dcmread(tmp_path / "run/maps/case-0001_desc-gradient_relevance.dcm")
    assert written.PatientID == NUMBER
    values = nibabel.load(tmp_path / "run/maps/case-0001_desc-gradient_relevance.nii.gz").get_fdata()
    frames = np.frombuffer(written.FloatPixelData, np.float32).reshape(8, 20, 16)
    first = written.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient[2]
    ordered = frames if first == 40 else frames[::-1]
    assert np.allclose(ordered, values.transpose(2, 1, 0))


def test_private_writes_no_path_and_no_name_of_a_file(
    regard: Regard, model_3d: Path, nifti: Callable, series: Callable, tmp_path: Path
) -> None:
    folder = "Lastname_First"
    scans = [
        nifti(f"{folder}/scan-{n}-of-first.nii.gz", values=np.random.default_rng(n).normal(size=(18, 18, 8)))
        for n in (1, 2)
    ]
    (tmp_path / folder / "broken-of-first.nii.gz").write_bytes(b"no volume")
    inside = np.zeros((18, 18, 8))
    inside[4:12, 4:12, 2:6] = 1
    mask = nifti(f"{folder}/mask-of-first.nii.gz", values=inside)
    other = nifti(f"{folder}/reference-of-first.nii.gz", values=np.zeros((18, 18, 8)))
    rows = [f"a\t{scans[0].name}", f"b\t{scans[1].name}", "c\tbroken-of-first.nii.gz"]
    table = tmp_path / folder / "table-of-first.tsv"
    table.write_text("case\timage\n" + "\n".join(rows) + "\n")
    out = tmp_path / "run"
    base = (
        "explain", model_3d, table, "-m", "integrated-gradients", "--mask", mask, "--reference", other, "--private",
        "-o", out,
    )  # fmt: skip
    said = regard(*base)
    assert said.code == 3
    assert not (out / "inputs.tsv").exists()
    assert (out / "maps/b_desc-integratedgradients_relevance.nii.gz").exists()
    for secret in ("Lastname", "of-first", str(tmp_path)):
        assert secret.encode() not in everything(out), secret
    assert regard(*base).code == 3  # resumes
    assert regard(*base, "--seed", 1).refused("seed")
    references = tmp_path / "refs-of-first.tsv"
    references.write_text(f"case\timage\nnear\t{folder}/{other.name}\n")
    near = ("--reference", "value:0", "--reference-cases", references, "--reference-tolerance", 1e6)
    base = ("explain", model_3d, table, "-m", "integrated-gradients", "--private", "-o", tmp_path / "two")
    assert regard(*base, *near).code == 3
    stored = json.loads((tmp_path / "two/maps/a_desc-integratedgradients_relevance.json").read_text())
    assert "near" in stored["reference"]["label"]
    for secret in ("Lastname", "of-first", str(tmp_path)):
        assert secret.encode() not in everything(tmp_path / "two"), secret


def test_a_private_cohort_keeps_no_record_number_and_nothing_to_guess_one_by(
    regard: Regard, model: Path, picture: Callable, tmp_path: Path
) -> None:
    records = ["MRN-4711", "MRN-0815", "MRN-4711", "MRN-1234"]
    rows = [(f"c{n}", picture(f"{r}-{n}.png", seed=n).name, r, n) for n, r in enumerate(records)]
    table, out = tmp_path / "table.tsv", tmp_path / "run"
    table.write_text("case\timage\tpatient\tlabel\n" + "".join("\t".join(map(str, row)) + "\n" for row in rows))
    base = ("cohort", model, table, "-m", "gradient", "--maps", "none", "--private", "-o", out)
    assert regard(*base).code == 0
    told = (out / "predictions.tsv").read_text().splitlines()
    assert [row.split("\t")[1] for row in told[1:]] == [f"patient-000{n}" for n in (1, 2, 1, 3)]
    content = everything(out)
    for secret in (*records, str(tmp_path)):
        assert secret.encode() not in content, secret
    # Nobody who knows what a path or a record number looks like finds it by trying.
    paths = [[row[0], "image", str(tmp_path / row[1])] for row in rows]
    columns = [sorted({"patient": row[2], "label": str(row[3])}.items()) for row in rows]
    guesses = [*records, *(p[2] for p in paths), json.dumps(paths), json.dumps(columns), str(table), str(model)]
    for guess in guesses:
        assert hashlib.sha256(guess.encode()).hexdigest().encode() not in content, guess
    assert regard(*base).code == 0  # and still it resumes


def test_private_warns_of_ids_that_are_file_names(
    regard: Regard, model: Path, picture: Callable, tmp_path: Path
) -> None:
    said = regard("explain", model, picture("first.png"), "-m", "gradient", "--private", "-o", tmp_path / "run")
    assert said.code == 0
    assert "case ids are the names of the files" in said.err
    assert b"first.png" not in everything(tmp_path / "run")


def test_private_targets_have_no_file_names(
    regard: Regard, write_model: Callable, nifti: Callable, tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import save_file

    spec = {"name": "image", "orientation": "LPS", "shape": [16, 16, 8], "unit": "HU"}
    output = {"kind": "image", "names": ["clean"], "units": ["HU"]}
    model = write_model("image", zoo=..., kwargs=..., factory="network.py:build", inputs=[spec], output=output)
    (model / "network.py").write_text("from torch import nn\ndef build():\n    return nn.Conv3d(1, 1, 3, padding=1)\n")
    save_file({"weight": torch.ones(1, 1, 3, 3, 3), "bias": torch.zeros(1)}, model / "weights.safetensors")
    values = np.zeros((18, 18, 8))
    values[4:8, 4:8, 2:4], values[10:14, 10:14, 2:4] = 1, 2
    region, scan = nifti("region-of-first.nii.gz", values=values), nifti("scan.nii.gz", values=values)
    for n, target in enumerate((f"mean:{region}#1", f"contrast:{region}#1,{region}#2", f"error:{region}")):
        base = ("explain", model, scan, "--trust", "-m", "gradient", "--private", "-q", "-o", tmp_path / f"{n}")
        said = regard(*base, "-t", target)
        assert said.code == 0, said.err
        assert b"of-first" not in everything(tmp_path / f"{n}")
        assert "of-first" not in said.out


def test_a_hostile_card_runs_nothing(regard: Regard, write_model: Callable, picture: Callable, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    model = write_model("hostile", zoo=..., kwargs=..., factory="network.py:build")
    sing = f"from pathlib import Path\nPath({str(canary)!r}).mkdir()\ndef build():\n    pass\n"
    (model / "network.py").write_text(sing)
    base = ("explain", model, picture(), "-m", "gradient", "-o", tmp_path / "run")
    assert regard(*base).refused("--trust")
    assert not canary.exists()
    assert not (tmp_path / "run").exists()
    (tmp_path / "outside.py").write_text(sing)
    climbing = write_model("climbing", zoo=..., kwargs=..., factory="../outside.py:build")
    assert regard("explain", climbing, *base[2:], "--trust").refused("outside")
    assert not canary.exists()
    assert regard(*base, "--trust").code in (1, 2)
    assert canary.exists()  # the canary does sing: without --trust it was the refusal that kept it quiet


class _Tags(HTMLParser):
    """Images and handlers of events in a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list) -> None:
        self.found += [f"{tag}.{name}" for name, value in attributes if name.startswith("on") or value == "x"]


@pytest.mark.parametrize(
    "name",
    [
        "<img src=x onerror=alert(1)>.png",
        "Żółć żaba 腦.png",
        "-rf.png",
        "..hidden.png",
        "a'b\"c&d;$(touch x).png",
        "#1, =2:3.png",
        "% {} %s.png",
    ],
)
def test_names_of_files(
    regard: Regard, model: Path, picture: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    picture(name)
    monkeypatch.chdir(tmp_path)
    said = regard("explain", "-m", "gradient", "-o", "run", "--json", "--", "model", name)
    assert said.code == 0, said.err
    out = tmp_path / "run"
    (row,) = said.json["maps"]
    assert row["case"] == name.removesuffix(".png")
    files = [p.name for p in (out / "maps").iterdir()]
    assert len(files) == 4
    for file in files:
        assert file.isascii()
        assert not set(file) & set("<>\"'&;$ /\\#=:()")
        assert not file.startswith((".", "/"))
    page = _Tags()
    page.feed((out / "report.html").read_text())
    assert page.found == []
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["model", "run", name])
    assert regard("explain", "-m", "gradient", "-o", "run", "--", "model", name).code == 0
