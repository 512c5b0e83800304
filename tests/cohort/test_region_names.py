"""Names of labels from the tables of other programs: each written here as that program writes it."""

import re
from pathlib import Path

import nibabel
import numpy as np
import pytest

from regard.cohort.atlas import read_atlas
from regard.cohort.region_names import read_region_names
from regard.core.errors import CardError, FileError
from regard.core.volume import Grid

FREESURFER = """#$Id: a comment
#No. Label Name:                            R   G   B   A

0   Unknown                                 0   0   0   0
14  3rd-Ventricle                           204 182 142 0
10  Left-Thalamus                           0   118 14  0
21  Line-1                                  60  58  210 0
"""
SNAP = """################################################
# ITK-SnAP Label Description File
################################################
    0     0    0    0        0  0  0    "Clear Label"
   10   255    0    0        1  1  1    "Left Thalamus"
   14     0  255    0      0.5  1  1    "3rd ventricle"
   21     0    0  255        1  1  1    "Line 1"
"""
FSL = """<?xml version="1.0" encoding="ISO-8859-1"?>
<atlas version="1.0"><header><name>A</name><type>{kind}</type></header><data>
<!-- a comment -->
<label index="{a}" x="48" y="94" z="35">Left Thalamus</label>
<label index="{b}" x="25" y="70" z="32">Gyrus, pars opercularis &amp; more</label>
</data></atlas>
"""
AAL = """<?xml version='1.0'?><atlas><data>
<label><index>2001</index><name>Precentral_L</name></label>
<label><index>2002</index><name>Precentral_R</name></label>
</data></atlas>"""
THREE = {14: "3rd-Ventricle", 10: "Left-Thalamus", 21: "Line-1"}

WRITTEN = {
    "bids": ("index\tname\tcolor\n10\tLeft-Thalamus\t#ff0000\n14\t3rd-Ventricle\t\n21\tLine-1\t\n", THREE),
    "nilearn lut": ("index,name\n0,Background\n10,Left-Thalamus\n14,3rd-Ventricle\n21,Line-1\n", THREE),
    "centroids": ("ROI Label,ROI Name,R,A,S\n1,7Networks_LH_Vis_1,-26,-34,-16\n", {1: "7Networks_LH_Vis_1"}),
    "quoted": ('\ufeff"index","name"\n7,"left, upper"\n', {7: "left, upper"}),
    "freesurfer": (FREESURFER, THREE),
    "freesurfer, windows": (FREESURFER.replace("\n", "\r\n"), THREE),
    "itk-snap": (SNAP, {10: "Left Thalamus", 14: "3rd ventricle", 21: "Line 1"}),
    "fsl, probabilistic": (
        FSL.format(kind="Probabalistic", a=0, b=1),
        {1: "Left Thalamus", 2: "Gyrus, pars opercularis & more"},
    ),
    "fsl, labels": (FSL.format(kind="Label", a=5, b=6), {5: "Left Thalamus", 6: "Gyrus, pars opercularis & more"}),
    "aal": (AAL, {2001: "Precentral_L", 2002: "Precentral_R"}),
    "schaefer": (
        "1\t7Networks_LH_Vis_1\t120\t18\t131\t0\n2\t7Networks_LH_Vis_2\t120\t18\t132\t0\n",
        {1: "7Networks_LH_Vis_1", 2: "7Networks_LH_Vis_2"},
    ),
    "fsleyes": ("1 0.27451 0.50980 0.70588 V1 left\n2 0 1 0.5 V2\n", {1: "V1 left", 2: "V2"}),
    "workbench": ("HIP-rh\n1 171 243 85 255\nAMY-rh\n2 86 162 74 255\n", {1: "HIP-rh", 2: "AMY-rh"}),
    "tian": ("HIP-rh\nAMY-rh\npTHA-rh\n", {1: "HIP-rh", 2: "AMY-rh", 3: "pTHA-rh"}),
    "nilearn list": (
        "Background\nFrontal Pole\nGyrus, pars opercularis\n",
        {1: "Frontal Pole", 2: "Gyrus, pars opercularis"},
    ),
    "pairs": ("1 left half\n2 right half\n", {1: "left half", 2: "right half"}),
}


@pytest.mark.parametrize("kind", WRITTEN)
def test_names_as_each_program_writes_them(kind: str, tmp_path: Path) -> None:
    text, names = WRITTEN[kind]
    path = tmp_path / "names.txt"
    path.write_bytes(text.encode())
    assert read_region_names(path) == names


@pytest.mark.parametrize(
    ("text", "error", "told"),
    [
        ("label,region\n1,a\n", CardError, "the columns index and name"),
        ("index\tname\n3\ta\n3\tb\n", CardError, "label 3 twice"),
        ("index\tname\nx\ta\n", CardError, "'x' as a label"),
        ("", CardError, "without a row"),
        ("<atlas><data></data></atlas>", CardError, "without a label"),
        ("<atlas><data><label>a</label></data></atlas>", CardError, "as a label"),
        ("<atlas><data>", FileError, "XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><atlas/>', FileError, "entities"),
    ],
)
def test_what_is_no_table_of_names_is_refused(text: str, error: type[Exception], told: str, tmp_path: Path) -> None:
    path = tmp_path / "names.csv"
    path.write_text(text)
    with pytest.raises(error, match=re.escape(told)):
        read_region_names(path)


def atlas(folder: Path, labels: list[int]) -> tuple[Path, Grid]:
    values = np.zeros((len(labels), 2, 2), np.int16)
    values[:] = np.array(labels)[:, None, None]
    path = folder / "atlas.nii.gz"
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)
    return path, Grid(values.shape, np.eye(4))


def test_names_without_numbers_are_not_given_to_an_atlas_that_leaves_numbers_out(tmp_path: Path) -> None:
    table = tmp_path / "label.txt"
    table.write_text("a\nb\nc\n")
    path, grid = atlas(tmp_path, [1, 2, 3])
    assert read_atlas(path, grid, table=table).names == {1: "a", 2: "b", 3: "c"}
    path, grid = atlas(tmp_path, [10, 11, 49])
    with pytest.raises(CardError, match="labels up to 49"):
        read_atlas(path, grid, table=table)


def test_the_table_of_another_atlas_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "lut.txt"
    table.write_text(FREESURFER)
    path, grid = atlas(tmp_path, [1, 2, 3])
    with pytest.raises(CardError, match="none of the atlas's"):
        read_atlas(path, grid, table=table)
    path, grid = atlas(tmp_path, [0, 10, 14])
    assert read_atlas(path, grid, table=table).names == {10: "Left-Thalamus", 14: "3rd-Ventricle"}
