"""What ``regard weigh`` judges: the method's own map, on the network's grid, with what it was counted from."""

import json
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from command_line import Regard

import regard as package
from regard.core.explainer import Attribution
from regard.core.explanation import NetworkMap
from regard.evidence.stored import open_case
from regard.explainers.spec import parse_methods
from regard.io import read, read_map
from regard.models import load_model
from regard.models.case import prepare_case

METHODS = ["integrated-gradients", "occlusion", "lime", "gradient", "grad-ram", "lam"]


@pytest.fixture
def run(regard: Regard, model: Path, picture: Callable, tmp_path: Path) -> Path:
    """A run whose scan is finer than the network's grid, along axes of other order."""
    out = tmp_path / "run"
    asked = [part for m in METHODS for part in ("-m", m)]
    said = regard("explain", model, picture(shape=(37, 29)), *asked, "-o", out, "-q")
    assert said.code == 0, said.err
    return out


def exhibit(model: Path, folder: Path, scan: Path, method: str):
    (spec,) = parse_methods([method])
    stored = read_map(folder / "maps" / f"scan_desc-{method.replace('-', '')}_relevance.json")
    opened = open_case(load_model(model), {"image": read(scan)}, case="scan")
    return opened.exhibit(stored, spec)


@pytest.mark.parametrize("method", METHODS)
def test_the_map_that_is_weighed_is_the_one_that_the_method_made(
    model: Path, run: Path, tmp_path: Path, method: str
) -> None:
    """Carried home and back it would be smoothed."""
    loaded = load_model(model)
    prepared = prepare_case(loaded, {"image": read(tmp_path / "scan.png")})
    (spec,) = parse_methods([method])
    x = prepared.inputs.tensors[0]
    made = spec.build(loaded.network, layer=loaded.card.layer).compute(x, case="scan")
    shown, notes = exhibit(model, run, tmp_path / "scan.png", method)
    assert notes == []
    torch.testing.assert_close(shown.relevance, made.relevance[0].sum(1, keepdim=True), rtol=1e-5, atol=1e-9)
    expected = {
        "integrated-gradients": x.amin().expand_as(x),
        "lam": package.core.spatial.blur(x.double(), 4.0).float() if method == "lam" else None,
    }.get(method)
    if expected is not None:
        torch.testing.assert_close(shown.reference, expected)
    takes = method not in ("gradient", "grad-ram")
    assert (shown.reference is not None) == takes
    if method == "occlusion":
        assert shown.parts is not None
        # Windows of an eighth of 16 voxels.
        assert int(shown.parts.max()) + 1 == 64
    if method == "lime":
        torch.testing.assert_close(shown.reference, x.mean().expand_as(x))
        assert made.parts is not None
        assert torch.equal(shown.parts, made.parts[0][0])


def test_a_reference_that_was_given_is_found_again_and_not_written(
    regard: Regard, model: Path, picture: Callable, tmp_path: Path
) -> None:
    """It may be another patient's scan."""
    scan, other, out = picture(), picture("other.png", seed=4), tmp_path / "compared"
    asked = ["-m", "integrated-gradients", "-m", "occlusion", "--reference", other]
    said = regard("explain", model, scan, *asked, "-o", out, "-q")
    assert said.code == 0, said.err
    assert not list((out / "maps").glob("*_reference*"))
    for method in ("integrated-gradients", "occlusion"):
        (spec,) = parse_methods([method])
        stored = read_map(out / "maps" / f"scan_desc-{method.replace('-', '')}_relevance.json")
        opened = open_case(load_model(model), {"image": read(scan)}, reference=read(other), case="scan")
        shown, _ = opened.exhibit(stored, spec)
        assert opened.reference is not None
        torch.testing.assert_close(shown.reference, opened.reference.tensors[0])


def test_a_run_of_an_earlier_version_is_carried_back_and_says_so(
    regard: Regard, model: Path, run: Path, tmp_path: Path
) -> None:
    own, _ = exhibit(model, run, tmp_path / "scan.png", "integrated-gradients")
    for path in (run / "maps").glob("*_space-network_*"):
        path.unlink()
    for path in (run / "maps").glob("*_relevance.json"):
        sidecar = json.loads(path.read_text())
        del sidecar["files_sha256"]
        path.write_text(json.dumps(sidecar))
    carried, notes = exhibit(model, run, tmp_path / "scan.png", "integrated-gradients")
    assert any("carried back" in note for note in notes)
    assert not torch.allclose(carried.relevance, own.relevance, rtol=0.05)
    # What it was counted from follows from the method.
    torch.testing.assert_close(carried.reference, own.reference)
    said = regard("weigh", run, "--quick", "--n-null", 9, "-q")
    assert said.code == 0, said.err
    verdicts = json.loads((run / "evidence.json").read_text())["verdicts"]
    assert all(any("carried back" in n for n in v["notes"]) for v in verdicts.values())


def test_a_mask_holds_for_what_is_weighed(regard: Regard, model: Path, picture: Callable, tmp_path: Path) -> None:
    scan = picture(shape=(16, 16))
    inside = np.zeros((16, 16, 1), dtype=np.float32)
    inside[4:9, 5:12] = 1
    nibabel.save(nibabel.Nifti1Image(inside, np.diag([-1.0, -1.0, 1.0, 1.0])), tmp_path / "mask.nii.gz")
    out = tmp_path / "masked"
    said = regard("explain", model, scan, "-m", "gradient", "--mask", tmp_path / "mask.nii.gz", "-o", out, "-q")
    assert said.code == 0, said.err
    shown, _ = exhibit(model, out, scan, "gradient")
    home = nibabel.load(out / "maps" / "scan_desc-gradient_relevance.nii.gz").get_fdata()
    assert np.isfinite(home).sum() == 35
    # A gradient may be 0 inside as well.
    assert 30 <= int((shown.relevance != 0).sum()) <= 35


def test_an_ensembles_map_is_the_mean_of_its_members() -> None:
    maps = [torch.full((1, 2, 3, 4), v) for v in (1.0, 5.0)]
    parts = [Attribution((m,), m.sum(), reference=(m[:, :1],)) for m in maps]
    found = NetworkMap.of(parts, 0)
    assert torch.equal(found.relevance, torch.full((1, 1, 3, 4), 6.0))
    assert found.reference is not None
    assert torch.equal(found.reference, torch.full((1, 1, 3, 4), 3.0))
    parts[1].reference = None
    assert NetworkMap.of(parts, 0).reference is None
