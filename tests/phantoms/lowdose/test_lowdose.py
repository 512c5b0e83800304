"""Low-dose CT against closed forms and scikit-image."""

import math

import numpy as np
import pytest
import torch
from skimage.transform import iradon, radon

from regard.core.errors import InputError, UnknownNameError
from regard.phantoms import lowdose
from regard.phantoms.lowdose.spectrum import radial


def disc(size: int, spacing: float, radius: float, value: float) -> torch.Tensor:
    return lowdose.Lesion(0.0, 0.0, radius, 1.0).cover(size, spacing)[None, None] * value


def test_projection_is_scikit_images_radon() -> None:
    size = 65
    image = torch.zeros(1, 1, size, size, dtype=torch.float64)
    image[0, 0, 20:31, 15:40] = 1.0
    image[0, 0, 40:45, 30:36] = -0.5
    beam = lowdose.ParallelBeam(24, size, 1.0)
    expected = radon(image[0, 0].numpy(), np.rad2deg(beam.angles().numpy()), circle=True).T
    ours = lowdose.project(image, 1.0, beam)[0, 0].numpy()
    assert np.abs(ours - expected).max() < 1e-6 * np.abs(expected).max()


# Their Hann window is shifted by half a step of frequency (np.hanning), which makes up the last tolerance.
@pytest.mark.parametrize(
    ("ours", "theirs", "tolerance"),
    [
        ("ram-lak", "ramp", 1e-6),
        ("shepp-logan", "shepp-logan", 5e-4),
        ("cosine", "cosine", 5e-4),
        ("hann", "hann", 1e-2),
    ],
)
def test_reconstruction_is_scikit_images_iradon(ours: str, theirs: str, tolerance: float) -> None:
    beam = lowdose.ParallelBeam(30, 63, 1.0)
    sinogram = torch.randn(1, 1, 30, 63, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = iradon(
        sinogram[0, 0].numpy().T, np.rad2deg(beam.angles().numpy()), output_size=63, filter_name=theirs, circle=True
    )
    found = lowdose.reconstruct(sinogram, beam, 63, 1.0, kernel=ours)[0, 0].numpy()
    row, column = np.indices(found.shape) - 31
    inside = row**2 + column**2 < 30**2
    assert np.abs(found - expected)[inside].max() < tolerance * np.abs(expected).max()


@pytest.mark.parametrize("beam", [lowdose.ParallelBeam(9, 41, 2.0), lowdose.FanBeam(9, 41, 2.0, 200.0)])
def test_line_integrals_of_a_disc_are_its_chords(beam: lowdose.Beam) -> None:
    radius, value = 30.0, 0.02
    found = lowdose.project(disc(321, 0.25, radius, value), 0.25, beam)[0, 0]
    start, _, _ = beam.rays()
    chord = 2 * (radius**2 - start.square().sum(1)).clamp_min(0).sqrt() * value
    # At the rim a pixel is wider than the chord is long.
    away = (start.norm(dim=1) - radius).abs() > 0.5
    assert float((found - chord)[:, away].abs().max()) < 0.005 * float(chord.max())


@pytest.mark.parametrize(
    "beam", [lowdose.ParallelBeam(120, 160, 1.0), lowdose.FanBeam(240, 160, 1.0, 300.0)], ids=["parallel", "fan"]
)
def test_water_is_within_two_hounsfield(beam: lowdose.Beam) -> None:
    image = disc(256, 0.5, 55.0, 1000.0) - 1000.0
    scanner = lowdose.LowDoseScanner(beam=beam)
    found = scanner.scan(image, 0.5, 128, 1.0, dose=None)
    for radius in (10.0, 40.0):
        inside = lowdose.Lesion(0, 0, radius, 1).cover(128, 1.0) > 0.99
        assert abs(float(found[0, 0][inside].mean())) < 2.0
    ring = lowdose.Lesion(0, 0, 45.0, 1, inner_mm=38.0).cover(128, 1.0) > 0.99
    assert abs(float(found[0, 0][ring].mean())) < 2.0
    assert float(found[0, 0][inside].std()) < 4.0


def test_gradients_pass_through_projection_and_reconstruction() -> None:
    beam = lowdose.ParallelBeam(8, 12, 1.0)
    x = torch.randn(1, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: lowdose.reconstruct(lowdose.project(t, 1.0, beam), beam, 6, 1.0), x)


def test_variance_of_a_measured_line_integral() -> None:
    p = torch.full((1, 1, 200, 1000), 3.0, dtype=torch.float64)
    for n0, electronic in ((2e4, 0.0), (2e4, 30.0)):
        found = lowdose.measure(p, n0, electronic, torch.Generator().manual_seed(0))
        expected = float(lowdose.variance(p[0, 0, 0, :1], n0, electronic))
        assert float(found.var()) / expected == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(("count", "electronic"), [(1000.0, 8.0), (20.0, 0.0), (5.0, 8.0)])
def test_the_bias_of_the_floor_is_what_a_simulation_shows(count: float, electronic: float) -> None:
    p = torch.zeros(1, 1, 1000, 1000, dtype=torch.float64)
    found = lowdose.measure(p, count, electronic, torch.Generator().manual_seed(0))
    bias, ratio = lowdose.log_bias(count, electronic)
    expected = (1 + electronic**2 / count) / count
    assert float(found.mean()) == pytest.approx(bias, abs=5 * float(found.std()) / 1000 + 2e-3)
    assert float(found.var()) / expected == pytest.approx(ratio, rel=0.02)
    if count == 1000.0:
        assert bias == pytest.approx((1 + 64 / count) / count / 2, rel=0.05)


def test_the_spectrum_of_a_disc_is_that_of_filtered_back_projection() -> None:
    radius, pixel, size, n0 = 60.0, 1.0, 32, 2e4
    beam = lowdose.ParallelBeam(180, 129, 1.0)
    start, _, _ = beam.rays()
    chord = 2 * (radius**2 - start.square().sum(1)).clamp_min(0).sqrt() * lowdose.WATER
    paths = chord.expand(1, 1, beam.n_views, -1)
    noise = []
    for draw in range(60):
        measured = lowdose.measure(paths, n0, 5.0, torch.Generator().manual_seed(draw))
        noise.append(lowdose.reconstruct(measured, beam, size, pixel, kernel="hann"))
    scans = torch.cat(noise)
    scans = (scans - scans.mean(0)) * math.sqrt(60 / 59)
    found = lowdose.noise_power_spectrum(scans, pixel)
    # Over the region a ray's path is not quite the diameter: the mean variance over its rays counts.
    near = start[:, 0].abs() <= size * pixel / 2 * 1.13
    expected = lowdose.expected_spectrum(
        beam, "hann", float(lowdose.variance(chord[near], n0, 5.0).mean()), size, pixel
    )
    area = (1 / (size * pixel)) ** 2
    assert float(found.sum()) * area == pytest.approx(float(scans.var()), rel=0.02)
    assert float(expected.sum()) * area == pytest.approx(float(scans.var()), rel=0.02)
    _, ours = radial(found, pixel, 8)
    _, theory = radial(expected, pixel, 8)
    ours, theory = ours / ours.sum(), theory / theory.sum()
    assert float((ours - theory).abs().sum() / 2) < 0.05
    large = theory > 0.3 * theory.max()
    assert float((ours / theory - 1)[large].abs().max()) < 0.05


def test_only_the_difference_in_noise_is_added_to_a_real_scan() -> None:
    image = disc(64, 2.0, 55.0, 1000.0) - 1000.0
    scanner = lowdose.LowDoseScanner(beam=lowdose.ParallelBeam(60, 80, 2.0), photons=5e4, electronic=0.0)
    assert torch.equal(scanner.add_dose_noise(image, 2.0, 1.0), image)
    low = torch.cat([scanner.dose_noise(image, 2.0, 0.25, draw=n) for n in range(12)])
    lower = torch.cat([scanner.dose_noise(image, 2.0, 0.1, draw=n) for n in range(12)])
    middle = (slice(None), slice(None), slice(24, 40), slice(24, 40))
    # Without electronics the variance goes with 1 / dose - 1: 3 and 9.
    assert float(lower[middle].var() / low[middle].var()) == pytest.approx(3.0, rel=0.1)
    fine = disc(128, 1.0, 55.0, 1000.0) - 1000.0
    scans = torch.cat([scanner.scan(fine, 1.0, 64, 2.0, dose=0.25, draw=n) for n in range(12)])
    full = torch.cat([scanner.scan(fine, 1.0, 64, 2.0, dose=1.0, draw=n) for n in range(12)])

    def spread(x: torch.Tensor) -> float:
        return float((x - x.mean(0))[middle].var())

    assert spread(scans) - spread(full) == pytest.approx(spread(low), rel=0.15)
    assert not torch.equal(low[0], low[1])


def test_bow_tie_and_modulation_move_photons() -> None:
    beam = lowdose.ParallelBeam(16, 64, 2.0)
    image = torch.zeros(1, 1, 64, 64) - 1000.0
    image[:, :, 24:40, 8:56] = 0.0
    paths = lowdose.project(lowdose.to_attenuation(image), 2.0, beam)
    plain = lowdose.LowDoseScanner(beam=beam).photons_per_ray(paths, 0.5)
    assert bool((plain == 1.25e6).all())
    tie = lowdose.LowDoseScanner(beam=beam, bow_tie_mm=100.0).photons_per_ray(paths, 1.0)[0, 0, 0]
    assert float(tie[32] / tie[2]) > 5
    assert float(tie[0] / 2.5e6) == pytest.approx(math.exp(-lowdose.WATER * 100), rel=1e-4)
    modulated = lowdose.LowDoseScanner(beam=beam, modulation=0.5).photons_per_ray(paths, 1.0)
    assert float(modulated.mean()) == pytest.approx(2.5e6, rel=1e-5)
    assert int(modulated[0, 0, :, 0].argmax()) == int(paths[0, 0].amax(-1).argmax())


def test_lesions_have_their_size_and_contrast() -> None:
    image, cover = lowdose.insert_lesions(
        torch.zeros(1, 1, 64, 64), 0.5, [lowdose.Lesion(3, -4, 5, 20), lowdose.Lesion(-8, 8, 4, -10, inner_mm=2)]
    )
    assert float(cover[0].sum()) * 0.25 == pytest.approx(math.pi * 25, rel=0.01)
    assert float(cover[1].sum()) * 0.25 == pytest.approx(math.pi * 12, rel=0.02)
    assert (float(image.max()), float(image.min())) == (20.0, -10.0)


def test_slices_differ_by_name_and_are_the_same_again() -> None:
    one, two = (lowdose.ellipse_slice(n, size=64, spacing_mm=3.0) for n in ("a", "b"))
    assert torch.equal(one, lowdose.ellipse_slice("a", size=64, spacing_mm=3.0))
    assert not torch.equal(one, two)
    assert one.amin() == -1000.0


def test_what_cannot_be_scanned_is_refused() -> None:
    scanner = lowdose.LowDoseScanner()
    with pytest.raises(InputError, match="twice as fine"):
        scanner.scan(torch.zeros(1, 1, 8, 8), 1.0, 8, 1.0)
    with pytest.raises(InputError, match="dose of 0"):
        scanner.add_dose_noise(torch.zeros(1, 1, 8, 8), 1.0, 0.0)
    with pytest.raises(UnknownNameError, match="shepp-logan"):
        lowdose.reconstruct(torch.zeros(1, 1, 360, 256), scanner.beam, 8, 1.0, kernel="shep-logan")
