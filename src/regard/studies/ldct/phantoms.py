"""Phantom patients on a simulated scanner: slices of liver and chest at two doses, and one liver again and again."""

import torch
from torch import Tensor

from regard.core import randomness
from regard.core.spatial import blur
from regard.explainers.generative.noise import DrawnNoise
from regard.phantoms.lowdose import Lesion, LowDoseScanner, ParallelBeam, insert_lesions
from regard.phantoms.torso import TorsoShape, draw_shape, render_torso
from regard.studies.ldct.config import DataSection, LDCTConfig
from regard.studies.ldct.slices import Repeated, Scene, Slices
from regard.studies.run import StudyRun

__all__ = ["livers", "phantom_slices", "scanner_of", "scenes", "uniform_place", "varied_place"]

_FIRST = {"train": 0, "test": 20_000}
LIVER_MM, CHEST_MM = (35.0, 85.0), (120.0, 240.0)
"""Heights of the slices above the middle of L1."""


def scanner_of(data: DataSection) -> LowDoseScanner:
    """The scanner of a configuration."""
    return LowDoseScanner(
        beam=ParallelBeam(data.n_views, data.n_detectors, data.detector_mm),
        photons=data.photons,
        electronic=data.electronic,
        kernel=data.kernel,
        bow_tie_mm=data.bow_tie_mm,
        modulation=data.modulation,
    )


def _object(shape: TorsoShape, z: float, data: DataSection) -> Tensor:
    """What is scanned, (1, 1, row, column) [HU], square and as wide as the detector."""
    half = data.n_detectors * data.detector_mm / 2
    box = ((-half, half), (-half, half), (z - data.slice_mm / 2, z + data.slice_mm / 2))
    torso = render_torso(shape, (data.fine_mm, data.fine_mm, data.slice_mm), box, fine=1)
    return torso.hu.tensor[0, :, :, 0].T[None, None].contiguous()


def _heights(run: StudyRun, name: str, data: DataSection) -> list[float]:
    u = randomness.uniform((1 + data.n_chest,), run.seed, name, "heights").tolist()
    ranges = [LIVER_MM] + [CHEST_MM] * data.n_chest
    return [low + v * (high - low) for v, (low, high) in zip(u, ranges, strict=True)]


def _slice(run: StudyRun, shape: TorsoShape, z: float, name: str, data: DataSection) -> dict[str, Tensor]:
    scanner = scanner_of(data)
    paths = scanner.line_integrals(_object(shape, z, data), data.fine_mm, data.pixel_mm)
    doses = {"low": data.dose, "full": 1.0, "clean": None}
    return {
        k: scanner.image_of(paths, data.size, data.pixel_mm, dose=d, seed=run.seed, case=name, draw=k)[0]
        for k, d in doses.items()
    }


def phantom_slices(run: StudyRun, config: LDCTConfig, part: str) -> Slices:
    """Slices of a part, ``"train"`` or ``"test"``: scanned, or read if they have been."""
    data = config.data
    n = data.n_train if part == "train" else data.n_test
    found: list[dict[str, Tensor]] = []
    cases, patients = [], []
    for number in range(n):
        patient = f"{part}-{number:04d}"
        run.stage(f"scanning {patient}", number, n)

        def make(number: int = number, patient: str = patient) -> dict[str, Tensor]:
            shape = draw_shape(run.seed, _FIRST[part] + number)
            made = [_slice(run, shape, z, f"{patient}-{k}", data) for k, z in enumerate(_heights(run, patient, data))]
            return {k: torch.stack([m[k] for m in made]) for k in made[0]}

        found.append(run.tensors(f"data/{patient}", make))
        cases += [f"{patient}-{k}" for k in range(1 + data.n_chest)]
        patients += [patient] * (1 + data.n_chest)
    low, full, clean = (torch.cat([f[k] for f in found]) for k in ("low", "full", "clean"))
    return Slices(low, full, clean, tuple(cases), tuple(patients), data.pixel_mm)


def uniform_place(clean: Tensor, radius: int, margin: int) -> tuple[int, int]:
    """Pixel in the middle of the most uniform soft tissue of a slice (1, row, column), away from the edges."""
    image = clean[None].double()
    mean = blur(image, radius)
    spread = (blur(image.square(), radius) - mean.square()).clamp_min(0).sqrt()[0, 0]
    soft = ((mean[0, 0] - 65).abs() < 45).double()
    return _least(spread + 1e4 * (1 - soft), margin)


def varied_place(image: Tensor, margin: int) -> tuple[int, int]:
    """Pixel around which a slice (1, row, column) [HU] has the most structure of soft tissue, away from the edges."""
    seen = image[None].double().clamp(-160, 240)
    radius = max(2.0, margin / 2)
    spread = (blur(seen.square(), radius) - blur(seen, radius).square()).clamp_min(0).sqrt()[0, 0]
    air = blur((image[None].double() < -300).double(), radius)[0, 0]
    return _least(-spread + 1e3 * (air - 0.35).clamp_min(0), margin)


def _least(score: Tensor, margin: int) -> tuple[int, int]:
    inside = torch.full_like(score, 1e6)
    rows, columns = (slice(margin, max(margin + 1, n - margin + 1)) for n in score.shape)
    inside[rows, columns] = 0
    row, column = divmod(int((score + inside).argmin()), score.shape[1])
    return row, column


def _numbers(test: Slices, slice_number: int) -> list[int]:
    return [n for n, case in enumerate(test.cases) if case.endswith(f"-{slice_number}")]


def livers(run: StudyRun, config: LDCTConfig, test: Slices) -> list[Repeated]:
    """Livers of the test patients, scanned again and again: made, or read if they have been."""
    data = config.data
    assert test.clean is not None
    found = []
    numbers = _numbers(test, 0)
    for k, n in enumerate(numbers):
        run.stage(f"scanning the liver of {test.patients[n]}", k, len(numbers))
        place = uniform_place(test.clean[n], max(2, round(data.lesion_mm / data.pixel_mm)), data.crop // 2)
        found.append(_repeated(run, data, test.patients[n], k, 0, place, lesion=True))
    return found


def scenes(run: StudyRun, config: LDCTConfig, test: Slices) -> list[Scene]:
    """Patches of the test patients, in turn of abdomen and chest, with the noise that repeated scans show."""
    data = config.data
    assert test.clean is not None
    n_cases = min(config.explain.n_cases, data.n_test)
    found = []
    for k in range(n_cases):
        which = k % (1 + data.n_chest)
        n = _numbers(test, which)[k]
        run.stage(f"scanning {test.cases[n]} again", k, n_cases)
        place = varied_place(test.clean[n], data.crop // 2)
        made = _repeated(run, data, test.patients[n], k, which, place, lesion=False)
        found.append(Scene(test.cases[n], test.patients[n], made.absent[:1], DrawnNoise(made.noise()[1:]), made.clean))
    return found


def _repeated(
    run: StudyRun, data: DataSection, patient: str, number: int, which: int, place: tuple[int, int], *, lesion: bool
) -> Repeated:
    def make() -> dict[str, Tensor]:
        scanner = scanner_of(data)
        shape = draw_shape(run.seed, _FIRST["test"] + number)
        body = _object(shape, _heights(run, patient, data)[which], data)
        # The lesion lies in the middle of the crop, which for an even number of pixels is between two of them.
        row, column = ((p + 0.5 - data.size / 2) * data.pixel_mm for p in place)
        images = {"absent": body}
        if lesion:
            spot = Lesion(row, column, data.lesion_mm, data.lesion_hu)
            images["present"] = insert_lesions(body, data.fine_mm, [spot])[0]
        made = {}
        for name, image in images.items():
            paths = scanner.line_integrals(image, data.fine_mm, data.pixel_mm)

            def scanned(dose: float | None, draw: str, paths: Tensor = paths) -> Tensor:
                return scanner.image_of(
                    paths, data.crop, data.pixel_mm, dose=dose, centre_mm=(row, column), seed=run.seed,
                    case=f"{patient}-{which}", draw=draw,
                )  # fmt: skip

            if name == "absent":
                made["clean"] = scanned(None, "")
            made[name] = torch.cat([scanned(data.dose, f"{name} {d}") for d in range(data.n_draws)])
        return made

    made = run.tensors(f"data/{'liver' if lesion else 'scene'}-{patient}-{which}", make)
    return Repeated(patient, made["absent"], made.get("present", made["absent"][:0]), made["clean"])
