"""Maps come home through a bundle's own steps: the adjoint's law, places and scales."""

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import random_chains
import torch
from bundle_files import write_bundle
from scipy import ndimage

import regard
from regard.core.errors import InputError
from regard.core.quantity import Quantity
from regard.core.volume import Volume
from regard.evidence.stored import carry
from regard.models.bundle_prepared import PreparedByBundle
from regard.models.case import PreparedCase, prepare_case

LOAD: list[dict[str, Any]] = [
    {"_target_": "LoadImaged", "keys": "image"},
    {"_target_": "EnsureChannelFirstd", "keys": "image"},
]


def prepared_of(folder: Path, steps: list[dict[str, Any]], scan: Volume) -> tuple[PreparedCase, PreparedByBundle]:
    model = regard.load_model(write_bundle(folder / "bundle", [*LOAD, *steps]))
    case = prepare_case(model, {"image": scan})
    one = case.parts[0].prepared
    assert isinstance(one, PreparedByBundle)
    return case, one


def monais(steps: list[dict[str, Any]], scan: Volume, boxes: dict[int, Any], values: np.ndarray) -> np.ndarray:
    """The steps on other values (i, j, k) of the scan's grid, by MONAI alone; a crop to the foreground by its box."""
    import monai.transforms as m
    from monai.data import MetaTensor

    image = MetaTensor(torch.as_tensor(values)[None], affine=torch.as_tensor(np.array(scan.affine)))
    for step in steps:
        name, given = str(step["_target_"])[:-1], {k: v for k, v in step.items() if k not in ("_target_", "keys")}
        if name == "CropForeground":
            start, end = next(iter(boxes.values()))
            low = [max(-int(s), 0) for s in start]
            high = [max(int(e) - n, 0) for e, n in zip(end, image.shape[1:], strict=True)]
            image = m.BorderPad([n for pair in zip(low, high, strict=True) for n in pair])(image)
            moved = [int(s) + n for s, n in zip(start, low, strict=True)]
            image = m.SpatialCrop(roi_start=moved, roi_end=[int(e) + n for e, n in zip(end, low, strict=True)])(image)
        else:
            image = getattr(m, name)(**given)(image)
    return np.asarray(image.as_tensor()[0].numpy(), dtype=np.float64)


def law(folder: Path, seed: int, names: list[str]) -> None:
    """<A x, y> = <x, A' y>, with A x by MONAI alone."""
    draw = np.random.default_rng(seed)
    steps = [random_chains.spatial(draw, name) for name in names]
    scan = regard.read(random_chains.image_file(draw, folder / "image.nii.gz"))
    case, one = prepared_of(folder, steps, scan)
    x, y = draw.normal(size=scan.shape), draw.normal(size=one.grid.shape)
    boxes = one.passage.boxes
    moved = monais(steps, scan, boxes, x) - monais(steps, scan, boxes, np.zeros(scan.shape))
    home, outside = one.adjoint(torch.as_tensor(y)[None])
    assert one.has_adjoint
    left, right = float((moved * y).sum()), float((x * home[0].numpy()).sum())
    size = float(np.linalg.norm(moved) * np.linalg.norm(y))
    assert abs(left - right) <= 1e-5 * size, steps
    assert float(home.sum() + outside.sum()) == pytest.approx(float(y.sum()), abs=1e-4)
    assert case.parts[0].bring_home(torch.as_tensor(y)[None], Quantity.CONTRIBUTION)[0].shape == (1, *scan.shape)


@pytest.mark.parametrize("name", random_chains.SPATIAL)
def test_a_contribution_goes_home_by_the_adjoint_of_each_step(tmp_path: Path, name: str) -> None:
    law(tmp_path, 7, [name])


@pytest.mark.parametrize("seed", range(4))
def test_a_contribution_goes_home_by_the_adjoint_of_a_chain(tmp_path: Path, seed: int) -> None:
    names = np.random.default_rng(seed).choice(random_chains.SPATIAL, 4, replace=False)
    law(tmp_path, seed, [str(n) for n in names])


CHAINS: list[list[dict[str, Any]]] = [
    [
        {"_target_": "Orientationd", "axcodes": "RAS"},
        {"_target_": "Spacingd", "pixdim": [1.5, 1.1, 2.0], "mode": "bilinear"},
        {"_target_": "ResizeWithPadOrCropd", "spatial_size": [15, 18, 12]},
    ],
    [
        {"_target_": "Spacingd", "pixdim": [2.0, -1, 1.0]},
        {"_target_": "Orientationd", "axcodes": "SPL"},
        {"_target_": "CropForegroundd", "source_key": "image", "margin": 2},
        {"_target_": "DivisiblePadd", "k": 8},
    ],
    [
        {"_target_": "Resized", "spatial_size": [20, 12, 16], "mode": "trilinear"},
        {"_target_": "Flipd", "spatial_axis": 1},
        {"_target_": "SpatialPadd", "spatial_size": [24, 24, 24], "method": "end"},
        {"_target_": "Rotate90d", "k": 1, "spatial_axes": [0, 2]},
    ],
]


def tilted(draw: np.random.Generator) -> np.ndarray:
    affine = np.eye(4)
    turn, _ = np.linalg.qr(np.eye(3) + 0.1 * draw.normal(size=(3, 3)))
    affine[:3, :3] = turn @ np.eye(3)[[2, 0, 1]] * np.array([-1.0, 1.4, 1.8])
    affine[:3, 3] = draw.uniform(-50, 50, 3)
    return affine


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("quantity", [Quantity.SCORE, Quantity.CONTRIBUTION])
def test_a_blob_of_the_network_comes_home_at_its_place(
    tmp_path: Path, chain: list[dict[str, Any]], quantity: Quantity
) -> None:
    draw = np.random.default_rng(3)
    shape, centre = (22, 18, 16), np.array([11.0, 9.0, 7.0])
    places = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1)
    blob = np.exp(-((places - centre) ** 2).sum(-1) / (2 * 2.0**2)).astype(np.float32)
    blob[blob < 0.05] = 0
    scan = Volume(torch.as_tensor(blob)[None], tilted(draw))
    case, one = prepared_of(tmp_path, [{**s, "keys": "image"} for s in chain], scan)
    part = case.parts[0]
    # The image itself, as the network sees it, is the map.
    seen = part.to_space(one.tensor).double()
    home = part.bring_home(seen, quantity)[0][0].nan_to_num(0.0).numpy()
    assert np.abs(np.array(ndimage.center_of_mass(home)) - centre).max() < 0.5
    # The blob lies in world coordinates where the grid says, by MONAI's own affine.
    world = one.grid.to_world(ndimage.center_of_mass(seen[0].numpy()))
    assert np.abs(scan.grid.to_index(world) - centre).max() < 0.5
    if quantity is Quantity.CONTRIBUTION:
        assert home.sum() == pytest.approx(float(seen.sum()), rel=1e-4)


def test_a_saved_map_goes_back_to_the_networks_grid(tmp_path: Path) -> None:
    draw = np.random.default_rng(5)
    smooth = ndimage.gaussian_filter(draw.normal(size=(20, 18, 16)), 2.5).astype(np.float32)
    scan = Volume(torch.as_tensor(smooth)[None], tilted(draw))
    case, one = prepared_of(tmp_path, [{**s, "keys": "image"} for s in CHAINS[0]], scan)
    there, _ = carry(scan, Quantity.SCORE, case.parts[0])
    assert there.shape == one.tensor.shape
    inside = one.carried(torch.ones(1, *scan.shape).double())[0] > 0.99
    # Ours is antialiased where the network's grid is coarser; half a voxel off would be a fifth.
    assert float((there[0, 0] - one.tensor[0, 0])[inside].abs().max()) < 0.05 * float(one.tensor.abs().max())


def test_a_step_without_a_derivative_sends_contributions_home_interpolated_and_says_so(tmp_path: Path) -> None:
    draw = np.random.default_rng(6)
    scan = regard.read(random_chains.image_file(draw, tmp_path / "image.nii.gz"))
    case, one = prepared_of(tmp_path, [{"_target_": "Spacingd", "keys": "image", "pixdim": 1.2, "mode": 3}], scan)
    assert any("Spacing has no derivative" in w and "interpolated" in w for w in case.warnings)
    relevance = torch.ones(1, *one.grid.shape, dtype=torch.float64)
    home, outside = case.parts[0].bring_home(relevance, Quantity.CONTRIBUTION)
    assert float(home.nansum()) + outside == pytest.approx(float(relevance.sum()))
    # A map of ones is a density: in the middle each voxel of the scan gets its share of the network's voxels.
    middle = tuple(n // 2 for n in scan.shape)
    share = np.prod(scan.spacing) / np.prod(one.grid.spacing)
    assert float(home[0][middle]) == pytest.approx(float(share), rel=1e-6)


@pytest.mark.parametrize(
    ("step", "scale"),
    [
        (
            {"_target_": "ScaleIntensityRanged", "a_min": -100, "a_max": 300, "b_min": 0, "b_max": 1, "clip": True},
            1 / 400,
        ),
        ({"_target_": "ScaleIntensityRanged", "a_min": 0, "a_max": 50, "b_min": -1, "b_max": 1}, 2 / 50),
        ({"_target_": "NormalizeIntensityd", "subtrahend": 3.0, "divisor": 40.0}, 1 / 40),
        ({"_target_": "NormalizeIntensityd", "nonzero": True}, None),
        ({"_target_": "ShiftIntensityd", "offset": 5.0}, 1.0),
    ],
)
def test_a_sensitivity_is_per_intensity_of_the_scan(tmp_path: Path, step: dict[str, Any], scale: float | None) -> None:
    scan = regard.read(random_chains.image_file(np.random.default_rng(8), tmp_path / "image.nii.gz"))
    if scale is None:
        values = scan.tensor[scan.tensor != 0].double()
        scale = 1 / float(values.std(correction=0))
    _, one = prepared_of(tmp_path, [{"keys": "image", **step}], scan)
    assert one.scale.shape == (1, 1, 1, 1)
    assert float(one.scale) == pytest.approx(scale, rel=1e-4)


def test_scales_of_several_steps_are_one_line(tmp_path: Path) -> None:
    steps = [
        {"_target_": "ScaleIntensityRanged", "a_min": -100, "a_max": 300, "b_min": -1, "b_max": 1},
        {"_target_": "NormalizeIntensityd"},
        {"_target_": "ShiftIntensityd", "offset": 2.0},
    ]
    scan = Volume(torch.rand(1, 8, 9, 7) * 400 - 100, np.eye(4))
    _, one = prepared_of(tmp_path, [{"keys": "image", **s} for s in steps], scan)
    assert torch.allclose(one.scale * scan.tensor + one.shift, one.tensor[0].double(), atol=1e-5)


def test_a_sensitivity_is_per_prepared_intensity_where_no_scale_holds(tmp_path: Path) -> None:
    steps = [{"_target_": "ThresholdIntensityd", "keys": "image", "threshold": 0.0, "above": True, "cval": 77.0}]
    scan = Volume(torch.rand(1, 8, 9, 7) * 400 - 200, np.eye(4), unit="HU")
    model = regard.load_model(write_bundle(tmp_path / "bundle", [*LOAD, *steps]))
    found = regard.explain(model, scan, "gradient", target=lambda o: o.flatten(2)[:, 1].sum(1))
    assert any("no single scale" in w for w in found.warnings)
    assert "prepared intensity" in found.unit
    assert bool(found.relevance.tensor.isfinite().all())
    x = prepare_case(model, {"image": scan}).inputs.tensors[0].requires_grad_()
    model(x).flatten(2)[:, 1].sum().backward()
    assert x.grad is not None
    assert torch.allclose(found.relevance.tensor, x.grad[0], atol=1e-6)


def test_the_whole_pipeline_is_explained_through_monais_steps(tmp_path: Path) -> None:
    steps = [
        {"_target_": "Spacingd", "keys": "image", "pixdim": 2.0},
        {"_target_": "CropForegroundd", "keys": "image", "source_key": "image"},
        {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": -100, "a_max": 500, "b_min": 0, "b_max": 1},
    ]
    scan = regard.read(random_chains.image_file(np.random.default_rng(9), tmp_path / "image.nii.gz"))
    model = regard.load_model(write_bundle(tmp_path / "bundle", [*LOAD, *steps]))

    def target(output: torch.Tensor) -> torch.Tensor:
        return output.flatten(2)[:, 1, :40].sum(1)

    found = regard.explain(model, scan, "gradient", target=target, through_preparation=True)
    case = prepare_case(model, {"image": scan}, through_preparation=True)
    draw, step = torch.Generator().manual_seed(0), 1.0
    change = torch.randn(scan.tensor.shape, generator=draw)
    with torch.no_grad():
        values = [float(target(case.network((scan.tensor + s * change)[None]))) for s in (step, -step)]
    slope = (values[0] - values[1]) / (2 * step)
    assert slope == pytest.approx(float((found.relevance.tensor * change).sum()), rel=0.02, abs=1e-6)
    steps[-1] = {"_target_": "NormalizeIntensityd", "keys": "image"}
    model = regard.load_model(write_bundle(tmp_path / "bundle", [*LOAD, *steps]))
    with pytest.raises(InputError, match="NormalizeIntensity"):
        regard.explain(model, scan, "gradient", target=target, through_preparation=True)


def test_a_reference_takes_the_boxes_and_the_grid_of_the_case(tmp_path: Path) -> None:
    steps = [
        {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
        {"_target_": "CropForegroundd", "keys": "image", "source_key": "image"},
        {"_target_": "NormalizeIntensityd", "keys": "image", "nonzero": True},
    ]
    scan = regard.read(random_chains.image_file(np.random.default_rng(10), tmp_path / "image.nii.gz"))
    case, one = prepared_of(tmp_path, steps, scan)
    assert torch.allclose(case.references(scan)[0], one.tensor)
    assert torch.allclose(one.with_reference(scan), one.tensor)
    flipped = Volume(scan.tensor.flip(1), scan.affine @ np.diag([-1.0, 1, 1, 1]))
    affine = flipped.affine.copy()
    affine[:3, 3] += scan.affine[:3, 0] * (scan.shape[0] - 1)
    same = Volume(flipped.tensor, affine)
    assert torch.allclose(case.references(same)[0], one.tensor, atol=1e-4)
    wider = Volume(torch.nn.functional.pad(scan.tensor, [3] * 6, value=7.0), scan.affine)
    assert case.references(wider)[0].shape == one.tensor.shape
    assert torch.equal(one.with_reference(wider), case.references(wider)[0])
    far = Volume(scan.tensor, scan.affine + np.array([[0, 0, 0, 900.0]] * 3 + [[0, 0, 0, 0]]))
    with pytest.raises(InputError, match="nowhere"):
        case.references(far)


def test_a_picture_keeps_its_own_place(tmp_path: Path) -> None:
    from PIL import Image

    draw = np.random.default_rng(11)
    Image.fromarray(draw.integers(0, 255, (30, 22, 3)).astype(np.uint8)).save(tmp_path / "p.png")
    steps = [
        {"_target_": "LoadImaged", "keys": "image"},
        {"_target_": "EnsureChannelFirstd", "keys": "image", "channel_dim": -1},
        {"_target_": "Resized", "keys": "image", "spatial_size": [11, 15], "mode": "bilinear"},
        {"_target_": "ScaleIntensityd", "keys": "image"},
    ]
    model = regard.load_model(write_bundle(tmp_path / "bundle", steps, channels=3, n_axes=2))
    scan = regard.read(tmp_path / "p.png")
    found = regard.explain(model, scan, "input-x-gradient", target=lambda o: o.flatten(2)[:, 1].sum(1))
    assert found.relevance.shape == scan.shape == (22, 30, 1)
    part = prepare_case(model, {"image": scan}).parts[0]
    assert part.grid.shape == (11, 15, 1)
    assert np.allclose(part.grid.to_world((0, 0, 0)), scan.grid.to_world((0.5, 0.5, 0)))
    with pytest.raises(InputError, match="cut a slice"):
        prepare_case(model, {"image": Volume(torch.rand(3, 8, 8, 8), np.eye(4))})
    with pytest.raises(InputError, match="3 channels"):
        prepare_case(model, {"image": Volume.from_array(draw.random((30, 22)))})


def test_a_geometry_that_is_turned_comes_home_through_the_world(tmp_path: Path) -> None:
    """Grids that are oblique to each other: resampled by Spacing along the world's axes."""
    draw = np.random.default_rng(12)
    centre = np.array([10.0, 9.0, 8.0])
    places = np.stack(np.meshgrid(*[np.arange(n) for n in (20, 18, 17)], indexing="ij"), -1)
    blob = np.exp(-((places - centre) ** 2).sum(-1) / 12).astype(np.float32)
    scan = Volume(torch.as_tensor(blob)[None], tilted(draw))
    case, one = prepared_of(
        tmp_path, [{"_target_": "Spacingd", "keys": "image", "pixdim": [1.2, 1.2, 1.2], "diagonal": True}], scan
    )
    seen = case.parts[0].to_space(one.tensor).double()
    for quantity in (Quantity.SCORE, Quantity.CONTRIBUTION):
        home = case.parts[0].bring_home(seen, quantity)[0][0].nan_to_num(0.0).numpy()
        assert np.abs(np.array(ndimage.center_of_mass(home)) - centre).max() < 0.5
    assert carry(scan, Quantity.SCORE, case.parts[0])[0].shape == one.tensor.shape


def test_images_put_together_each_have_their_map(tmp_path: Path) -> None:
    """Four sequences in four files, one of them on a grid of its own that ends at the same voxels."""
    draw = np.random.default_rng(13)
    names = ("t1", "t1c", "t2", "flair")
    path = random_chains.image_file(draw, tmp_path / "all.nii.gz", 4)
    whole = nibabel.load(path)
    for n, name in enumerate(names):
        nibabel.save(
            nibabel.Nifti1Image(whole.get_fdata(dtype=np.float32)[..., n], whole.affine), tmp_path / f"{name}.nii.gz"
        )
    steps = [
        {"_target_": "LoadImaged", "keys": list(names)},
        {"_target_": "EnsureChannelFirstd", "keys": list(names)},
        {"_target_": "Orientationd", "keys": list(names), "axcodes": "LPS"},
        {
            "_target_": "Spacingd",
            "keys": list(names),
            "pixdim": [1.5, 1.5, 1.5],
            "mode": ["bilinear"] * 3 + ["nearest"],
        },
        {"_target_": "ConcatItemsd", "keys": list(names), "name": "image"},
        {"_target_": "NormalizeIntensityd", "keys": "image", "nonzero": True, "channel_wise": True},
        {"_target_": "DeleteItemsd", "keys": list(names)},
        {"_target_": "ResizeWithPadOrCropd", "keys": "image", "spatial_size": [12, 12, 12]},
    ]
    from bundle_files import caught_by_regard
    from monai_script import seen_by_network

    bundle = write_bundle(tmp_path / "bundle", steps, channels=4)
    wanted, _ = seen_by_network(bundle, {n: str(tmp_path / f"{n}.nii.gz") for n in names})
    scans = {n: regard.read(tmp_path / f"{n}.nii.gz") for n in names}
    got, found = caught_by_regard(bundle, scans)
    assert float((got - wanted).abs().max()) <= 1e-5 * float(wanted.max() - wanted.min())
    assert set(found) == set(names)
    assert all(found[n].relevance.shape == scans[n].shape for n in names)
    # Each has the map of its own channels.
    model = regard.load_model(bundle)
    case = prepare_case(model, scans)
    inner = model.network.network  # type: ignore[union-attr]
    x = torch.cat(case.inputs.tensors, 1).requires_grad_()
    inner(x).flatten(2)[:, 1].mean().backward()
    assert x.grad is not None
    part = case.parts[1]
    home = part.bring_home(part.to_space(x.grad[:, 1:2], Quantity.SENSITIVITY), Quantity.SENSITIVITY)[0]
    got_map = found["t1c"].relevance.tensor
    same = torch.isclose(home.float(), got_map, rtol=1e-3, atol=1e-9) | (home.isnan() & got_map.isnan())
    assert bool(same.all())
    assert [tuple(t.shape[1:2]) for t in case.references(scans)] == [(1,)] * 4


def test_images_joined_at_two_places_each_come_home_to_their_own(tmp_path: Path) -> None:
    """MONAI joins voxel by voxel and keeps the first image's place; the second scan lies 30 mm further."""
    keys = ["a", "b"]
    steps = [
        {"_target_": "LoadImaged", "keys": keys},
        {"_target_": "EnsureChannelFirstd", "keys": keys},
        {"_target_": "ConcatItemsd", "keys": keys, "name": "image"},
        {"_target_": "SpatialPadd", "keys": "image", "spatial_size": [12, 12, 12]},
    ]
    model = regard.load_model(write_bundle(tmp_path / "bundle", steps, channels=2))
    affine = np.eye(4)
    affine[0, 3] = 30.0
    scans = {"a": Volume(torch.rand(1, 9, 8, 7), np.eye(4)), "b": Volume(torch.rand(1, 9, 8, 7), affine)}
    case = prepare_case(model, scans)
    assert sum("joined voxel by voxel" in w and "30 mm" in w for w in case.warnings) == 1
    for part, name in zip(case.parts, keys, strict=True):
        assert part.prepared is not None
        home = part.bring_home(part.to_space(part.prepared.tensor), Quantity.SCORE)[0]
        assert torch.allclose(home.float(), scans[name].tensor, atol=1e-6)
