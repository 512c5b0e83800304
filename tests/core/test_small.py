"""Inputs, spatial helpers, draws, registry, errors, optional packages, the explanation."""

import pickle

import numpy as np
import pytest
import torch
from scipy import ndimage

from regard.core import randomness, spatial
from regard.core.errors import FileError, MissingDependencyError, RegardError, ShapeError, UnknownNameError
from regard.core.explanation import Explanation
from regard.core.inputs import Inputs
from regard.core.optional import need
from regard.core.quantity import Quantity, Sign
from regard.core.registry import Registry
from regard.core.volume import Volume


def test_inputs_keep_the_users_structure() -> None:
    a, b = torch.ones(2, 1, 3), torch.zeros(2, 1, 4)
    assert Inputs.of(a).rebuild([b]) is b
    assert Inputs.of([a, b]).rebuild([b, a]) == (b, a)
    assert Inputs.of({"t1": a, "flair": b}).rebuild([b, a]) == {"t1": b, "flair": a}


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ([], "no input"),
        (torch.ones(3), r"\(3,\)"),
        (torch.ones(1, 1, 2, dtype=torch.int32), "int32"),
        ([torch.ones(2, 1, 3), torch.ones(1, 1, 3)], "2 and 1 cases"),
        (torch.full((1, 1, 2), torch.inf), "2 NaN or infinite"),
    ],
)
def test_bad_inputs_are_named(bad: object, said: str) -> None:
    with pytest.raises(ShapeError, match=said):
        Inputs.of(bad)  # type: ignore[arg-type]


def test_a_reference_is_a_number_a_tensor_or_the_same_structure() -> None:
    x = Inputs.of({"t1": torch.ones(2, 1, 3), "flair": torch.ones(2, 1, 3)})
    assert [t.shape for t in x.like(0.5, "reference")] == [(2, 1, 3)] * 2
    assert x.like({"flair": torch.zeros(1, 1, 3), "t1": torch.ones(2, 1, 3)}, "reference")[1].sum() == 0
    with pytest.raises(ShapeError, match="one for each"):
        x.like({"t1": torch.ones(2, 1, 3)}, "reference")
    with pytest.raises(ShapeError, match="2, one per input"):
        x.like(torch.ones(2, 1, 3), "reference")
    with pytest.raises(ShapeError, match="a reference of shape"):
        Inputs.of(torch.ones(2, 1, 3)).like(torch.ones(2, 1, 4), "reference")


def test_windows_cover_every_voxel_and_stay_inside() -> None:
    covered = np.zeros((11, 7))
    for box in spatial.windows((11, 7), (4, 3), (3, 3)):
        assert [s.stop - s.start for s in box] == [4, 3]
        covered[box] += 1
    assert covered.min() >= 1


@pytest.mark.parametrize("size", [(9,), (9, 8), (5, 6, 7), (3, 4, 3, 4)])
def test_interpolation_keeps_a_constant_and_spreading_keeps_a_total(size: tuple[int, ...]) -> None:
    coarse = tuple(max(2, n // 2) for n in size)
    ones = torch.ones(2, 1, *coarse, dtype=torch.float64)
    torch.testing.assert_close(spatial.interpolate(ones, size), torch.ones(2, 1, *size, dtype=torch.float64))
    x = torch.randn(2, 1, *coarse, dtype=torch.float64)
    torch.testing.assert_close(spatial.spread(x, size).flatten(1).sum(1), x.flatten(1).sum(1))


def test_blur_is_a_gaussian_with_repeated_edges() -> None:
    x = torch.rand(1, 1, 12, 9, dtype=torch.float64)
    slow = ndimage.gaussian_filter(x[0, 0].numpy(), 1.5, mode="nearest", radius=6)
    np.testing.assert_allclose(spatial.blur(x, 1.5)[0, 0].numpy(), slow, atol=1e-12)


def test_box_mean_is_over_what_lies_inside() -> None:
    x = torch.arange(5.0).reshape(1, 1, 5)
    assert spatial.box_mean(x, 3).flatten().tolist() == [0.5, 1, 2, 3, 3.5]


def test_knobs_per_axis() -> None:
    assert spatial.per_axis(4, (3, 8), "window") == (3, 4)
    assert spatial.per_axis([2, 9], (3, 8), "window") == (2, 8)
    for bad in ([2], 0, [1, 0]):
        with pytest.raises(ShapeError, match="window"):
            spatial.per_axis(bad, (3, 8), "window")


def test_draws_depend_on_their_key_alone() -> None:
    x = torch.zeros(1, 1, 4)
    first = randomness.normal(x, 0, "sub-01", 5)
    torch.rand(7)
    assert torch.equal(first, randomness.normal(x, 0, "sub-01", 5))
    others = [randomness.normal(x, *key) for key in ((1, "sub-01", 5), (0, "sub-02", 5), (0, "sub-01", 6))]
    assert not any(torch.equal(first, other) for other in others)


def test_a_registry_suggests_refuses_twins_and_loads_late() -> None:
    table = Registry("method", "regard.none", {"grad-cam": ("json:dumps", "one line")})
    assert table.load("grad-cam")([1]) == "[1]"
    assert "grad-cam" in table
    with pytest.raises(UnknownNameError, match="did you mean grad-cam"):
        table.entry("gradcam")
    with pytest.raises(RegardError, match="two entries"):
        table.add("grad-cam", "json:loads", "again")


def test_errors_survive_pickling_and_say_three_things() -> None:
    error = pickle.loads(pickle.dumps(FileError("scan.nii is empty", "a NIfTI file", "copy it again")))
    assert str(error) == "scan.nii is empty; expected a NIfTI file; copy it again"
    assert error.exit_code == 2


def test_a_missing_package_is_one_sentence_with_the_install_line() -> None:
    with pytest.raises(MissingDependencyError, match=r"pip install 'regard\[dicom\]'"):
        need("no_such_package.inside", extra="dicom", purpose="writing DICOM")
    assert need("json", extra="dicom", purpose="x").dumps(1) == "1"


def explanation(quantity: Quantity, **fields: object) -> Explanation:
    tensor = torch.tensor([1.0, -3.0, torch.nan, 0.5]).reshape(1, 4, 1, 1)
    volume = Volume(tensor, np.eye(4))
    return Explanation(volume, volume, "c", "m", quantity, Sign.RAISED, "years", 70.0, "output:0", **fields)  # type: ignore[arg-type]


def test_only_contributions_have_a_total() -> None:
    assert explanation(Quantity.CONTRIBUTION).total == -1.5
    assert explanation(Quantity.SCORE).total is None
    assert explanation(Quantity.SCORE).range == (-3.0, 1.0)


def test_a_sign_is_resolved_by_its_error_or_by_the_members() -> None:
    assert explanation(Quantity.EFFECT).resolved() is None
    volume = Volume(torch.full((1, 4, 1, 1), 0.4), np.eye(4))
    by_error = explanation(Quantity.EFFECT, standard_error=volume).resolved()
    assert by_error is not None
    assert by_error.flatten().tolist() == [True, True, False, False]
    by_members = explanation(
        Quantity.EFFECT, agreement=Volume(torch.tensor([1.0, 0.6, 1, 1]).reshape(1, 4, 1, 1), np.eye(4))
    )
    resolved = by_members.resolved()
    assert resolved is not None
    assert resolved.flatten().tolist() == [True, False, True, True]


def test_units_follow_from_the_quantity() -> None:
    assert Quantity.SENSITIVITY.unit("years", "HU") == "years per HU"
    assert Quantity.EFFECT.unit("years", "HU") == "years"
    assert Quantity.SCORE.unit("years", "HU") == "a.u."
