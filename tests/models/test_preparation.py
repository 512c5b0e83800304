"""A scan reaches the network the right way round, at the right size and scale, and finds its way home."""

import itertools
import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from regard.core.errors import GeometryError, InputError, ReferenceInputError, ShapeError
from regard.core.volume import PIXEL_AFFINE, Volume
from regard.models import InputSpec, Model, ModelCard, OutputSpec, Preparation, PreparedNetwork, outside_training

RANDOM = np.random.default_rng(5)


def rotation(degrees: float) -> np.ndarray:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    about_z = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    return about_z @ about_x


def affine(
    order: tuple[int, ...], signs: tuple[int, ...], spacing: tuple[float, ...], degrees: float = 0
) -> np.ndarray:
    """Voxel axes along the world axes ``order``, with signs and spacing, turned by an angle."""
    matrix = np.eye(4)
    for axis in range(3):
        matrix[:3, axis] = 0
        matrix[order[axis], axis] = signs[axis] * spacing[axis]
    matrix[:3, :3] = rotation(degrees) @ matrix[:3, :3]
    matrix[:3, 3] = (7.0, -3.0, 11.0)
    return matrix


def l_shape(shape: tuple[int, int, int], matrix: np.ndarray) -> Volume:
    """An L in the right-anterior-superior corner of the field of view: the corner, and arms of 3 (R), 2 (A) voxels."""
    tensor = torch.zeros(1, *shape)
    linear = np.linalg.inv(rotation(TURN)) @ matrix[:3, :3]
    world_axis = np.abs(linear).argmax(0)
    sign = np.sign(linear[world_axis, range(3)])
    corner = [shape[a] - 1 if sign[a] > 0 else 0 for a in range(3)]

    def put(back: dict[int, int], value: float) -> None:
        index = [int(corner[a] - sign[a] * back.get(int(world_axis[a]), 0)) for a in range(3)]
        tensor[(0, *index)] = value

    for n in range(3):
        put({0: n}, 2.0)
    for n in range(2):
        put({1: n}, 3.0)
    put({}, 1.0)
    return Volume(tensor, matrix)


TURN = 12.0
ALL_AXES = [
    (order, signs)
    for order in itertools.permutations(range(3))
    for signs in ((1, 1, 1), (-1, 1, 1), (1, -1, -1), (-1, -1, -1))
]


@pytest.mark.parametrize(("order", "signs"), ALL_AXES)
def test_the_corner_of_an_l_is_found_in_the_network_tensor(order: tuple[int, ...], signs: tuple[int, ...]) -> None:
    scan = l_shape((6, 5, 4), affine(order, signs, (1.0, 2.0, 0.5), TURN))
    for letters in ("RAS", "LPS", "PSL", "SAR"):
        prepared = Preparation(InputSpec(orientation=letters, fit="crop-pad")).prepare(scan)
        x = prepared.tensor[0, 0]
        assert prepared.grid.orientation == letters

        def at(letters: str, x: Tensor, **back: int) -> float:
            index = []
            for axis, letter in enumerate(letters):
                far, name = letter in "RAS", {"L": "R", "P": "A", "I": "S"}.get(letter, letter)
                index.append(x.shape[axis] - 1 - back.get(name, 0) if far else back.get(name, 0))
            return float(x[tuple(index)])

        assert at(letters, x) == 1.0
        assert [at(letters, x, R=n) for n in (1, 2, 3)] == [2.0, 2.0, 0.0]
        assert [at(letters, x, A=n) for n in (1, 2)] == [3.0, 0.0]
        assert x.count_nonzero() == 4
        index = x.eq(1.0).nonzero()[0].tolist()
        there = scan.grid.to_world(scan.tensor[0].eq(1.0).nonzero()[0].tolist())
        assert np.allclose(prepared.grid.to_world(index), there)


def test_a_picture_meets_the_network_as_rows_and_columns() -> None:
    picture = RANDOM.normal(size=(5, 7)).astype(np.float32)
    prepared = Preparation(InputSpec(orientation="PL", fit="crop-pad")).prepare(Volume.from_array(picture))
    assert torch.equal(prepared.tensor, torch.from_numpy(picture)[None, None])
    assert prepared.grid.shape == (5, 7, 1)


@pytest.mark.parametrize("size", [(12, 30), (37, 9), (64, 80), (41, 53)])
def test_resizing_is_that_of_pillow(size: tuple[int, int]) -> None:
    picture = RANDOM.uniform(0, 255, size=(41, 53)).astype(np.float32)
    spec = InputSpec(orientation="PL", shape=size, unit="grey level")
    got = Preparation(spec).prepare(Volume.from_array(picture, unit="grey level")).tensor[0, 0].numpy()
    expected = Image.fromarray(picture, mode="F").resize(size[::-1], Image.Resampling.BILINEAR)
    assert np.abs(got - np.asarray(expected)).max() < 1e-4


@pytest.mark.parametrize("size", [(12, 30), (37, 9), (64, 80)])
def test_resizing_in_whole_numbers_is_that_of_pillow_with_8_bits(size: tuple[int, int]) -> None:
    picture = RANDOM.integers(0, 256, size=(41, 53)).astype(np.uint8)
    spec = InputSpec(orientation="PL", shape=size, rounding="whole")
    prepared = Preparation(spec).prepare(Volume.from_array(picture))
    expected = np.asarray(Image.fromarray(picture).resize(size[::-1], Image.Resampling.BILINEAR), dtype=float)
    off = np.abs(prepared.tensor[0, 0].numpy() - expected)
    # Pillow's weights have 22 bits, which decides a tie now and then.
    assert off.max() <= 1
    assert off.mean() < 0.005
    x = torch.from_numpy(picture.astype(np.float64)).T[None, None, ..., None].requires_grad_()
    (gradient,) = torch.autograd.grad(prepared.as_function()(x).sum(), x)
    home, _ = prepared.resampling.adjoint(torch.ones(1, *prepared.grid.shape))
    assert torch.allclose(gradient[0], home)


@pytest.mark.parametrize("size", [(4, 5, 6), (9, 4, 7), (8, 8, 8), (5, 11, 3)])
def test_cropping_and_padding_is_that_of_monai(size: tuple[int, int, int]) -> None:
    from monai.transforms import ResizeWithPadOrCrop

    tensor = torch.from_numpy(RANDOM.uniform(1, 2, size=(1, 7, 6, 5)).astype(np.float32))
    got = Preparation(InputSpec(orientation="RAS", fit="crop-pad", shape=size)).prepare(Volume(tensor, np.eye(4)))
    expected = ResizeWithPadOrCrop(size, mode="constant", constant_values=float(tensor.min()))(tensor)
    assert torch.equal(got.tensor[0], torch.as_tensor(np.asarray(expected)))


def test_spacing_decides_the_size() -> None:
    scan = Volume(torch.rand(1, 20, 10, 8), np.diag([0.5, 1.0, 3.0, 1.0]))
    spec = InputSpec(orientation="RAS", spacing_mm=(1, 1, 1), fit="crop-pad")
    prepared = Preparation(spec).prepare(scan)
    assert prepared.grid.shape == (10, 10, 24)
    assert np.allclose(prepared.grid.spacing, 1.0)
    centre = scan.grid.to_world([9.5, 4.5, 3.5])
    assert np.allclose(prepared.grid.to_world([4.5, 4.5, 11.5]), centre)
    resized = Preparation(spec.model_copy(update={"fit": "resize"})).prepare(scan)
    assert resized.grid.shape == (10, 10, 24)
    assert np.allclose(resized.grid.to_world([-0.5] * 3), scan.grid.to_world([-0.5] * 3))
    assert np.allclose(resized.grid.to_world([9.5, 9.5, 23.5]), scan.grid.to_world([19.5, 9.5, 7.5]))


def test_a_spacing_that_is_nearly_the_scans_is_not_interpolated() -> None:
    scan = Volume(torch.rand(1, 9, 8, 7), np.diag([1.0001, 0.9999, 1.0, 1.0]))
    prepared = Preparation(InputSpec(orientation="RAS", spacing_mm=(1, 1, 1), fit="crop-pad")).prepare(scan)
    assert torch.equal(prepared.tensor[0], scan.tensor)
    assert prepared.grid.matches(scan.grid)


def test_padding_has_the_windows_lower_limit_or_the_images_minimum() -> None:
    scan = Volume(torch.full((1, 2, 2, 2), 40.0) + torch.rand(1, 2, 2, 2), np.eye(4), "HU")
    spec = {"orientation": "RAS", "fit": "crop-pad", "shape": (4, 4, 4), "unit": "HU"}
    padded = Preparation(InputSpec.model_validate(spec)).prepare(scan).tensor[0, 0]
    assert padded[0, 0, 0] == scan.tensor.min()
    windowed = Preparation(InputSpec.model_validate({**spec, "window": [-100, 40.5]})).prepare(scan).tensor[0, 0]
    assert windowed[0, 0, 0] == -100
    assert windowed.max() == 40.5
    assert torch.equal(windowed[1:3, 1:3, 1:3], scan.tensor[0].clamp(-100, 40.5))


def test_the_total_of_a_map_survives_the_way_home() -> None:
    scan = Volume(torch.rand(1, 11, 9, 7), affine((2, 0, 1), (1, -1, 1), (1.0, 2.0, 0.7), 20))
    spec = InputSpec(orientation="LPS", spacing_mm=(1.3, 1.1, 0.9), shape=(14, 6, 20), fit="crop-pad")
    prepared = Preparation(spec).prepare(scan)
    relevance = torch.randn(1, *prepared.grid.shape, dtype=torch.float64)
    home, outside = prepared.resampling.adjoint(relevance)
    assert home.shape == (1, *scan.shape)
    assert float(home.sum() + outside) == pytest.approx(float(relevance.sum()), rel=1e-9)
    other = torch.randn(1, *scan.shape, dtype=torch.float64)
    forward = (prepared.resampling.apply(other) * relevance).sum()
    assert float(forward) == pytest.approx(float((other * home).sum()), rel=1e-9)
    space = prepared.to_space(torch.ones_like(prepared.tensor))
    assert space.shape == (1, 1, *prepared.grid.shape)
    assert prepared.to_network(space[0]).shape == prepared.tensor.shape
    for wrong in (prepared.to_space, prepared.to_network):
        with pytest.raises(ShapeError):
            wrong(torch.zeros(1, 1, 2, 2, 2))


IMAGE = Volume(torch.from_numpy(RANDOM.gamma(2.0, 50.0, size=(1, 6, 5, 4))).double(), np.eye(4))


@pytest.mark.parametrize(
    ("normalise", "expected"),
    [
        ("none", lambda v: v),
        ("zscore", lambda v: (v - v.mean()) / v.std()),
        ("zscore-foreground", lambda v: (v - v[v > v.min()].mean()) / v[v > v.min()].std()),
        ("minmax", lambda v: (v - v.min()) / (v.max() - v.min())),
        ({"low": -1, "high": 3}, lambda v: -1 + 4 * (v.clip(20, 120) - 20) / 100),
        ({"mean": 70, "std": 20}, lambda v: (v - 70) / 20),
        ({"quantiles": [0.1, 0.9]}, lambda v: (v - np.quantile(v, 0.1)) / (np.quantile(v, 0.9) - np.quantile(v, 0.1))),
    ],
)
def test_normalising_is_one_scale_and_shift(normalise: object, expected: object) -> None:
    window = (20, 120) if isinstance(normalise, dict) and "low" in normalise else None
    spec = InputSpec.model_validate({"orientation": "RAS", "normalise": normalise, "window": window})
    prepared = Preparation(spec).prepare(IMAGE)
    values = IMAGE.tensor.numpy()
    assert np.allclose(prepared.tensor[0].numpy(), expected(values), atol=1e-5)  # type: ignore[operator]
    clipped = IMAGE.tensor if window is None else IMAGE.tensor.clamp(*window)
    assert torch.allclose(prepared.tensor[0].double(), prepared.scale * clipped + prepared.shift, atol=1e-5)


def test_numbers_per_channel_and_padding_does_not_count() -> None:
    rgb = Volume(torch.rand(3, 4, 4, 1).double(), PIXEL_AFFINE, has_geometry=False)
    spec = InputSpec.model_validate(
        {"channels": 3, "orientation": "PL", "normalise": {"mean": [0.1, 0.2, 0.3], "std": [1, 2, 4]}}
    )
    got = Preparation(spec).prepare(rgb).tensor[0].double()
    mean, std = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([1.0, 2.0, 4.0])
    expected = (rgb.tensor[..., 0].transpose(1, 2) - mean[:, None, None]) / std[:, None, None]
    assert torch.allclose(got, expected, atol=1e-6)
    padded = InputSpec(orientation="RAS", fit="crop-pad", shape=(12, 12, 12), normalise="zscore")
    prepared = Preparation(padded).prepare(IMAGE)
    assert float(prepared.scale) == pytest.approx(1 / IMAGE.tensor.numpy().std())


def test_channels_are_repeated_or_joined_to_their_luminance() -> None:
    grey = Volume(torch.rand(1, 3, 4, 1), PIXEL_AFFINE, has_geometry=False)
    three = Preparation(InputSpec(channels=3, orientation="PL")).prepare(grey).tensor
    assert three.shape == (1, 3, 4, 3)
    assert torch.equal(three[0, 0], three[0, 2])
    colour = np.asarray(RANDOM.integers(0, 256, size=(4, 5, 3)), dtype=np.uint8)
    volume = Volume(torch.from_numpy(colour).float().permute(2, 1, 0)[..., None], PIXEL_AFFINE, has_geometry=False)
    one = Preparation(InputSpec(channels=1, orientation="PL")).prepare(volume).tensor[0, 0].numpy()
    assert np.abs(one - np.asarray(Image.fromarray(colour).convert("L"))).max() < 1.0
    for have, want in ((2, 1), (1, 2), (4, 3)):
        with pytest.raises(ShapeError, match=f"{have} channels; expected {want}"):
            Preparation(InputSpec(channels=want, orientation="RAS")).prepare(
                Volume(torch.rand(have, 3, 3, 3), np.eye(4))
            )


def test_a_2d_network_wants_one_slice() -> None:
    volume = Volume(torch.rand(1, 6, 5, 4), np.eye(4))
    preparation = Preparation(InputSpec(orientation="PL"))
    with pytest.raises(GeometryError, match=r"5 x 6 x 4 voxels along PLS.*one voxel along S.*--slice"):
        preparation.prepare(volume)
    prepared = preparation.prepare(volume.slice(2, 1))
    assert torch.equal(prepared.tensor[0, 0], volume.tensor[0, :, :, 1].T.flip(0, 1))
    with pytest.raises(GeometryError, match="1 x 6 x 4 voxels"):
        preparation.prepare(volume.slice(1, 0))
    coronal = Preparation(InputSpec(orientation="IL")).prepare(volume.slice(1, 2))
    assert torch.equal(coronal.tensor[0, 0], volume.tensor[0, :, 2].T.flip(0, 1))
    signal = Preparation(InputSpec(orientation="R")).prepare(Volume(torch.rand(1, 9, 1, 1), np.eye(4)))
    assert signal.tensor.shape == (1, 1, 9)


def test_without_orientation_the_scans_axes_are_kept() -> None:
    scan = Volume(torch.rand(1, 6, 5, 4), affine((2, 0, 1), (1, -1, 1), (1.0, 2.0, 0.7)))
    prepared = Preparation(InputSpec(orientation=None)).prepare(scan)
    assert torch.equal(prepared.tensor[0], scan.tensor)


def test_units_are_compared_when_they_are_known() -> None:
    scan = torch.rand(1, 3, 3, 3)
    scan[0, 0, 0, 0] = -1000.0
    preparation = Preparation(InputSpec(orientation="RAS", unit="HU"))
    with pytest.raises(InputError, match="an image in grey level; expected HU"):
        preparation.prepare(Volume(scan, np.eye(4), "grey level"))
    for unit in ("intensity", "HU", "hu "):
        prepared = preparation.prepare(Volume(scan, np.eye(4), unit))
        assert prepared.warnings == ()
    assert preparation.prepare(Volume(scan, np.eye(4))).unit == "HU"
    assert Preparation(InputSpec(orientation="RAS")).prepare(Volume(scan, np.eye(4), "HU")).unit == "HU"


def test_mm_of_a_picture_and_constant_images_are_refused() -> None:
    picture = Volume.from_array(np.ones((4, 4)))
    with pytest.raises(GeometryError, match=r"0\.5 x 0\.5 mm"):
        Preparation(InputSpec(orientation="PL", spacing_mm=(0.5, 0.5))).prepare(picture)
    Preparation(InputSpec(orientation="PL", spacing_mm=(0.5, 0.5), shape=(4, 4))).prepare(picture)
    for rule in ("zscore", "minmax", {"quantiles": [0, 1]}):
        with pytest.raises(InputError, match="constant intensity 1"):
            Preparation(InputSpec.model_validate({"orientation": "PL", "normalise": rule})).prepare(picture)
    with pytest.raises(InputError, match="background only"):
        Preparation(InputSpec(orientation="PL", normalise="zscore-foreground")).prepare(picture)


def test_what_is_cropped_or_stretched_is_said() -> None:
    scan = Volume(torch.rand(1, 10, 10, 10), np.eye(4))
    cropped = Preparation(InputSpec(orientation="RAS", fit="crop-pad", shape=(5, 10, 20))).prepare(scan)
    assert cropped.warnings == (
        "the network sees 50 % of the image; the rest is cropped",
        "50 % of the network's view is padding, off the image",
    )
    stretched = Preparation(InputSpec(orientation="RAS", shape=(5, 10, 10), spacing_mm=(1, 1, 1))).prepare(scan)
    assert "2 x 1 x 1 mm" in stretched.warnings[0]


def test_a_reference_is_carried_to_the_same_place_with_its_own_constants() -> None:
    spec = InputSpec(orientation="LPS", fit="crop-pad", shape=(6, 6, 6), normalise="minmax")
    scan = Volume(torch.rand(1, 8, 8, 8), np.eye(4))
    prepared = Preparation(spec).prepare(scan)
    same = prepared.with_reference(Volume(scan.tensor * 7 + 3, scan.affine))
    assert torch.allclose(same, prepared.tensor, atol=1e-5)
    moved = np.eye(4)
    moved[:3, 3] = (2, 0, -1)
    shifted = Volume(torch.zeros(1, 8, 8, 8), moved)
    shifted.tensor[0, 1, 4, 5] = 1.0
    found = prepared.with_reference(shifted)[0, 0].nonzero()
    assert found.shape == (1, 3)
    assert np.allclose(prepared.grid.to_world(found[0].tolist()), (3, 4, 4))
    turned = Volume(scan.tensor.permute(0, 2, 1, 3).flip(1), affine((1, 0, 2), (-1, 1, 1), (1, 1, 1)))
    turned = Volume(turned.tensor, np.array([[0, 1, 0, 0], [-1, 0, 0, 7], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=float))
    assert torch.allclose(prepared.with_reference(turned), prepared.tensor, atol=1e-5)


def test_a_reference_elsewhere_or_of_another_kind_is_refused() -> None:
    prepared = Preparation(InputSpec(orientation="RAS", unit="HU")).prepare(Volume(torch.rand(1, 5, 5, 5), np.eye(4)))
    far = np.eye(4)
    far[0, 3] = 100
    with pytest.raises(ReferenceInputError, match="register"):
        prepared.with_reference(Volume(torch.rand(1, 5, 5, 5), far))
    with pytest.raises(InputError, match="grey level"):
        prepared.with_reference(Volume(torch.rand(1, 5, 5, 5), np.eye(4), "grey level"))
    picture = Preparation(InputSpec(orientation="PL", shape=(4, 4))).prepare(
        Volume.from_array(RANDOM.normal(size=(9, 8)))
    )
    assert picture.with_reference(Volume.from_array(RANDOM.normal(size=(20, 10)))).shape == (1, 1, 4, 4)
    free = Preparation(InputSpec(orientation="PL")).prepare(Volume.from_array(RANDOM.normal(size=(9, 8))))
    with pytest.raises(ReferenceInputError, match="shape"):
        free.with_reference(Volume.from_array(RANDOM.normal(size=(20, 10))))


def test_constants_of_a_partly_overlapping_reference_come_from_what_is_there() -> None:
    spec = InputSpec(orientation="RAS", normalise="zscore")
    prepared = Preparation(spec).prepare(Volume(torch.rand(1, 8, 4, 4), np.eye(4)))
    moved = np.eye(4)
    moved[0, 3] = 3
    other = torch.rand(1, 8, 4, 4).double()
    got = prepared.with_reference(Volume(other, moved))[0, 0].double()
    inside = other[0, :5]
    assert torch.allclose(got[3:], (inside - inside.mean()) / inside.std(correction=0), atol=1e-5)


@pytest.mark.parametrize("normalise", ["zscore", "minmax", "zscore-foreground", {"quantiles": [0.05, 0.9]}])
def test_the_whole_pipeline_is_differentiable_with_live_constants(normalise: object) -> None:
    scan = Volume(IMAGE.tensor, affine((1, 0, 2), (1, -1, 1), (1, 1, 1)))
    spec = InputSpec.model_validate(
        {"orientation": "RAS", "fit": "crop-pad", "shape": [7, 4, 5], "spacing_mm": [1, 1.2, 1], "normalise": normalise}
    )
    prepared = Preparation(spec).prepare(scan)
    steps = prepared.as_function()
    batch = torch.stack([scan.tensor, scan.tensor.flip(1)])
    assert torch.allclose(steps(batch)[:1], prepared.tensor.double(), atol=1e-5)
    weights = torch.from_numpy(RANDOM.normal(size=prepared.tensor.shape))

    def value(x: Tensor) -> Tensor:
        return (steps(x[None]) * weights).sum()

    x = scan.tensor.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(value(x), x)
    step = torch.zeros_like(scan.tensor)
    for place in ((0, 2, 2, 2), (0, 3, 1, 0), tuple(int(i) for i in np.unravel_index(int(x.argmin()), x.shape))):
        step.zero_()[place] = 1e-5
        numeric = float(value(scan.tensor + step) - value(scan.tensor - step)) / 2e-5
        assert float(gradient[place]) == pytest.approx(numeric, rel=1e-4, abs=1e-7)
    # A scan of another scale gives the same input: the constants follow it.
    assert torch.allclose(steps(batch * 3 + 5), steps(batch), atol=1e-9)


def test_a_prepared_network_has_the_networks_layers() -> None:
    picture = Volume.from_array(RANDOM.normal(size=(6, 8)))
    prepared = Preparation(InputSpec(orientation="PL", shape=(4, 4))).prepare(picture)
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 1))
    whole = PreparedNetwork(network, prepared)
    assert torch.allclose(whole(picture.tensor[None]), network(prepared.tensor), atol=1e-6)
    assert "network.0" in dict(whole.named_modules())
    assert whole.capabilities == {"gradient", "layers"}
    assert PreparedNetwork(lambda x: x, prepared).capabilities == {"gradient"}


def test_leaving_the_training_data_is_said() -> None:
    card = ModelCard(
        name="m",
        inputs=(InputSpec(orientation="PL", unit="HU"),),
        output=OutputSpec(kind="regression", names=("bmd",), units=("g/cm2",)),
        trained_on={  # type: ignore[arg-type]
            "ranges": {
                "spacing_mm": [0.5, 1.0],
                "intensity": [-1024, 3000],
                "shape": [64, 512],
                "output": [0.4, 1.4],
                "age": [20, 90],
            }
        },
    )
    inside = Volume(torch.zeros(1, 64, 64, 1), np.diag([0.7, 0.7, 9.0, 1.0]), "HU")
    assert outside_training(card, inside, 1.0, {"age": 40, "height": 9}) == []
    values = torch.linspace(-2000, 5000, 32 * 100).reshape(1, 32, 100, 1)
    outside = Volume(values, np.diag([3.0, 1.0, 9.0, 1.0]), "HU")
    said = outside_training(card, {"image": outside}, 1.75, {"age": 12.0})
    assert said == [
        "spacing 1.0 to 3.0 mm; trained on 0.5 to 1.0 mm",
        "size 32.0 to 100 voxels; trained on 64.0 to 512 voxels",
        "intensity (1st to 99th percentile) -1930 to 4930 HU; trained on -1024 to 3000 HU",
        "prediction 1.75 g/cm2; trained on 0.4 to 1.4 g/cm2",
        "age 12.0; trained on 20.0 to 90.0",
    ]
    thick = Volume(torch.zeros(1, 64, 64, 1), np.diag([3.0, 3.0, 9.0, 1.0]), "HU")
    assert outside_training(card, thick) == ["spacing 3.0 mm; trained on 0.5 to 1.0 mm"]
    assert "spacing unknown" in outside_training(card, Volume.from_array(np.zeros((64, 64)), unit="HU"))[0]
    assert Model(lambda x: x, card).card is card


def test_a_network_of_simulated_images_says_so_of_every_case() -> None:
    card = ModelCard.model_validate(
        {
            "name": "m",
            "zoo": "small-regressor",
            "inputs": [{}],
            "output": {"kind": "regression", "names": ["y"], "units": ["1"]},
            "trained_on": {"simulated": True, "site": "phantoms"},
        }
    )
    (said,) = outside_training(card, Volume.from_array(np.zeros((4, 4)), unit="HU"))
    assert "simulated" in said and "phantoms" in said and "outside" in said
