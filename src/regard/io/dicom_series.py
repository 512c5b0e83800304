"""Planes that make one volume: of one series, one size and direction, each one step from the next.

Positions are in the patient's LPS millimetres, as DICOM has them; the affine is turned to RAS.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from regard.core.errors import GeometryError
from regard.io.dicom_plane import Plane

__all__ = ["listed", "series_affine", "sorted_planes"]

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_SAME_PLACE_MM = 0.01
_UNEVEN = 0.05
_SAME_ANGLE = np.radians(0.1)
_SAME_SPACING = 1e-3
_FEWEST_WIDE_STEPS = 3


def listed(items: Iterable[str], most: int = 5) -> str:
    """The first few of some words, and how many more there are."""
    items = list(items)
    return ", ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")


def sorted_planes(planes: Sequence[Plane], what: str) -> list[Plane]:
    """Check that planes make one volume, and sort them along their normal.

    Raises
    ------
    GeometryError
        If they do not; the message says which images are missing, double, mixed or different.
    """
    _check_one_series(planes, what)
    planes = _sorted_by_position(planes, what)
    affine = series_affine(planes)
    if len(planes) > 1:
        straight = [affine[:3, 3] + n * affine[:3, 2] for n in range(len(planes))]
        places = [_LPS_TO_RAS[:3, :3] @ p.place().position for p in planes]
        off = np.linalg.norm(np.array(straight) - np.array(places), axis=1)
        if off.max() > 0.5 * np.linalg.norm(affine[:3, 2]):
            got = f"{what} with images up to {off.max():.3g} mm off a straight line"
            raise GeometryError(got, "positions on a line", "export the original images, or resample them first")
    return planes


def _check_one_series(planes: Sequence[Plane], what: str) -> None:
    series = Counter(p.series for p in planes)
    if len(series) > 1:
        numbers = {p.series: str(p.header.get("SeriesNumber") or "?") for p in planes}
        counts = listed(f"{uid or 'without a UID'} ({n} images)" for uid, n in series.most_common())
        if len(set(numbers.values())) == len(series):
            counts += f" (SeriesNumber {listed(numbers[uid] for uid, _ in series.most_common())})"
        raise GeometryError(
            f"{len(series)} series mixed in {what}: SeriesInstanceUID {counts}",
            "one series",
            "choose one with --series UID or NUMBER (in Python read(path, series=...))",
        )
    lacking = Counter(keyword for p in planes for keyword in p.missing)
    if lacking:
        counts = listed(f"{keyword} missing in {n} of {len(planes)} images" for keyword, n in lacking.items())
        raise GeometryError(f"{what} with {counts}", "the place of every image", "export the original images")
    places = [p.place() for p in planes]
    spacings, orientations = [np.array(p.spacing) for p in places], [p.orientation for p in places]
    kinds = (
        ("sizes", Counter(f"{p.shape[0]} x {p.shape[1]}" for p in planes)),
        ("pixel spacings", _counted(spacings, lambda a, b: bool(np.abs(a / b - 1).max() <= _SAME_SPACING), _in_mm)),
        ("orientations", _counted(orientations, _same_direction, _rounded)),
    )
    for name, found in kinds:
        if len(found) > 1:
            counts = listed(f"{value} ({n} images)" for value, n in found.most_common())
            raise GeometryError(
                f"{what} with images of {len(found)} {name}: {counts}",
                f"{name} that agree",
                "remove the images that do not belong, such as localisers",
            )


def _counted(
    values: Sequence[np.ndarray], same: Callable[[np.ndarray, np.ndarray], bool], words: Callable[[np.ndarray], str]
) -> Counter[str]:
    """How often each value occurs; values that are the same within a tolerance are one, wherever they would round."""
    kept: list[tuple[np.ndarray, int]] = []
    for value in values:
        at = next((n for n, (other, _) in enumerate(kept) if same(value, other)), None)
        if at is None:
            kept.append((value, 1))
        else:
            kept[at] = (kept[at][0], kept[at][1] + 1)
    counts: Counter[str] = Counter()
    for n, (value, count) in enumerate(kept):
        text = words(value)
        counts[text if text not in counts else f"{text} (another, {n})"] = count
    return counts


def _same_direction(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether the row and column directions of two planes differ by less than a tenth of a degree."""
    return max(np.linalg.norm(a[:3] - b[:3]), np.linalg.norm(a[3:] - b[3:])) <= _SAME_ANGLE  # type: ignore[no-any-return]


def _in_mm(spacing: np.ndarray) -> str:
    return f"{spacing[0]:.4g} x {spacing[1]:.4g} mm"


def _rounded(orientation: np.ndarray) -> str:
    return "\\".join(f"{v + 0.0:g}" for v in np.round(orientation, 2) + 0.0)


def _normal(plane: Plane) -> np.ndarray:
    orientation = plane.place().orientation
    row, column = orientation[:3], orientation[3:]
    normal = np.cross(row, column)
    lengths = [np.linalg.norm(v) for v in (row, column, normal)]
    if max(abs(length - 1) for length in lengths) > 1e-2:
        raise GeometryError(
            f"'{plane.path}' with ImageOrientationPatient {_rounded(orientation)}",
            "two directions of length 1 at right angles",
            "export the original images",
        )
    return np.asarray(normal / lengths[2])


def _sorted_by_position(planes: Sequence[Plane], what: str) -> list[Plane]:
    """Planes in rising order along their normal, each exactly one step from the next.

    Raises
    ------
    GeometryError
        If two lie at one place, some are missing, or the steps differ.
    """
    normal = _normal(planes[0])
    along = np.array([float(p.place().position @ normal) for p in planes])
    order = np.argsort(along, kind="stable")
    planes, along = [planes[n] for n in order], along[order]
    steps = np.diff(along)
    if not len(steps):
        return planes
    twice = [n for n, step in enumerate(steps) if step < _SAME_PLACE_MM]
    if twice:
        where = listed(f"{along[n]:.2f} mm ({_name(planes[n])} and {_name(planes[n + 1])})" for n in twice)
        raise GeometryError(
            f"{what} with two images at one place along the slice normal: {where}",
            "one image at each place",
            "split time points, echoes or copies into folders of their own",
        )
    step = float(steps.min())
    n_steps = np.rint(steps / step)
    if (change := _change_of_step(steps, n_steps)) is not None:
        raise GeometryError(
            f"{what} whose steps change: {_run(steps[:change], along)}, then {_run(steps[change:], along[change:])}",
            "one step between images",
            "resample the series to one step first, or export its parts as series of their own",
        )
    if n_steps.max() > 1 and np.abs(steps / n_steps - step).max() <= _UNEVEN * step:
        lost = [f"{along[n] + step * m:.2f} mm" for n, wide in enumerate(n_steps) for m in range(1, int(wide))]
        raise GeometryError(
            f"{what} with a gap: {len(lost)} of {len(planes) + len(lost)} images missing along the slice normal, "
            f"at {listed(lost)}",
            f"an image every {step:.4g} mm",
            "export the whole series",
        )
    step = float(np.median(steps))
    worst = int(np.abs(steps - step).argmax())
    if abs(steps[worst] - step) > _UNEVEN * step + _SAME_PLACE_MM:
        raise GeometryError(
            f"{what} with uneven steps: {steps[worst]:.4g} mm at {along[worst]:.2f} mm along the slice normal",
            f"{step:.4g} mm, as elsewhere",
            "export the original images, or resample them first",
        )
    return planes


def _change_of_step(steps: np.ndarray, n_steps: np.ndarray) -> int | None:
    """Where a series goes over to another step and stays there, as a head CT does; None if single images are missing.

    Two wide steps may be two lost images; three in a row to one end, all alike, are how the series was made.
    """
    inner = np.flatnonzero(n_steps[1:] != n_steps[:-1]) + 1
    if len(inner) != 1:
        return None
    at = int(inner[0])
    wide = n_steps[:at] if n_steps[0] > 1 else n_steps[at:]
    even = all(np.ptp(part) <= _UNEVEN * part.mean() for part in (steps[:at], steps[at:]))
    return at if len(wide) >= _FEWEST_WIDE_STEPS and even else None


def _run(steps: np.ndarray, along: np.ndarray) -> str:
    return f"{len(steps)} of {steps.mean():.4g} mm from {along[0]:.2f} to {along[len(steps)]:.2f} mm"


def _name(plane: Plane) -> str:
    return plane.path.name if plane.frame is None else f"frame {plane.frame + 1}"


def series_affine(planes: Sequence[Plane]) -> np.ndarray:
    """Affine (4, 4) to RAS mm of sorted planes, voxel axes (column, row, slice).

    The slice axis runs from the first position to the last, so that a tilted gantry gives a sheared affine rather
    than a wrong one. A single plane is as thick as its header says, else 1 mm.
    """
    first, last = planes[0].place(), planes[-1].place()
    affine = np.eye(4)
    affine[:3, 0] = first.orientation[:3] * first.spacing[1]
    affine[:3, 1] = first.orientation[3:] * first.spacing[0]
    if len(planes) > 1:
        affine[:3, 2] = (last.position - first.position) / (len(planes) - 1)
    else:
        affine[:3, 2] = _normal(planes[0]) * (planes[0].thickness or 1.0)
    affine[:3, 3] = first.position
    return np.asarray(_LPS_TO_RAS @ affine) + 0.0  # no minus zeros in a header
