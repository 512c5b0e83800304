"""Maps on the way to the cohort's grid: contributions keep their total, the rest keeps its values."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from regard.cohort.carry import Carrier
from regard.cohort.warp import Warp, read_warp
from regard.core.errors import FileError
from regard.core.quantity import Quantity
from regard.core.volume import Grid

CONTRIBUTION, EFFECT = Quantity.CONTRIBUTION, Quantity.EFFECT


def blob(shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    """A smooth signed map that is zero near the border."""
    values = np.zeros(shape)
    inner = tuple(slice(n // 4, n - n // 4) for n in shape)
    values[inner] = np.random.default_rng(seed).normal(size=values[inner].shape)
    return gaussian_filter(values, 1.0) + gaussian_filter((values != 0).astype(float), 1.0)


def affine(scale: tuple[float, float, float], angle: float = 0.0, centre: float = 0.0) -> np.ndarray:
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    found = np.eye(4)
    found[:3, :3] = turn @ np.diag(scale)
    found[:3, 3] = centre
    return found


def centred(shape: tuple[int, int, int], matrix: np.ndarray) -> Grid:
    """A grid whose middle lies at the origin."""
    matrix = matrix.copy()
    matrix[:3, 3] = -matrix[:3, :3] @ (np.array(shape) - 1) / 2
    return Grid(shape, matrix)


SCAN = centred((24, 20, 16), affine((2, 2, 3)))


@pytest.mark.parametrize(
    "template",
    [
        centred((60, 50, 60), affine((1, 1, 1))),
        centred((16, 14, 12), affine((4, 4, 5))),
        centred((50, 50, 20), affine((-1.3, 1.7, 4), 0.4)),
        centred((24, 20, 16), affine((2, 2, 3), 1e-2)),
    ],
    ids=["finer", "coarser", "oblique", "a little turned"],
)
@pytest.mark.parametrize("warp", [None, Warp(affine((1.1, 0.9, 1.0), 0.2, 1.5))], ids=["affine", "own affine"])
def test_a_contribution_keeps_its_total(template: Grid, warp: Warp | None) -> None:
    values = blob(SCAN.shape)
    carried, outside = Carrier(SCAN, template, warp).carry(values, CONTRIBUTION)
    assert carried.dtype == np.float32
    assert np.nansum(carried.astype(float)) + outside == pytest.approx(values.sum(), rel=1e-6)
    assert outside == pytest.approx(0, abs=1e-4 * values.sum())  # what fell off the template is told
    # Its middle stays where it was, in millimetres.
    assert _middle(np.nan_to_num(carried), template, warp) == pytest.approx(_middle(values, SCAN, None), abs=0.3)


def _middle(values: np.ndarray, grid: Grid, warp: Warp | None) -> np.ndarray:
    index = np.indices(grid.shape).reshape(3, -1)
    world = grid.affine[:3, :3] @ index + grid.affine[:3, 3:]
    return ((world if warp is None else warp.apply(world)) * values.ravel()).sum(1) / values.sum()


def test_a_finer_template_has_no_holes() -> None:
    template = centred((70, 60, 70), affine((0.8, 0.8, 0.8), 0.3))
    carried, _ = Carrier(SCAN, template).carry(np.ones(SCAN.shape), CONTRIBUTION)
    inner = carried[25:45, 22:38, 25:45]
    expected = 0.8**3 / (2 * 2 * 3)
    assert np.abs(inner / expected - 1).max() < 0.35
    assert inner.mean() == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("angle", [0.0, 0.4])
def test_everything_else_keeps_its_values(angle: float) -> None:
    """A linear ramp is what linear interpolation carries exactly; off the scan is NaN."""
    template = centred((30, 30, 30), affine((2.5, 2.5, 2.5), angle))
    index = np.indices(SCAN.shape).reshape(3, -1)
    weights = np.array([0.3, -0.2, 0.1])
    ramp = (weights @ (SCAN.affine[:3, :3] @ index + SCAN.affine[:3, 3:])).reshape(SCAN.shape)
    carried, outside = Carrier(SCAN, template).carry(ramp, EFFECT)
    index = np.indices(template.shape).reshape(3, -1)
    expected = (weights @ (template.affine[:3, :3] @ index + template.affine[:3, 3:])).reshape(template.shape)
    inner = (slice(11, 19),) * 3
    # Along parallel axes a longer step is antialiased by a triangle of few cells, which is exact only on average.
    np.testing.assert_allclose(carried[inner], expected[inner], atol=1e-4 if angle else 0.05)
    assert abs((carried[inner] - expected[inner]).mean()) < 0.005
    assert np.isnan(carried[0]).all()
    assert outside == 0


def test_what_was_not_seen_stays_so() -> None:
    values = blob(SCAN.shape)
    values[:8] = np.nan
    template = centred((24, 24, 24), affine((2, 2, 2)))
    for quantity in (CONTRIBUTION, EFFECT):
        carried, _ = Carrier(SCAN, template).carry(values, quantity)
        assert np.isnan(carried[:6]).all()
        assert np.isfinite(carried[14, 12, 12])


def test_a_slice_is_carried_too() -> None:
    scan, template = centred((40, 40, 1), affine((1, 1, 1))), centred((30, 30, 1), affine((1.5, 1.5, 1), 0.2))
    values = np.zeros(scan.shape)
    values[15:25, 15:25] = 1.0
    carried, _ = Carrier(scan, template).carry(values, CONTRIBUTION)
    assert np.nansum(carried) == pytest.approx(100, rel=1e-5)
    shown, _ = Carrier(scan, template).carry(values, EFFECT)
    assert shown[15, 15, 0] == pytest.approx(1)


def field(template: Grid) -> np.ndarray:
    """A smooth displacement (3, i, j, k) [mm] that vanishes at the border."""
    world = np.indices(template.shape).reshape(3, -1)
    world = (template.affine[:3, :3] @ world + template.affine[:3, 3:]).reshape(3, *template.shape)
    bump = np.exp(-(world**2).sum(0) / (2 * 10**2))
    return np.stack([0.25 * world[0] * bump, -0.2 * world[1] * bump, 0.15 * world[2] * bump + bump])


def test_through_a_displacement_a_contribution_keeps_its_total_by_the_jacobian() -> None:
    template = centred((60, 56, 60), affine((1.5, 1.5, 1.5)))
    warp = Warp(np.eye(4), field(template), template)
    values = blob(SCAN.shape)
    carried, outside = Carrier(SCAN, template, warp).carry(values, CONTRIBUTION)
    assert np.nansum(carried) == pytest.approx(values.sum(), rel=0.01)
    assert outside == pytest.approx(values.sum() - np.nansum(carried.astype(float)), abs=1e-3)
    without = np.nansum(Carrier(SCAN, template, warp).carry(values, EFFECT)[0]) * 1.5**3 / 12
    assert abs(without / values.sum() - 1) > 0.03  # the Jacobian is what keeps it


def test_the_jacobian_is_the_change_of_volume() -> None:
    template = centred((40, 40, 40), affine((-1, 1, 1.5), 0.3))
    matrix = affine((1.2, 0.9, 1.1), 0.5)
    np.testing.assert_allclose(Warp(matrix).jacobian(template), np.linalg.det(matrix[:3, :3]))
    world = np.indices(template.shape).reshape(3, -1)
    world = (template.affine[:3, :3] @ world + template.affine[:3, 3:]).reshape(3, *template.shape)
    linear = np.stack([0.2 * world[0], 0.1 * world[1] + 0.05 * world[0], np.zeros(template.shape)])
    warp = Warp(np.eye(4), linear, template)
    np.testing.assert_allclose(warp.jacobian(template), 1.2 * 1.1, rtol=1e-6)


def test_transforms_as_tools_write_them(tmp_path: Path) -> None:
    matrix = affine((1.1, 1, 0.9), 0.2, 3.0)
    (tmp_path / "rows.txt").write_text("\n".join(" ".join(map(str, row)) for row in matrix))
    np.testing.assert_allclose(read_warp(tmp_path / "rows.txt").matrix, matrix)
    # The same transform as ITK writes it: along left and posterior, about a centre.
    flip = np.diag([-1.0, -1, 1])
    turn, centre = flip @ matrix[:3, :3] @ flip, np.array([5.0, -2, 7])
    shift = flip @ matrix[:3, 3] - centre + turn @ centre
    numbers = " ".join(map(str, [*turn.ravel(), *shift]))
    (tmp_path / "itk.txt").write_text(
        "#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3\n"
        f"Parameters: {numbers}\nFixedParameters: {' '.join(map(str, centre))}\n"
    )
    np.testing.assert_allclose(read_warp(tmp_path / "itk.txt").matrix, matrix)
    grid = centred((10, 9, 8), affine((2, 2, 2)))
    moved = field(grid)
    plain = nibabel.Nifti1Image(np.moveaxis(moved, 0, 3).astype(np.float32), grid.affine)
    nibabel.save(plain, tmp_path / "plain.nii.gz")
    np.testing.assert_allclose(read_warp(tmp_path / "plain.nii.gz").field, moved, atol=1e-5)
    lps = moved * np.array([-1.0, -1, 1]).reshape(3, 1, 1, 1)
    itk = nibabel.Nifti1Image(np.moveaxis(lps, 0, 3)[:, :, :, None].astype(np.float32), grid.affine)
    itk.header.set_intent("vector")
    nibabel.save(itk, tmp_path / "itk.nii.gz")
    np.testing.assert_allclose(read_warp(tmp_path / "itk.nii.gz").field, moved, atol=1e-5)


def test_what_is_no_transform_is_said(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("not a matrix\n")
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4), np.float32), np.eye(4)), tmp_path / "scalar.nii.gz")
    (tmp_path / "cut.nii.gz").write_bytes(b"no")
    for name in ("words.txt", "scalar.nii.gz", "cut.nii.gz", "absent.txt"):
        with pytest.raises(FileError, match=name):
            read_warp(tmp_path / name)
