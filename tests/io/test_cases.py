from pathlib import Path

import numpy as np
import pytest
from file_samples import WriteSeries
from PIL import Image

from regard.core.errors import CardError, FileError
from regard.io.tables import find_cases, is_table, read_table


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("images/a.nii.gz", "images/b.nii.gz", "images/a_t2.nii.gz", "truth.nii.gz"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


def table(folder: Path, text: str, name: str = "cases.tsv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (3, 2)).save(path)
    return path


def test_a_table_gives_cases_with_paths_relative_to_it(folder: Path) -> None:
    path = table(
        folder, "case\timage\tlabel\tpatient\ttruth\ns1\timages/a.nii.gz\t61.5\tp1\ttruth.nii.gz\n"
        "s2\timages/b.nii.gz\t\tn/a\t\n"
    )  # fmt: skip
    first, second = read_table(path)
    assert (first.case, dict(first.inputs)) == ("s1", {"image": folder / "images/a.nii.gz"})
    assert dict(first.columns) == {"label": "61.5", "patient": "p1", "truth": "truth.nii.gz"}
    assert (first.patient, second.patient) == ("p1", "s2")
    assert first.number("label") == 61.5
    assert first.file("truth") == folder / "truth.nii.gz"
    assert second.file("truth") is None
    with pytest.raises(CardError, match="'nothing' in column 'label' of case 's2'"):
        second.number("label")


def test_commas_quotes_and_a_byte_order_mark(folder: Path) -> None:
    (folder / "cases.csv").write_bytes(b'\xef\xbb\xbfcase,image,note\r\n"s,1",images/a.nii.gz,"two\nlines"\r\n')
    (case,) = read_table(folder / "cases.csv")
    assert case.case == "s,1"
    assert case.columns["note"] == "two\nlines"
    assert is_table(folder / "cases.csv")
    assert not is_table("scan.nii.gz")


def test_several_inputs_of_a_case(folder: Path) -> None:
    path = table(folder, "case\timage_t1\timage_t2\ns1\timages/a.nii.gz\timages/a_t2.nii.gz\n")
    (case,) = read_table(path)
    assert {k: p.name for k, p in case.inputs.items()} == {"t1": "a.nii.gz", "t2": "a_t2.nii.gz"}


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", CardError, "without a case"),
        ("case\timage\n", CardError, "without a case"),
        ("id\timage\ns1\timages/a.nii.gz\n", CardError, "without the column case; it has id, image"),
        ("case\tfile\ns1\timages/a.nii.gz\n", CardError, r"without the column image \(or image_<input>\)"),
        ("case,image\ns1,images/a.nii.gz\n", CardError, "without the column case and image.*separated by tabs"),
        ("case\timage\timage_t2\ns1\tx\ty\n", CardError, "the columns image and image_t2"),
        ("case\timage\timage\ns1\tx\ty\n", CardError, "the column image twice"),
        ("case\timage\ns1\timages/a.nii.gz\n\n \t \ns1\timages/b.nii.gz\n", CardError, "'s1' in rows 2 and 5"),
        ("case\timage\n\timages/a.nii.gz\n", CardError, "no case id in row 2"),
        ("case\timage\ns1\t\n", CardError, "no file in column 'image', row 2"),
        ("case\timage\ns1\tgone.nii.gz\n", FileError, r"no file '.*gone\.nii\.gz' \(column 'image', row 2 of"),
        ("case\timage\ns1\timages/a.nii.gz\textra\n", CardError, "3 cells in row 2"),
    ],
)
def test_a_wrong_table_names_the_column_or_the_row(
    text: str, error: type[Exception], message: str, folder: Path
) -> None:
    with pytest.raises(error, match=message):
        read_table(table(folder, text))


def test_a_table_that_is_none(folder: Path) -> None:
    with pytest.raises(FileError, match="no table"):
        read_table(folder / "gone.tsv")
    (folder / "binary.tsv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(FileError, match="not a readable table"):
        read_table(folder / "binary.tsv")


def test_a_column_of_files_that_are_gone(folder: Path) -> None:
    (case,) = read_table(table(folder, "case\timage\ttruth\ns1\timages/a.nii.gz\tgone.nii.gz\n"))
    with pytest.raises(FileError, match=r"gone\.nii\.gz' \(case 's1', column 'truth'\)"):
        case.file("truth")


def test_ids_come_from_stems_and_dicom_is_numbered(tmp_path: Path, write_series: WriteSeries) -> None:
    series = write_series(np.zeros((2, 3, 4), np.uint16))
    write_series(np.zeros((1, 3, 4), np.uint16), folder="second", names="scan".format)
    picture(tmp_path / "knee.v2.png")
    picture(tmp_path / "images" / "a.nii.png")
    listing = table(tmp_path, "case\timage\ncase-0002\timages/a.nii.png\n")
    cases = find_cases(
        [tmp_path / "series", tmp_path / "knee.v2.png", listing, tmp_path / "second" / "scan", series[0]]
    )
    assert [c.case for c in cases] == ["case-0001", "knee.v2", "case-0002", "case-0003", "case-0004"]
    assert cases[0].inputs["image"] == tmp_path / "series"


def test_files_of_one_name_take_their_folders(tmp_path: Path) -> None:
    first, second = picture(tmp_path / "sub-01" / "T1.png"), picture(tmp_path / "sub-02" / "T1.png")
    assert [c.case for c in find_cases([first, second])] == ["sub-01_T1", "sub-02_T1"]
    with pytest.raises(CardError, match="several files that would be the case 'sub-01_T1'"):
        find_cases([first, first])
    deep = picture(tmp_path / "x" / "sub-01" / "T1.png")
    with pytest.raises(CardError, match="name the cases in a table"):
        find_cases([first, deep])


def test_one_id_in_a_table_and_a_file(tmp_path: Path) -> None:
    image = picture(tmp_path / "a.png")
    with pytest.raises(CardError, match="several cases called 'a'"):
        find_cases([image, table(tmp_path, "case\timage\na\ta.png\n")])


def test_further_inputs(tmp_path: Path) -> None:
    first, second = picture(tmp_path / "a.png"), picture(tmp_path / "b.png")
    (case,) = find_cases([first], {"mask": second})
    assert dict(case.inputs) == {"image": first, "mask": second}
    with pytest.raises(FileError, match="for each --input"):
        find_cases([first], {"mask": tmp_path / "gone.png"})
    with pytest.raises(CardError, match=r"further inputs \(mask\) for 2 cases"):
        find_cases([first, second], {"mask": second})


def test_no_case_and_no_file(tmp_path: Path) -> None:
    with pytest.raises(CardError, match="no case"):
        find_cases([])
    with pytest.raises(FileError, match="no file"):
        find_cases([tmp_path / "gone.png"])
