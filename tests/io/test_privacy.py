"""A header full of identifiers: nothing of them is in any byte that is written."""

import gzip
from pathlib import Path

import numpy as np
import pydicom
import pytest
from file_samples import WriteSeries, explanation_of
from pydicom.datadict import dictionary_VR, keyword_dict
from pydicom.dataset import FileDataset

import regard
from regard.core.errors import FileError, InputError
from regard.io.maps import save_map
from regard.io.parametric_map import save_parametric_map
from regard.io.privacy import ALLOWED, allowed_header, hide_paths, hide_uids
from regard.io.run_folder import RunFolder
from regard.io.tables import Case

NAME = "ZZIDENTZZ"
BY_VR = {
    **dict.fromkeys(["LO", "LT", "SH", "ST", "UC", "UT", "PN", "CS", "AE", "UR"], NAME),
    "DA": "19470817",
    "TM": "091847",
    "DT": "19470817091847",
    "AS": "073Y",
    "UI": "1.2.840.99887766.5.4.3.2.1",
}
FOUND = [NAME, "19470817", "091847", "99887766", "073Y"]
KEEP = {"Modality", "SOPClassUID", "PhotometricInterpretation", "SpecificCharacterSet"}


def fill(_: int, dataset: FileDataset) -> None:
    """Put an identifier in every text field of the dictionary."""
    for keyword in keyword_dict:
        vr = dictionary_VR(keyword)
        if vr in BY_VR and keyword not in KEEP and pydicom.datadict.tag_for_keyword(keyword) > 0x00080000:
            setattr(dataset, keyword, BY_VR[vr])
    # Sequences hold identifiers as well.
    item = pydicom.Dataset()
    item.PatientName = NAME
    dataset.OtherPatientIDsSequence = pydicom.Sequence([item])


@pytest.fixture
def identified(write_series: WriteSeries) -> Path:
    stored = np.random.default_rng(0).integers(0, 2000, (3, 6, 5)).astype(np.uint16)
    paths = write_series(stored, change=fill)
    assert NAME in str(pydicom.dcmread(paths[0]).ConvolutionKernel)
    return paths[0].parent


def test_nothing_of_the_header_is_in_any_output(
    identified: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="regard")
    scan = regard.read(identified)
    assert dict(scan.header) == {"Modality": "CT", "SliceThickness": "2"}
    explanation = explanation_of(scan, standard_error=scan.with_tensor(scan.tensor.abs()), case="case-0001")
    case = Case("case-0001", {"image": identified})
    with RunFolder(tmp_path / "run", "explain", {"seed": 0}, argv=["regard"], cases=[case]) as run:
        save_map(explanation, run.map_path("case-0001", "ig"))
        header = pydicom.dcmread(next(identified.iterdir()))
        run.add_failure("case-0001", "read", FileError(f"series {header.SeriesInstanceUID}", "another"))
        try:
            raise ValueError(str(header))
        except ValueError as error:
            run.add_failure("case-0001", "explain", error)
    written = [p for p in (tmp_path / "run").rglob("*") if p.is_file()]
    assert len(written) >= 7
    for path in written:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
        for word in FOUND:
            assert word.encode() not in content, (path.name, word)
    for word in FOUND:
        assert word not in caplog.text


def test_the_parametric_map_keeps_only_what_the_standard_requires(identified: Path, tmp_path: Path) -> None:
    explanation = explanation_of(regard.read(identified))
    with pytest.raises(InputError, match="private run"):
        save_parametric_map(explanation, identified, tmp_path / "x.dcm", private=True)
    assert not (tmp_path / "x.dcm").exists()


def test_a_value_leaves_only_in_its_fields_own_form() -> None:
    assert allowed_header(dict.fromkeys(ALLOWED, "DOE^JANE")) == {}
    assert allowed_header(dict.fromkeys(ALLOWED, "4711123456")) == {}
    good = {"Modality": "CT", "KVP": "120.0", "ConvolutionKernel": ["Br38f", "3"], "BodyPartExamined": "CHEST"}
    assert allowed_header(good) == {
        "Modality": "CT",
        "BodyPartExamined": "CHEST",
        "ConvolutionKernel": "Br38f",
        "KVP": "120",
    }
    assert allowed_header({"KVP": "nan", "EchoTime": "-3", "PatientName": "DOE", "SliceThickness": None}) == {}


def test_texts_lose_identifiers() -> None:
    assert hide_uids("series 1.2.840.113619.2.55.3 at 3.5.1 mm") == "series <uid> at 3.5.1 mm"
    assert hide_paths("mean:/data/DOE/mask.nii.gz#LIVER") == "mean:<path>#LIVER"
    assert hide_paths("occlusion:window=12,stride=3@fine") == "occlusion:window=12,stride=3@fine"


def test_a_private_run_holds_no_path(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="regard")
    image = tmp_path / "DOE_JANE.nii.gz"
    image.write_bytes(b"x")
    case = Case("case-0001", {"image": image})
    config = {"model": str(tmp_path / "DOE_model"), "case_ids": ["case-0001"], "target": f"mean:{image}#A", "seed": 1}
    argv = ["regard", "explain", str(image), "-o", str(tmp_path / "run")]
    with RunFolder(tmp_path / "run", "explain", config, argv=argv, cases=[case], private=True) as run:
        import logging

        logging.getLogger("regard.somewhere").warning("could not read '%s'", image)
        run.add_failure("case-0001", "read", FileError(f"'{image}' is truncated", "a whole file"))
    assert not (tmp_path / "run" / "inputs.tsv").exists()
    for path in (tmp_path / "run").rglob("*"):
        if path.is_file():
            assert b"DOE" not in path.read_bytes(), path.name
            assert str(tmp_path).encode() not in path.read_bytes(), path.name
    assert "could not read '<case-0001>'" in (tmp_path / "run" / "run.log").read_text()
    other = {**config, "contents": {"card": "another"}}
    with pytest.raises(InputError, match="another configuration"):
        RunFolder(tmp_path / "run", "explain", other, private=True)
