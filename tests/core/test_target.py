import numpy as np
import pytest
import torch

from regard.core.errors import TargetError
from regard.core.image_target import Contrast, EdgeStrength, ErrorTo, Mean, Voxel
from regard.core.target import Expectation, Logit, Output, Probability, as_target
from regard.core.volume import Grid, Volume


@pytest.mark.parametrize("shape", [(3,), (3, 1), (3, 1, 1, 1)])
def test_a_scalar_output_needs_no_target(shape: tuple[int, ...]) -> None:
    output = torch.arange(3.0).reshape(shape)
    assert as_target(None, output)(output).tolist() == [0, 1, 2]


def test_a_zero_dimensional_output_is_one_case() -> None:
    assert as_target(None, torch.tensor(4.0))(torch.tensor(4.0)).tolist() == [4]


@pytest.mark.parametrize(
    ("shape", "said"), [((2, 3), "output:I, logit:K"), ((2, 1, 4, 4), "mean:FILE"), ((1, 2, 4, 4, 4), "voxel:I,J,K")]
)
def test_more_than_one_number_without_target_names_shape_and_choices(shape: tuple[int, ...], said: str) -> None:
    with pytest.raises(TargetError) as error:
        as_target(None, torch.zeros(shape))
    assert str(shape) in str(error.value)
    assert said in str(error.value)


def test_an_index_takes_one_output_and_says_when_there_is_none() -> None:
    output = torch.tensor([[1.0, 5.0], [2.0, 6.0]])
    assert as_target(1, output)(output).tolist() == [5, 6]
    with pytest.raises(TargetError, match="output 2 of an output with 2"):
        as_target(2, output)(output)
    with pytest.raises(TargetError, match="for the target 'output:1'"):
        as_target(1, torch.zeros(1, 2, 4, 4))


def test_a_function_is_a_target() -> None:
    output = torch.arange(8.0).reshape(2, 1, 4)
    assert as_target(lambda o: o.flatten(1).max(1).values, output)(output).tolist() == [3, 7]
    with pytest.raises(TargetError, match="reduce every axis"):
        as_target(lambda o: o, output)(output)


@pytest.mark.parametrize("bad", ["logit:1", 1.5, True])
def test_what_is_no_target_is_refused(bad: object) -> None:
    with pytest.raises(TargetError, match="expected a Target"):
        as_target(bad, torch.zeros(1, 2))  # type: ignore[arg-type]


def test_logit_undoes_what_the_network_applied() -> None:
    z = torch.tensor([[0.3, -1.2, 2.0]], dtype=torch.float64)
    torch.testing.assert_close(Logit(0, "sigmoid")(z.sigmoid()), z[:, 0])
    soft = Logit(2, "softmax")(z.softmax(1)) - Logit(0, "softmax")(z.softmax(1))
    torch.testing.assert_close(soft, z[:, 2] - z[:, 0])
    assert Logit(0)(torch.tensor([[2.0]])).item() == -2


def test_probability_of_one_output_and_of_several() -> None:
    z = torch.tensor([[0.3, -1.2]], dtype=torch.float64)
    torch.testing.assert_close(Probability(1)(z), z.softmax(1)[:, 1])
    torch.testing.assert_close(Probability(1)(z[:, :1]), z[:, 0].sigmoid())
    torch.testing.assert_close(Probability(0)(z[:, :1]), 1 - z[:, 0].sigmoid())
    torch.testing.assert_close(Probability(1, independent=True)(z), z[:, 1].sigmoid())
    assert Probability(1, "softmax")(torch.tensor([[0.2, 0.8]])).item() == pytest.approx(0.8)


def test_expectation_is_the_mean_of_the_bins() -> None:
    z = torch.tensor([[0.0, 0.0, 50.0]])
    assert Expectation([10, 20, 30])(z).item() == pytest.approx(30)
    assert Expectation([10, 20, 30])(torch.zeros(1, 3)).item() == pytest.approx(20)
    with pytest.raises(TargetError, match="3 outputs"):
        Expectation([1, 2])(z)


def test_mean_over_a_region_and_over_everything() -> None:
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    region = torch.zeros(4, 4)
    region[1, 2] = region[2, 2] = 1
    assert Mean(region)(image).item() == (6 + 10) / 2
    assert Mean()(image).item() == 7.5
    assert Contrast(Mean(region), Mean())(image).item() == 0.5
    with pytest.raises(TargetError, match="an empty region"):
        Mean(torch.zeros(4, 4))(image)
    with pytest.raises(TargetError, match="the same grid"):
        Mean(torch.ones(3, 3))(image)
    with pytest.raises(TargetError, match="an image"):
        Mean()(torch.zeros(1, 3))
    with pytest.raises(TargetError, match="channel 1 of 1"):
        Mean(channel=1)(image)


def test_a_region_is_carried_by_its_affine(oblique: np.ndarray) -> None:
    """A mask on the scan's grid lands on the same millimetres of a coarser, shifted output."""
    scan = Grid((12, 12, 6), oblique)
    mask = torch.zeros(1, *scan.shape)
    mask[0, 4:8, 4:8, 2:4] = 1
    scale = np.diag([2.0, 2, 2, 1])
    affine = oblique @ scale
    affine[:3, 3] += oblique[:3, :3] @ [0.5, 0.5, 0.5]
    output = Grid((6, 6, 3), affine)
    carried = Mean(Volume(mask, oblique)).on_grid(output)
    image = torch.zeros(1, 1, 6, 6, 3)
    image[0, 0, 2:4, 2:4, 1] = 1
    assert carried(image).item() == pytest.approx(1 * (carried.region[2:4, 2:4, 1].sum() / carried.region.sum()))
    assert float(carried.region[2:4, 2:4, 1].min()) > 0.5
    assert float(carried.region[0].max()) == 0


def test_a_voxel_by_index_and_by_millimetres(oblique: np.ndarray) -> None:
    scan = Grid((4, 5, 6), oblique)
    image = torch.arange(120.0).reshape(1, 1, 4, 5, 6)
    world = scan.to_world((1, 2, 3))
    by_mm = Voxel(mm=tuple(world)).on_grid(scan)
    assert by_mm(image).item() == image[0, 0, 1, 2, 3]
    assert Voxel((1, 2, 3))(image).item() == image[0, 0, 1, 2, 3]
    assert Voxel((1, 2, 3)).on_grid(scan, scan)(image).item() == image[0, 0, 1, 2, 3]
    with pytest.raises(TargetError, match="inside the output image"):
        Voxel((4, 0, 0))(image)
    with pytest.raises(TargetError, match="inside the output image"):
        Voxel(mm=(999, 0, 0)).on_grid(scan)
    with pytest.raises(TargetError, match="bare tensor"):
        Voxel(mm=(0, 0, 0))(image)


def test_error_is_a_mean_square() -> None:
    image = torch.full((2, 1, 3, 3), 2.0)
    target = ErrorTo(torch.full((3, 3), 5.0))
    assert target(image).tolist() == [9, 9]
    assert target.unit("HU") == "(HU)^2"
    with pytest.raises(TargetError, match="the same grid"):
        ErrorTo(torch.zeros(2, 2))(image)


def test_edge_strength_sums_gradient_magnitudes() -> None:
    image = torch.zeros(1, 1, 4, 4)
    image[0, 0, :, 2:] = 3.0
    assert EdgeStrength()(image).item() == pytest.approx(12, abs=1e-3)


def test_several_tensors_are_an_error_and_one_in_a_dict_is_not() -> None:
    assert Output()({"age": torch.ones(2, 1)}).tolist() == [1, 1]
    assert Output()([torch.ones(2, 1)]).tolist() == [1, 1]
    with pytest.raises(TargetError, match="2 values"):
        Output()((torch.ones(2), torch.ones(2)))


def test_labels_read_as_on_the_command_line() -> None:
    assert [t.label for t in (Output(1), Logit(2), Probability(0), Voxel((1, 2, 3)), Voxel(mm=(1, 2, 3)))] == [
        "output:1", "logit:2", "probability:0", "voxel:1,2,3", "voxel-mm:1,2,3",
    ]  # fmt: skip


def test_a_voxel_keeps_its_name_when_the_output_has_other_axes() -> None:
    scan = Grid((4, 5, 6), np.eye(4))
    turned = Grid((6, 5, 4), np.array([[0, 0, -1, 3], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]]))
    for asked in (Voxel((1, 2, 3), channel=1), Voxel(mm=(1, 2, 3), channel=1)):
        there = asked.on_grid(turned, scan)
        assert there.index == (3, 2, 2)
        assert there.label == asked.label
