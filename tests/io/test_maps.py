import gzip
import json
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from file_samples import AFFINES, explanation_of

from regard.core.errors import CardError, FileError
from regard.core.quantity import Quantity
from regard.core.volume import PIXEL_AFFINE, Volume
from regard.io.maps import nifti_bytes, read_map, save_map, set_verdict
from regard.io.names import check_labels, map_stem, safe_name

SHEARED = np.eye(4)
SHEARED[1, 2] = 0.3


def scan_on(affine: np.ndarray, shape: tuple[int, int, int] = (4, 5, 6)) -> Volume:
    return Volume(torch.rand(1, *shape, generator=torch.Generator().manual_seed(1)), affine, "HU")


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
def test_a_map_has_the_scans_shape_and_affine_in_both_forms(affine: np.ndarray, tmp_path: Path) -> None:
    scan = scan_on(affine)
    explanation = explanation_of(scan)
    save_map(explanation, tmp_path / "a_relevance.nii.gz")
    image = nibabel.load(tmp_path / "a_relevance.nii.gz")
    assert image.shape == scan.shape
    assert np.allclose(image.affine, affine, atol=1e-5)
    for form in (image.get_sform(coded=True), image.get_qform(coded=True)):
        assert form[1] == 1
        assert np.allclose(form[0], affine, atol=1e-4)
    header = image.header
    assert image.get_data_dtype() == np.float32
    assert header.get_xyzt_units()[0] == "mm"
    assert header.get_slope_inter() in ((None, None), (1.0, 0.0))
    assert bytes(header["descrip"]).rstrip(b"\0") == b"regard contribution"
    assert np.array_equal(image.get_fdata(dtype=np.float32), explanation.numpy())


def test_a_shear_goes_into_the_sform_and_the_qform_stacks_at_right_angles(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_map(explanation_of(scan_on(SHEARED)), tmp_path / "a_relevance.nii.gz")
    assert "a shear (a tilted gantry), which a qform cannot hold" in caplog.text
    header = nibabel.load(tmp_path / "a_relevance.nii.gz").header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 1)
    straight = header.get_qform()
    assert np.allclose(straight[:3, [0, 1, 3]], SHEARED[:3, [0, 1, 3]], atol=1e-5)
    assert np.allclose(np.linalg.norm(straight, axis=0), np.linalg.norm(SHEARED, axis=0), atol=1e-5)
    assert np.allclose(straight[:3, 2] @ straight[:3, :2], 0, atol=1e-5)
    assert straight[:3, 2] @ SHEARED[:3, 2] > 0
    assert np.allclose(nibabel.load(tmp_path / "a_relevance.nii.gz").affine, SHEARED)


def test_a_picture_is_one_slice_thick_in_pixels(tmp_path: Path) -> None:
    picture = Volume.from_array(np.arange(12.0).reshape(3, 4))
    save_map(explanation_of(picture), tmp_path / "a_relevance.nii.gz")
    image = nibabel.load(tmp_path / "a_relevance.nii.gz")
    assert image.shape == (4, 3, 1)
    assert np.array_equal(image.affine, PIXEL_AFFINE)
    assert not read_map(tmp_path / "a_relevance.json").relevance.has_geometry


def test_nan_survives_and_equal_maps_are_equal_files(tmp_path: Path) -> None:
    scan = scan_on(AFFINES["oblique"])
    values = torch.randn(1, *scan.shape)
    values[0, 1, 2, 3] = torch.nan
    for name in ("a", "b"):
        save_map(explanation_of(scan, values), tmp_path / f"{name}_relevance.nii.gz")
    assert (tmp_path / "a_relevance.nii.gz").read_bytes() == (tmp_path / "b_relevance.nii.gz").read_bytes()
    back = read_map(tmp_path / "a_relevance.nii.gz").relevance.tensor
    assert torch.equal(torch.isnan(back), torch.isnan(values))
    assert torch.equal(torch.nan_to_num(back), torch.nan_to_num(values))


def test_the_sidecar_has_the_contracts_keys_in_its_order(tmp_path: Path) -> None:
    explanation = explanation_of(
        scan_on(AFFINES["RAS"]),
        completeness_error=float("nan"),
        notes={"r2": np.float32(0.5), "curve": np.array([1.0, np.inf])},
        warnings=("look twice",),
        knobs={"window": (3, 4), "fill": float("inf"), "layer": Path("a")},
    )
    save_map(explanation, tmp_path / "a_relevance.nii.gz")
    text = (tmp_path / "a_relevance.json").read_text()
    said = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} in JSON"))
    wanted = [
        "schema",
        "case",
        "method",
        "knobs",
        "form",
        "quantity",
        "unit",
        "sign",
        "target",
        "layer",
        "prediction",
        "reference",
        "completeness_error",
        "outside",
        "seed",
        "batch_size",
        "threads",
        "device",
        "versions",
        "weights_sha256",
        "inputs_sha256",
        "verdict",
    ]
    assert list(said)[: len(wanted)] == wanted
    assert said["schema"] == "regard.explanation/1"
    assert said["completeness_error"] is None
    assert said["weights_sha256"] is None
    assert said["verdict"] is None
    assert said["knobs"] == {"window": [3, 4], "fill": None, "layer": "a"}
    assert said["notes"] == {"r2": 0.5, "curve": [1.0, None]}
    assert (said["seed"], said["prediction"], said["output_unit"]) == (3, 61.25, "years")
    assert said["quantity"] == "contribution"


def test_a_map_comes_back_as_the_explanation_it_was(tmp_path: Path) -> None:
    scan = scan_on(AFFINES["flipped"])
    extra = {name: scan.with_tensor(torch.rand(1, *scan.shape)) for name in ("standard_error", "spread", "agreement")}
    explanation = explanation_of(
        scan, reference={"label": "another scan", "value": 55.0}, outside=0.25, input="t1", layer="layer4", **extra
    )
    save_map(explanation, tmp_path / "a_relevance.nii.gz")
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "a_agreement.nii.gz", "a_relevance.json", "a_relevance.nii.gz", "a_se.nii.gz", "a_spread.nii.gz"
    ]  # fmt: skip
    stored = read_map(tmp_path / "a_relevance")
    back = stored.explanation(scan)
    for name in ("case", "method", "quantity", "sign", "unit", "prediction", "target", "reference", "outside", "input"):
        assert getattr(back, name) == getattr(explanation, name), name
    assert back.layer == "layer4"
    assert dict(back.made) == dict(explanation.made)
    assert torch.equal(back.relevance.tensor, explanation.relevance.tensor)
    for name, volume in extra.items():
        assert torch.equal(getattr(back, name).tensor, volume.tensor), name
    with pytest.raises(FileError, match="the scan that was explained"):
        stored.explanation(scan_on(AFFINES["RAS"]))


def test_explanations_save_themselves(tmp_path: Path) -> None:
    explanation_of(scan_on(AFFINES["RAS"])).save(str(tmp_path / "x_relevance.nii.gz"))
    assert read_map(tmp_path / "x_relevance.json").sidecar["case"] == "sub-01"


def test_a_verdict_changes_nothing_else(tmp_path: Path) -> None:
    save_map(explanation_of(scan_on(AFFINES["RAS"])), tmp_path / "a_relevance.nii.gz")
    before = json.loads((tmp_path / "a_relevance.json").read_text())
    set_verdict(tmp_path / "a_relevance.json", "not supported")
    after = json.loads((tmp_path / "a_relevance.json").read_text())
    assert {**before, "verdict": "not supported"} == after
    assert list(before) == list(after)
    with pytest.raises(CardError, match="the verdict 'true'"):
        set_verdict(tmp_path / "a_relevance.json", "true")


def test_a_map_whose_files_are_gone_or_old(tmp_path: Path) -> None:
    explanation = explanation_of(scan_on(AFFINES["RAS"]))
    save_map(explanation, tmp_path / "a_relevance.nii.gz")
    said = json.loads((tmp_path / "a_relevance.json").read_text())
    (tmp_path / "a_relevance.json").write_text(json.dumps({k: v for k, v in said.items() if k != "sign"}))
    with pytest.raises(CardError, match="without sign"):
        read_map(tmp_path / "a_relevance.json")
    (tmp_path / "a_relevance.json").write_text(json.dumps({**said, "schema": "regard.explanation/2"}))
    with pytest.raises(CardError, match="of a newer Regard"):
        read_map(tmp_path / "a_relevance.json")
    (tmp_path / "a_relevance.json").write_text(json.dumps(said))
    (tmp_path / "a_relevance.nii.gz").unlink()
    with pytest.raises(FileError, match="no map"):
        read_map(tmp_path / "a_relevance.json")
    with pytest.raises(FileError, match="ends in .nii.gz"):
        save_map(explanation, tmp_path / "a.png")


def test_an_older_sidecar_without_the_later_keys_is_read(tmp_path: Path) -> None:
    scan = scan_on(AFFINES["RAS"])
    save_map(explanation_of(scan), tmp_path / "a_relevance.nii.gz")
    said = json.loads((tmp_path / "a_relevance.json").read_text())
    for key in ("label", "input", "output_unit", "has_geometry", "notes", "warnings", "scan_header"):
        said.pop(key)
    (tmp_path / "a_relevance.json").write_text(json.dumps(said))
    assert read_map(tmp_path / "a_relevance.json").explanation(scan).quantity is Quantity.CONTRIBUTION


def test_plain_nifti_and_several_channels() -> None:
    volume = replace(scan_on(AFFINES["RAS"]), tensor=torch.rand(3, 4, 5, 6))
    image = nibabel.Nifti1Image.from_bytes(nifti_bytes(volume, "x" * 200, packed=False))
    assert image.shape == (4, 5, 6, 3)
    assert gzip.decompress(nifti_bytes(volume, "x")) == nifti_bytes(volume, "x", packed=False)


def test_names_are_safe_and_stay_different() -> None:
    assert map_stem("sub-01", "grad-ram") == "sub-01_desc-gradram_relevance"
    assert map_stem("sub-01", "occlusion@fine", "t1w") == "sub-01_input-t1w_desc-occlusionfine_relevance"
    nasty = ["../../etc/passwd", "..", ".hidden", "a/b", "a\\b", "<script>alert(1)</script>", "a b", "a%20b", "a:b",
             "Müller", 'x"onload="y', "new\nline", "a~b", "a%7Eb", "x" * 300, "x" * 299 + "y"]  # fmt: skip
    names = [safe_name(n) for n in nasty]
    assert len(set(names)) == len(nasty)
    for name in names:
        assert not set(name) & set("/\\<>\"' :\n&~")
        assert ".." not in name
        assert not name.startswith(".")
        assert len(name) <= 120
    with pytest.raises(CardError, match="empty case id"):
        safe_name(" ")


def test_labels_that_would_share_a_file_are_refused() -> None:
    check_labels(["grad-ram", "grad-cam", "occlusion"])
    with pytest.raises(CardError, match="'grad-ram' and 'gradram', which both become desc-gradram"):
        check_labels(["grad-ram", "occlusion", "gradram"])
    with pytest.raises(CardError, match="at least one letter or digit"):
        check_labels(["--"])
