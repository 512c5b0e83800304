import numpy as np
import pytest
import torch
from markers import ARMS, CORNER, SHAPE, STORED, explanation, marker, stored

from regard.core.volume import Volume
from regard.report.display import display_volume, extreme, grey, planes, shrink, slice_of, window


def expected_planes() -> dict[str, np.ndarray]:
    """The three planes through the marker's corner, written out by hand: row down, column right."""
    nx, ny, nz = SHAPE
    x, y, z = CORNER
    axial, coronal, sagittal = np.zeros((ny, nx)), np.zeros((nz, nx)), np.zeros((nz, ny))
    for step in range(ARMS[0] + 1):  # to the patient's right, which is the picture's left
        axial[ny - 1 - y, nx - 1 - x - step] = coronal[nz - 1 - z, nx - 1 - x - step] = 2
    for step in range(ARMS[1] + 1):  # forwards: up in the axial plane, left in the sagittal plane
        axial[ny - 1 - y - step, nx - 1 - x] = sagittal[nz - 1 - z, ny - 1 - y - step] = 2
    for step in range(ARMS[2] + 1):  # to the head, up
        coronal[nz - 1 - z - step, nx - 1 - x] = sagittal[nz - 1 - z - step, ny - 1 - y] = 2
    axial[ny - 1 - y, nx - 1 - x] = coronal[nz - 1 - z, nx - 1 - x] = sagittal[nz - 1 - z, ny - 1 - y] = 3
    return {"axial": axial, "coronal": coronal, "sagittal": sagittal}


@pytest.mark.parametrize("degrees", [0.0, 17.0])
@pytest.mark.parametrize(("order", "flips"), STORED)
def test_marker_lies_where_a_radiologist_expects_it_in_every_storage_order(order, flips, degrees):
    volume = stored(marker(), order, flips, degrees)
    shown = display_volume(volume)
    corner = (SHAPE[0] - 1 - CORNER[0], SHAPE[1] - 1 - CORNER[1], SHAPE[2] - 1 - CORNER[2])
    expected = expected_planes()
    for plane in planes(shown):
        np.testing.assert_array_equal(
            slice_of(shown.tensor[0].numpy(), plane, corner[plane.through]), expected[plane.name]
        )
    reference = stored(marker(), (0, 1, 2), (False, False, False), degrees)
    np.testing.assert_allclose(shown.grid.to_world(corner), reference.grid.to_world(CORNER), atol=1e-9)


def test_letters_name_the_edges_of_radiological_planes():
    letters = {p.name: p.letters for p in planes(stored(marker(), (0, 1, 2), (False,) * 3))}
    assert letters == {
        "axial": ("R", "L", "A", "P"),
        "coronal": ("R", "L", "S", "I"),
        "sagittal": ("A", "P", "S", "I"),
    }


def test_turning_keeps_nan_beside_numbers():
    values = marker()
    values[0, 0, 0] = np.nan
    shown = display_volume(stored(values, (2, 0, 1), (True, False, True)))
    assert torch.isnan(shown.tensor).sum() == 1
    assert bool(torch.isnan(shown.tensor[0, -1, -1, -1]))


def test_picture_is_drawn_as_on_screen_without_letters():
    pixels = np.arange(12.0).reshape(3, 4)
    shown = display_volume(Volume.from_array(pixels))
    (plane,) = planes(shown)
    assert plane.letters is None
    np.testing.assert_array_equal(slice_of(grey(shown), plane, 0), pixels)


@pytest.mark.parametrize(("axis", "name"), [(0, "sagittal"), (1, "coronal"), (2, "axial")])
def test_oriented_slice_is_shown_in_its_own_plane_alone(axis, name):
    flat = stored(marker(), (0, 1, 2), (False,) * 3).slice(axis, CORNER[axis])
    (plane,) = planes(display_volume(flat))
    assert plane.name == name
    np.testing.assert_array_equal(slice_of(grey(display_volume(flat)), plane, 0), expected_planes()[name])


def test_signal_is_shown_along_a_row_or_column():
    (plane,) = planes(display_volume(Volume.from_array(np.arange(30.0))))
    assert slice_of(np.zeros(display_volume(Volume.from_array(np.arange(30.0))).shape), plane, 0).size == 30


def test_extreme_is_the_largest_size_whose_sign_is_resolved():
    values = torch.zeros(1, 3, 4, 5)
    values[0, 2, 3, 4], values[0, 0, 1, 2], values[0, 1, 1, 1] = 1.0, -5.0, torch.nan
    volume = Volume(values, np.eye(4))
    assert extreme(explanation(volume)) == (0, 1, 2)
    error = torch.full_like(values, 0.1)
    error[0, 0, 1, 2] = 9.0
    assert extreme(explanation(volume, standard_error=volume.with_tensor(error))) == (2, 3, 4)
    assert extreme(explanation(volume.with_tensor(torch.full_like(values, torch.nan)))) == (1, 2, 2)


def test_blocks_are_means_at_the_middle_of_their_voxels():
    volume = Volume(torch.arange(30.0).reshape(1, 5, 6, 1), np.diag([2.0, 3.0, 4.0, 1.0]))
    small = shrink(volume, 2)
    array = volume.tensor[0, :, :, 0].numpy()
    expected = [[array[i : i + 2, j : j + 2].mean() for j in range(0, 6, 2)] for i in range(0, 5, 2)]
    np.testing.assert_allclose(small.tensor[0, :, :, 0].numpy(), expected)
    np.testing.assert_allclose(small.grid.to_world((0, 0, 0)), volume.grid.to_world((0.5, 0.5, 0)))
    np.testing.assert_allclose(small.grid.to_world((1, 2, 0)), volume.grid.to_world((2.5, 4.5, 0)))


def test_block_is_unseen_when_most_of_it_is():
    values = torch.ones(1, 4, 2, 1)
    values[0, 0], values[0, 1, 0] = torch.nan, torch.nan
    values[0, 2, 0] = torch.nan
    small = shrink(Volume(values, np.eye(4)), 2).tensor[0, :, 0, 0]
    assert torch.isnan(small[0])
    assert small[1] == 1.0


def test_window_of_a_flat_image_does_not_divide_by_zero():
    assert window(np.full(9, 3.0)) == (2.5, 3.5)
    assert window(np.full(9, np.nan)) == (0.0, 1.0)
    low, high = window(np.arange(1001.0))
    assert (low, high) == (5.0, 995.0)
