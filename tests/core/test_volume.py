import numpy as np
import pytest
import torch

from regard.core.errors import GeometryError, ShapeError
from regard.core.volume import PIXEL_AFFINE, Grid, Volume


def test_world_and_index_are_inverse(oblique: np.ndarray) -> None:
    grid = Grid((4, 5, 6), oblique)
    np.testing.assert_allclose(grid.to_index(grid.to_world((1, 2, 3))), (1, 2, 3), atol=1e-9)
    np.testing.assert_allclose(grid.spacing, (0.8, 1.1, 3.0))


def test_orientation_names_the_direction_of_each_axis() -> None:
    assert Grid((2, 2, 2), np.diag([-1.0, -1, 1, 1])).orientation == "LPS"


def test_a_picture_is_kept_column_first_and_one_slice_thick() -> None:
    picture = np.zeros((3, 7))
    picture[2, 5] = 1
    volume = Volume.from_array(picture)
    assert volume.shape == (7, 3, 1)
    assert volume.tensor[0, 5, 2, 0] == 1
    assert not volume.has_geometry
    assert volume.is_slice
    np.testing.assert_array_equal(volume.affine, PIXEL_AFFINE)


def test_a_slice_stays_in_its_place(oblique: np.ndarray) -> None:
    volume = Volume(torch.arange(60.0).reshape(1, 3, 4, 5), oblique)
    cut = volume.slice(2, 3)
    assert torch.equal(cut.tensor[..., 0], volume.tensor[..., 3])
    np.testing.assert_allclose(cut.grid.to_world((1, 2, 0)), volume.grid.to_world((1, 2, 3)))
    with pytest.raises(ShapeError, match="slice 5 of axis 2"):
        volume.slice(2, 5)


def test_grids_match_to_a_tolerance() -> None:
    near = np.eye(4)
    near[0, 3] = 5e-4
    assert Grid((2, 2, 2), np.eye(4)).matches(Grid((2, 2, 2), near))
    near[0, 3] = 5e-3
    assert not Grid((2, 2, 2), np.eye(4)).matches(Grid((2, 2, 2), near))
    assert not Grid((2, 2, 2), np.eye(4)).matches(Grid((2, 2, 3), np.eye(4)))


@pytest.mark.parametrize("affine", [np.zeros((4, 4)), np.full((4, 4), np.nan), np.eye(3)])
def test_an_affine_that_is_none_is_refused(affine: np.ndarray) -> None:
    with pytest.raises(GeometryError, match="expected"):
        Volume(torch.zeros(1, 2, 2, 2), affine)


def test_a_tensor_without_three_axes_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"\(2, 2\).*channel, i, j, k"):
        Volume(torch.zeros(2, 2), np.eye(4))


def test_voxels_that_are_not_finite_are_counted() -> None:
    tensor = torch.zeros(1, 2, 2, 2)
    tensor[0, 0] = torch.nan
    with pytest.raises(ShapeError, match="4 of 8 voxels"):
        Volume(tensor, np.eye(4)).check_finite()


def test_integers_become_floating_point() -> None:
    assert Volume(torch.ones(1, 2, 2, 2, dtype=torch.int16), np.eye(4)).tensor.is_floating_point()
