"""The rows of an output are counted against the cases that went in, in one place."""

import ast
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import regard
from regard.core.errors import RowsError, TargetError
from regard.core.image_target import Contrast, EdgeStrength, ErrorTo, Mean, Voxel
from regard.core.rows import counted, read_target, rows_of, target_values
from regard.core.target import AbstractTarget, FunctionTarget, Logit, Output, Probability, as_target


@pytest.mark.parametrize("shape", [(3,), (8, 8), (5, 3), (0, 3)])
@pytest.mark.parametrize("target", [Output(0), Logit(1), Probability(1)], ids=lambda t: t.label)
def test_an_output_with_other_rows_than_cases_is_refused(shape: tuple[int, ...], target: AbstractTarget) -> None:
    with pytest.raises(RowsError) as caught:
        target_values(target, torch.rand(shape), 1)
    said = str(caught.value)
    assert str(shape) in said
    assert "1 case;" in said
    assert "shape (1, ...)" in said
    assert "squeeze" in said
    assert "function output" in said


@pytest.mark.parametrize("wrapped", [lambda t: (t,), lambda t: [t], lambda t: {"logits": t}])
def test_an_output_in_a_tuple_or_dict_is_counted_too(wrapped: Callable[[Tensor], object]) -> None:
    with pytest.raises(RowsError, match=r"\(3,\) for 1 case"):
        rows_of(wrapped(torch.rand(3)), 1)
    assert rows_of(wrapped(torch.rand(2, 3)), 2).shape == (2, 3)


def test_a_lone_number_is_the_row_of_a_lone_case_only() -> None:
    assert rows_of(torch.tensor(4.0), 1).tolist() == [4.0]
    assert rows_of((torch.tensor(4.0),), 1).tolist() == [4.0]
    with pytest.raises(RowsError, match=r"shape \(\) for 2 cases"):
        rows_of(torch.tensor(4.0), 2)


@pytest.mark.parametrize(
    "function", [lambda o: o[0], lambda o: o.sum(), lambda o: o, lambda o: 3.0], ids=["row", "sum", "all", "number"]
)
def test_a_function_that_gives_other_than_a_value_per_case_is_refused(function: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(RowsError, match=r"one value per input case, shape \(1,\)|one row per input case"):
        target_values(FunctionTarget(function), torch.rand(1, 3), 1)


def test_a_function_may_read_an_output_that_has_other_rows() -> None:
    """Five slices of one case, whose mean the function takes."""
    values = target_values(FunctionTarget(lambda o: o.reshape(2, 5, 3).mean((1, 2))), torch.ones(10, 3), 2)
    assert values.tolist() == [1, 1]


def test_a_function_that_fails_on_a_squeezed_output_is_told_of_the_rows() -> None:
    with pytest.raises(RowsError, match=r"\(3,\) for 1 case"):
        target_values(FunctionTarget(lambda o: o[:, 1]), torch.rand(3), 1)


def test_a_function_that_gives_one_case_and_as_many_classes_as_cases_is_refused() -> None:
    output = torch.rand(3, 3)
    with pytest.raises(RowsError, match="follows the output of another"):
        target_values(FunctionTarget(lambda o: o[0]), output, 3)
    with pytest.raises(RowsError, match="follows the output of another"):
        target_values(FunctionTarget(lambda o: o.sum(0)), output, 3)
    labels = torch.eye(3)
    assert torch.equal(target_values(FunctionTarget(lambda o: (o * labels).sum(1)), output, 3), output.diagonal())


def test_a_function_of_images_is_counted() -> None:
    assert counted(lambda x: x.mean((1, 2)))(torch.ones(2, 3, 4)).shape == (2,)
    with pytest.raises(RowsError):
        counted(lambda x: x.mean((0, 1)))(torch.ones(2, 3, 4))


@pytest.mark.parametrize(
    "index", [1, np.int64(1), np.uint8(1), np.array(1), torch.tensor(1), torch.tensor(1, dtype=torch.int16)]
)
def test_a_class_index_may_be_any_whole_number(index: object) -> None:
    output = torch.tensor([[3.0, 5.0]])
    assert as_target(index, output) == Output(1)  # type: ignore[arg-type]
    assert read_target(index, output, 1)(output).item() == 5  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "index", [True, np.bool_(True), torch.tensor(True), 1.0, np.float64(1), torch.tensor(1.0), torch.tensor([1]), "1"]
)
def test_a_class_index_is_no_truth_value_no_fraction_and_no_list(index: object) -> None:
    with pytest.raises(TargetError, match="a class index"):
        as_target(index, torch.tensor([[3.0, 5.0]]))  # type: ignore[arg-type]


IMAGE = torch.rand(2, 6, 5)  # (N, H, W): the channel axis is missing


@pytest.mark.parametrize(
    "target",
    [
        Mean(),
        EdgeStrength(),
        Contrast(Mean(torch.ones(5)), Mean()),
        Mean(torch.ones(6, 5)),
        EdgeStrength(torch.ones(6, 5)),
        ErrorTo(torch.ones(6, 5)),
        Voxel((2, 3)),
        Voxel((4, 0)),
    ],
    ids=lambda t: t.label,
)
def test_an_image_without_its_channel_axis_is_refused_by_its_whole_shape(target: AbstractTarget) -> None:
    with pytest.raises(TargetError) as caught:
        target_values(target, IMAGE, 2, 2)
    said = str(caught.value)
    assert "(2, 6, 5)" in said
    assert "(N, C, *space)" in said
    assert "channel axis" in said


def test_what_an_image_of_one_axis_is_asked_still_works() -> None:
    signal = torch.rand(2, 3, 5)
    torch.testing.assert_close(target_values(Mean(channel=2), signal, 2, 1), signal[:, 2].mean(1))
    torch.testing.assert_close(target_values(Voxel((4, 0)), signal, 2, 1), signal[:, 0, 4])
    projected = torch.rand(2, 1, 4, 5)  # a volume's projection
    torch.testing.assert_close(target_values(Mean(), projected, 2, 3), projected.mean((1, 2, 3)))
    torch.testing.assert_close(target_values(Voxel((2, 3)), projected, 2, 3), projected[:, 0, 2, 3])


def test_a_region_of_as_many_numbers_on_another_grid_is_refused() -> None:
    with pytest.raises(TargetError, match=r"a region of shape \(2, 12\).*images of \(4, 6\)"):
        Mean(torch.ones(2, 12))(torch.rand(1, 1, 4, 6))
    with pytest.raises(TargetError, match=r"an image of shape \(6, 4\).*images of \(4, 6\)"):
        ErrorTo(torch.ones(6, 4))(torch.rand(1, 1, 4, 6))
    assert Mean(torch.ones(1, 4, 6, 1))(torch.ones(1, 1, 4, 6)).item() == 1


def test_no_module_reads_an_output_past_the_place_that_counts() -> None:
    """`as_target` and `single_tensor` see one output, not how many cases went in."""
    root = Path(regard.__file__).parent
    allowed = {"core/rows.py": {"as_target", "single_tensor"}, "models/binding.py": {"single_tensor"}}
    allowed["models/model.py"] = {"single_tensor"}
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "regard.core.target":
                names = {alias.name for alias in node.names} & {"as_target", "single_tensor"}
                assert names <= allowed.get(path.relative_to(root).as_posix(), set()), path
