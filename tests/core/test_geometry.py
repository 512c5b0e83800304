import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from regard.core.errors import GeometryError
from regard.core.geometry import AxisResampling, reorient_grid, resample
from regard.core.volume import Grid, Volume


def grids(affine: np.ndarray) -> tuple[Grid, Grid]:
    """A scan's grid, and a network's: other axes, other spacing, partly off the scan."""
    scan = Grid((10, 12, 8), affine)
    turned = reorient_grid(scan, "SPL" if scan.orientation != "SPL" else "LPS")
    scale = np.diag([0.5, 1.7, 1.3, 1.0])
    network = turned.affine @ scale
    network[:3, 3] -= turned.affine[:3, 1] * 2
    return scan, Grid((13, 9, 7), network)


def test_adjoint_by_dot_product(oblique: np.ndarray) -> None:
    way = AxisResampling(*grids(oblique))
    x = torch.randn(2, *way.source.shape, dtype=torch.float64)
    y = torch.randn(2, *way.destination.shape, dtype=torch.float64)
    home, _ = way.adjoint(y)
    assert abs(float((way.apply(x) * y).sum() - (x * home).sum())) < 1e-10


def test_the_total_of_a_contribution_survives_the_way_home(oblique: np.ndarray) -> None:
    way = AxisResampling(*grids(oblique))
    y = torch.randn(1, *way.destination.shape, dtype=torch.float64)
    home, outside = way.adjoint(y)
    assert abs(float(outside)) > 1e-3
    assert abs(float(home.sum() + outside - y.sum())) < 1e-10


def test_an_interior_region_keeps_its_total_within_two_percent(oblique: np.ndarray) -> None:
    scan = Grid((40, 40, 24), oblique)
    network = Grid((30, 30, 24), oblique @ np.diag([4 / 3, 4 / 3, 1, 1]))
    y = torch.zeros(1, *network.shape, dtype=torch.float64)
    y[0, 10:18, 8:20, 6:18] = 1.0
    home, _ = AxisResampling(scan, network).adjoint(y)
    low, high = scan.to_index(network.to_world((9, 7, 5))), scan.to_index(network.to_world((18, 20, 18)))
    region = home[0, int(low[0]) : int(high[0]) + 2, int(low[1]) : int(high[1]) + 2, int(low[2]) : int(high[2]) + 2]
    assert abs(float(region.sum() / y.sum()) - 1) < 0.02


def test_apply_is_linear_interpolation_through_world_coordinates(oblique: np.ndarray) -> None:
    """Without downsampling, the same as general interpolation by the affines."""
    scan = Grid((10, 12, 8), oblique)
    finer = reorient_grid(scan, "LIA")
    affine = finer.affine @ np.diag([0.6, 0.8, 0.9, 1])
    affine[:3, 3] += finer.affine[:3, :3] @ [1.2, 0.7, 0.4]
    grid = Grid((9, 6, 8), affine)
    x = torch.randn(1, *scan.shape, dtype=torch.float64)
    slow = resample(Volume(x, scan.affine), grid)
    torch.testing.assert_close(AxisResampling(scan, grid).apply(x), slow.tensor, atol=1e-9, rtol=0)


def test_resampling_equals_pillow_bilinear() -> None:
    picture = np.random.default_rng(0).uniform(0, 255, (50, 64)).astype(np.float32)
    want = np.asarray(Image.fromarray(picture, "F").resize((24, 20), Image.Resampling.BILINEAR))
    scan = Volume.from_array(picture)
    scale = np.array([64 / 24, 50 / 20, 1])
    affine = scan.affine @ np.diag([*scale, 1.0])
    affine[:3, 3] += scan.affine[:3, :3] @ ((scale - 1) / 2)
    found = AxisResampling(scan.grid, Grid((24, 20, 1), affine)).apply(scan.tensor)
    np.testing.assert_allclose(found[0, :, :, 0].T, want, atol=1e-3)


def test_home_is_nan_where_the_network_saw_nothing(oblique: np.ndarray) -> None:
    scan = Grid((10, 10, 10), oblique)
    affine = oblique.copy()
    affine[:3, 3] += oblique[:3, 0] * 4
    way = AxisResampling(scan, Grid((6, 10, 10), affine))
    home = way.home(torch.ones(1, 6, 10, 10))
    assert bool(torch.isnan(home[0, :4]).all())
    assert bool((home[0, 4:] == 1).all())


def test_padding_gets_the_fill() -> None:
    scan = Grid((4, 4, 1), np.eye(4))
    affine = np.eye(4)
    affine[0, 3] = -2
    found = AxisResampling(scan, Grid((8, 4, 1), affine)).apply(torch.ones(1, 4, 4, 1), fill=-7.0)
    assert found[0, :, 0, 0].tolist() == [-7, -7, 1, 1, 1, 1, -7, -7]


def test_grids_that_are_oblique_to_each_other_are_refused(oblique: np.ndarray) -> None:
    with pytest.raises(GeometryError, match="oblique to each other"):
        AxisResampling(Grid((4, 4, 4), np.eye(4)), Grid((4, 4, 4), oblique))


@pytest.mark.parametrize("letters", ["RAS", "LPS", "SAR", "IPL", "AIR"])
def test_reorienting_moves_no_voxel(oblique: np.ndarray, letters: str) -> None:
    scan = Grid((4, 5, 6), oblique)
    turned = reorient_grid(scan, letters)
    assert turned.orientation == letters
    corners = {tuple(np.round(scan.to_world((i, j, k)), 6)) for i in (0, 3) for j in (0, 4) for k in (0, 5)}
    a, b, c = turned.shape
    found = {tuple(np.round(turned.to_world((i, j, k)), 6)) for i in (0, a - 1) for j in (0, b - 1) for k in (0, c - 1)}
    assert found == corners


@pytest.mark.parametrize("letters", ["RLS", "RA", "XYZ"])
def test_an_orientation_that_is_none_is_refused(letters: str) -> None:
    with pytest.raises(GeometryError, match=letters):
        reorient_grid(Grid((4, 5, 6), np.eye(4)), letters)


def test_resample_keeps_labels_whole(oblique: np.ndarray) -> None:
    labels = torch.zeros(1, 8, 8, 8)
    labels[0, 2:5, 3:6, 1:4] = 31
    finer = oblique @ np.diag([0.5, 0.5, 0.5, 1])
    finer[:3, 3] -= oblique[:3, :3] @ [0.25, 0.25, 0.25]
    found = resample(Volume(labels, oblique), Grid((16, 16, 16), finer), order=0)
    assert set(found.tensor.unique().tolist()) == {0.0, 31.0}
    centre = ndimage.center_of_mass(found.tensor[0].numpy())
    np.testing.assert_allclose(found.grid.to_world(centre), Grid((8, 8, 8), oblique).to_world((3, 4, 2)), atol=1e-6)
