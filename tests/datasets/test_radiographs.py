"""Radiographs by the documented names, with one defect of each kind."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regard.core.errors import CardError, FileError
from regard.datasets.radiographs import read_layout, read_montgomery, read_nih, read_shenzhen, read_tbx11k


def save(path: Path, size: tuple[int, int] = (32, 24)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(size[::-1], len(path.name), dtype=np.uint8)).save(path)
    return path


def test_jsrt_pairs_each_radiograph_with_its_twin(tmp_path: Path) -> None:
    for n in range(1, 9):
        save(tmp_path / "JSRT" / f"JPCLN{n:03}.png")
        save(tmp_path / "BSE_JSRT" / f"JPCLN{n:03}.png")
    for n in range(1, 6):
        save(tmp_path / "JSRT" / f"JPCNN{n:03}.png")
        if n != 2:
            save(tmp_path / "BSE_JSRT" / f"JPCNN{n:03}.png", (16, 24) if n == 3 else (32, 24))
    (tmp_path / "JSRT" / "JPCNN004.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    found = read_layout(tmp_path)
    assert found.name == "jsrt"
    assert [c.case for c in found.cases] == [*(f"JPCLN{n:03}" for n in range(1, 9)), "JPCNN001", "JPCNN005"]
    assert {k: type(v) for k, v in found.failures.items()} == dict.fromkeys(
        ["JPCNN002", "JPCNN003", "JPCNN004"], FileError
    )
    assert "no twin of 'JPCNN002'" in str(found.failures["JPCNN002"])
    assert "32 x 24 and 16 x 24 pixels" in str(found.failures["JPCNN003"])
    for case in found.cases:
        assert case.twin is not None and case.twin.name == case.image.name and case.twin != case.image
        assert case.columns["nodule"] == str(int("LN" in case.case))


@pytest.mark.parametrize(
    ("reader", "stem", "text", "said"),
    [
        (read_shenzhen, "CHNCXR", "male 45yrs\nnormal", {"age": "45", "sex": "M", "findings": "normal"}),
        (
            read_montgomery,
            "MCUCXR",
            "Patient's Sex: F\nPatient's Age: 027Y\nimproved cavity\n",
            {"age": "27", "sex": "F", "findings": "improved cavity"},
        ),
    ],
)
def test_the_last_number_of_the_name_is_the_label(tmp_path: Path, reader, stem, text, said) -> None:
    for n in range(1, 13):
        save(tmp_path / "CXR_png" / f"{stem}_{n:04}_{n % 2}.png")
    save(tmp_path / "ManualMask" / "leftMask" / f"{stem}_0001_1.png")
    save(tmp_path / "CXR_png" / f"{stem}_0003_0.png")  # the same patient, told to be well
    (tmp_path / "ClinicalReadings").mkdir()
    (tmp_path / "ClinicalReadings" / f"{stem}_0002_0.txt").write_text(text)
    found = reader(tmp_path)
    assert len(found.cases) == 12
    assert all(c.label == int(c.case[-1]) and c.patient == c.case[:-2] for c in found.cases)
    assert dict(next(c for c in found.cases if c.case == f"{stem}_0002_0").columns) == said
    (reason,) = found.failures.values()
    assert isinstance(reason, CardError) and "both with and without" in str(reason)
    with pytest.raises(FileError, match="no radiograph"):
        reader(tmp_path / "ClinicalReadings")


def nih(
    folder: Path,
    columns: str = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position",
) -> None:
    rows = [columns]
    for n in range(12):
        name = f"{n:08}_000.png"
        rows.append(
            f"{name},{'No Finding' if n % 2 else 'Mass|Nodule'},0,{n // 2},{40 + n:03}Y,F,{'AP' if n % 3 else 'PA'}"
        )
        if n != 11:
            save(folder / "images_001" / "images" / name, (512, 256))
    (folder / "Data_Entry_2017.csv").write_text("\n".join(rows))
    (folder / "BBox_List_2017.csv").write_text(
        "Image Index,Finding Label,Bbox [x,y,w,h],,,\n00000000_000.png,Mass,100,200,50,400,,,\n"
    )


def test_boxes_of_nih_come_in_pixels_of_the_image_that_is_there(tmp_path: Path) -> None:
    nih(tmp_path)
    found = read_nih(tmp_path)
    assert len(found.cases) == 11  # the image of the last row is in another part
    first = found.cases[0]
    assert (first.patient, first.label) == ("0", 1)
    assert dict(first.columns) == {"age": "40", "sex": "F", "view": "PA", "findings": "Mass|Nodule"}
    (box,) = first.boxes
    assert (box.x, box.y, box.w, box.h, box.finding) == (50, 50, 25, 100, "Mass")
    nih(tmp_path, "Image Index,Labels")
    with pytest.raises(CardError, match="without the column Finding Labels"):
        read_nih(tmp_path)


def test_tbx11k_has_three_groups_and_boxes(tmp_path: Path) -> None:
    for group, letter in (("health", "h"), ("sick", "s"), ("tb", "tb")):
        for n in range(4):
            save(tmp_path / "imgs" / group / f"{letter}{n:04}.png", (256, 256))
    said = {
        "images": [{"id": 7, "file_name": "tb/tb0002.png"}],
        "categories": [{"id": 1, "name": "ActiveTuberculosis"}],
        "annotations": [{"image_id": 7, "category_id": 1, "bbox": [10, 20, 100, 200]}],
    }
    (tmp_path / "annotations" / "json").mkdir(parents=True)
    for name in ("all_train.json", "all_trainval.json"):  # the same box in both lists
        (tmp_path / "annotations" / "json" / name).write_text(json.dumps(said))
    found = read_tbx11k(tmp_path)
    assert [c.label for c in found.cases] == [0] * 8 + [1] * 4
    (box,) = next(c for c in found.cases if c.case == "tb0002").boxes
    assert (box.x, box.y, box.w, box.h, box.finding) == (5, 10, 50, 100, "ActiveTuberculosis")
    (tmp_path / "annotations" / "json" / "broken.json").write_text("{")
    with pytest.raises(FileError, match=r"broken\.json"):
        read_tbx11k(tmp_path)


def test_an_unknown_layout_names_the_known_ones(tmp_path: Path) -> None:
    save(tmp_path / "someone.png")
    with pytest.raises(FileError, match="jsrt, shenzhen, montgomery, nih, tbx11k"):
        read_layout(tmp_path)
    with pytest.raises(FileError, match="no folder"):
        read_layout(tmp_path / "none")
