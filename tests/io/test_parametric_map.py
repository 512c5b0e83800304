from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from file_samples import WriteSeries, assert_same_world, explanation_of, rotation
from pydicom.dataset import FileDataset

import regard
from regard.core.errors import FileError, GeometryError
from regard.core.volume import Volume
from regard.io.parametric_map import save_parametric_map

highdicom = pytest.importorskip("highdicom", reason="the extra 'dicom' is not installed")


@pytest.mark.parametrize("directions", [np.eye(3), rotation(25, -10, 35)], ids=["axial", "oblique"])
@pytest.mark.parametrize("step", [2.5, -2.5])
def test_what_highdicom_reads_back_lies_where_the_map_does(
    directions: np.ndarray, step: float, write_series: WriteSeries, tmp_path: Path
) -> None:
    write_series(np.zeros((5, 6, 7), np.uint16), directions=directions, step=step)
    scan = regard.read(tmp_path / "series")
    explanation = explanation_of(scan)
    save_parametric_map(explanation, tmp_path / "series", tmp_path / "map.dcm")
    image = highdicom.imread(tmp_path / "map.dcm")
    volume = image.get_volume()
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine
    assert_same_world(explanation.relevance, np.asarray(volume.array), affine, atol=1e-6)


def test_it_refers_to_its_source_under_new_identifiers(write_series: WriteSeries, tmp_path: Path) -> None:
    paths = write_series(np.zeros((3, 4, 5), np.uint16))
    scan = regard.read(tmp_path / "series")
    values = torch.randn(1, *scan.shape)
    values[0, 0, 0, 0] = torch.nan
    save_parametric_map(explanation_of(scan, values), tmp_path / "series", tmp_path / "map.dcm")
    made, source = pydicom.dcmread(tmp_path / "map.dcm"), pydicom.dcmread(paths[0])
    for keyword in ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert made[keyword].value == source[keyword].value
    assert made.SeriesInstanceUID != source.SeriesInstanceUID
    assert made.SOPInstanceUID != source.SOPInstanceUID
    assert np.isnan(np.frombuffer(made.FloatPixelData, np.float32)).sum() == 1
    mapping = made.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "a"
    assert mapping.MeasurementUnitsCodeSequence[0].CodingSchemeDesignator == "UCUM"
    assert mapping.RealWorldValueSlope == 1.0
    referred = {
        item.ReferencedSOPInstanceUID
        for frame in made.PerFrameFunctionalGroupsSequence
        for derivation in frame.DerivationImageSequence
        for item in derivation.SourceImageSequence
    }
    assert referred == {pydicom.dcmread(p).SOPInstanceUID for p in paths}


def test_a_unit_without_a_code_is_written_in_words(write_series: WriteSeries, tmp_path: Path) -> None:
    write_series(np.zeros((3, 4, 5), np.uint16))
    scan = regard.read(tmp_path / "series")
    save_parametric_map(explanation_of(scan, unit="score/HU"), tmp_path / "series", tmp_path / "map.dcm")
    made = pydicom.dcmread(tmp_path / "map.dcm")
    code = made.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0].MeasurementUnitsCodeSequence[0]
    assert (code.CodingSchemeDesignator, code.CodeMeaning) == ("99REGARD", "score/HU")


def test_another_scans_sources_are_refused(write_series: WriteSeries, tmp_path: Path) -> None:
    write_series(np.zeros((3, 4, 5), np.uint16))
    scan = Volume(torch.zeros(1, 5, 4, 2), np.eye(4))
    with pytest.raises(GeometryError, match=r"\(5, 4, 3\) for a map of \(5, 4, 2\)"):
        save_parametric_map(explanation_of(scan), tmp_path / "series", tmp_path / "map.dcm")
    assert not (tmp_path / "map.dcm").exists()


def test_a_source_whose_identity_was_taken_out(
    write_series: WriteSeries, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def anonymise(_: int, dataset: FileDataset) -> None:
        for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "PatientID"):
            setattr(dataset, keyword, "")
        del dataset.AccessionNumber

    write_series(np.zeros((3, 4, 5), np.uint16), change=anonymise)
    scan = regard.read(tmp_path / "series")
    save_parametric_map(explanation_of(scan), tmp_path / "series", tmp_path / "map.dcm")
    assert "no StudyInstanceUID" in caplog.text
    volume = highdicom.imread(tmp_path / "map.dcm").get_volume()
    assert volume.array.shape == (3, 4, 5)


def test_a_source_that_cannot_be_referred_to(write_series: WriteSeries, tmp_path: Path) -> None:
    write_series(np.zeros((3, 4, 5), np.uint16), change=lambda _, d: setattr(d, "PatientSex", "X1"))
    scan = regard.read(tmp_path / "series")
    with pytest.raises(FileError, match="cannot refer to"):
        save_parametric_map(explanation_of(scan), tmp_path / "series", tmp_path / "map.dcm")
    write_series(np.zeros((3, 4, 5), np.uint16), change=lambda _, d: delattr(d, "FrameOfReferenceUID"), folder="b")
    with pytest.raises(GeometryError, match="without FrameOfReferenceUID"):
        save_parametric_map(explanation_of(regard.read(tmp_path / "b")), tmp_path / "b", tmp_path / "map.dcm")
    assert not (tmp_path / "map.dcm").exists()
