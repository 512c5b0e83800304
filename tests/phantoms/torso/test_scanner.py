"""The scanner: noise of the wanted size and colour, calibration, contrast agent, kernel."""

import pytest
import torch

from regard.core.errors import InputError
from regard.phantoms.torso import Scanner, Torso, scan
from regard.phantoms.torso.scanner import ct_noise

QUIET = Scanner(noise_hu=0.0, kernel_mm=0.0)


def test_without_noise_and_kernel_it_is_the_torso(slab: Torso) -> None:
    assert torch.allclose(scan(slab, QUIET).tensor, slab.hu.tensor, atol=1e-3)


def test_noise_has_its_size_and_its_spectrum() -> None:
    noise = ct_noise((128, 128, 20), (1.0, 1.0, 1.0), 1.5, 0, "a", "b")
    assert float(noise.std()) == pytest.approx(1.0, rel=0.02)
    power = torch.fft.fftn(noise, dim=(0, 1)).abs().square().mean(-1)
    f = torch.fft.fftfreq(128)
    radius = (f[:, None] ** 2 + f[None] ** 2).sqrt()

    def at(low: float, high: float) -> float:
        return float(power[(radius >= low) & (radius < high)].mean())

    # Little at low frequency, most in the middle, little where the kernel ends.
    assert at(0.0, 0.02) < 0.4 * at(0.1, 0.2)
    assert at(0.45, 0.5) < 0.4 * at(0.1, 0.2)
    across = torch.corrcoef(torch.stack([noise[..., 0].flatten(), noise[..., 1].flatten()]))
    assert abs(float(across[0, 1])) < 0.05


def test_noise_is_the_case_s_own(slab: Torso) -> None:
    clean = scan(slab, Scanner(noise_hu=0.0)).tensor
    one, two, other = (scan(slab, seed=0, case=case).tensor - clean for case in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    inside = slab.mask("liver")
    assert 2 < float(one[0][inside].std()) < 14


def test_mineral_is_brighter_at_lower_voltage(slab: Torso) -> None:
    bone, liver = slab.mask("l1_trabecular"), slab.mask("liver") & (slab.mineral.tensor[0] == 0)
    low, usual, high = (scan(slab, Scanner(kvp=v, noise_hu=0, kernel_mm=0)).tensor[0] for v in (80, 120, 140))
    assert float(low[bone].mean()) > float(usual[bone].mean()) > float(high[bone].mean())
    assert torch.equal(low[liver], high[liver])
    rise = (low - usual)[bone].mean() / slab.mineral.tensor[0][bone].mean()
    expected = Scanner(kvp=80).hu_per_mineral - Scanner(kvp=120).hu_per_mineral
    assert float(rise) == pytest.approx(expected, rel=1e-3)


def test_contrast_agent_fills_vessels_and_kidneys(slab: Torso) -> None:
    plain = scan(slab, QUIET).tensor[0]
    arterial, portal = (
        scan(slab, Scanner(noise_hu=0, kernel_mm=0, contrast_agent=phase)).tensor[0] for phase in ("arterial", "portal")
    )
    for name, first, second in (("aorta", 200, 80), ("liver", 5, 40), ("kidney_left", 90, 100)):
        inside = slab.mask(name)
        assert float((arterial - plain)[inside].mean()) > first
        assert float((portal - plain)[inside].mean()) > second
    fat = slab.mask("subcutaneous_fat")
    assert abs(float((portal - plain)[fat].median())) < 1
    marrow = slab.mask("l1_trabecular")
    assert float((portal - plain)[marrow].mean()) > 5


def test_kernel_blurs_and_keeps_the_mean(slab: Torso) -> None:
    sharp, soft = (scan(slab, Scanner(noise_hu=0, kernel_mm=k)).tensor for k in (0.0, 6.0))
    assert float(soft.mean()) == pytest.approx(float(sharp.mean()), abs=2.0)
    assert float(soft.max()) < float(sharp.max())


def test_thick_slices_are_means_along_the_patient(slab: Torso) -> None:
    thick = scan(slab, Scanner(noise_hu=0, kernel_mm=0, slice_mm=12.0)).tensor
    assert torch.allclose(thick[..., 1], slab.hu.tensor[..., 0:3].mean(-1), atol=1e-2)


def test_calibration_error_is_linear(slab: Torso) -> None:
    wrong = scan(slab, Scanner(noise_hu=0, kernel_mm=0, hu_offset=7.0, hu_scale=1.02)).tensor
    assert torch.allclose(wrong, (slab.hu.tensor * 1.02 + 7).clamp(min=-1024), atol=1e-2)


def test_errors() -> None:
    with pytest.raises(InputError, match="80 to 140 kV"):
        Scanner(kvp=60)
    with pytest.raises(InputError, match="contrast_agent='late'"):
        Scanner(contrast_agent="late")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="0 or more"):
        Scanner(noise_hu=-1)
