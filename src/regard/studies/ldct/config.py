"""Settings of the study, for each size."""

from typing import Annotated, Literal

from pydantic import Field

from regard.phantoms.lowdose import KERNELS
from regard.studies.config import Count, Positive, Section, StudyConfig

__all__ = [
    "NETWORKS",
    "DataSection",
    "ExplainSection",
    "LDCTConfig",
    "ScoreSection",
    "SIZES",
    "TrainSection",
    "WeighSection",
]

_Share = Annotated[float, Field(gt=0, le=1)]

Network = Literal["cnn10", "redcnn", "wgan-vgg", "du-gan"]

NETWORKS: dict[str, str] = {"cnn10": "CNN-10", "redcnn": "RED-CNN", "wgan-vgg": "WGAN-VGG", "du-gan": "DU-GAN"}
"""The paper's four denoisers."""

Kernel = Literal["ram-lak", "shepp-logan", "cosine", "hamming", "hann"]
assert set(KERNELS) == set(Kernel.__args__)  # type: ignore[attr-defined]


class DataSection(Section):
    """Scans.

    Parameters
    ----------
    size, pixel_mm
        Pixels along each side of a slice, and their size [mm].
    slice_mm
        Thickness of a slice.
    fine_mm
        Pixel of the object that is projected, at most half of a slice's.
    n_train, n_test
        Patients; each gives a slice of the upper abdomen and ``n_chest`` of the chest.
    n_chest
        Slices of the chest for each patient.
    dose
        Of the low-dose scans, a share of full dose.
    photons, electronic
        Photons per ray at full dose, and the electronics' standard deviation in photons.
    n_views, n_detectors, detector_mm
        Of the parallel beam.
    kernel
        Of the filtered back-projection.
    bow_tie_mm, modulation
        As `regard.phantoms.lowdose.LowDoseScanner`; None and 0 for none.
    target
        What the networks learn to make: the scan at full dose, with its noise, or the scan without noise.
    lesion_mm, lesion_hu
        Radius and contrast of the lesion of the model observer, in the liver.
    n_draws
        Scans of each test patient's liver with the lesion, and without.
    crop
        Pixels along each side of these scans.
    """

    size: Count = 128
    pixel_mm: Positive = 2.0
    slice_mm: Positive = 5.0
    fine_mm: Positive = 1.0
    n_train: Count = 24
    n_test: Count = 12
    n_chest: Count = 1
    dose: _Share = 0.1
    photons: Positive = 4e5
    electronic: Annotated[float, Field(ge=0)] = 8.0
    n_views: Count = 240
    n_detectors: Count = 222
    detector_mm: Positive = 2.0
    kernel: Kernel = "hann"
    bow_tie_mm: float | None = None
    modulation: float = 0.0
    target: Literal["full dose", "noise-free"] = "full dose"
    lesion_mm: Positive = 6.0
    lesion_hu: float = -25.0
    n_draws: Annotated[int, Field(ge=4)] = 16
    crop: Count = 64


class TrainSection(Section):
    """Networks.

    Parameters
    ----------
    networks
        Which of the paper's denoisers.
    n_steps, batch_size, patch, learning_rate
        Of those trained with the mean squared error.
    cnn10_width, redcnn_width, wgan_width
        Channels; 64, 96 and 32 as published.
    n_adversarial, adversarial_batch, adversarial_rate
        Steps, batch and learning rate of WGAN-VGG and DU-GAN.
    identity_start
        Whether denoisers start by giving their input back, which is ours: a short training then needs not find the
        image again.
    vgg_width, vgg_steps
        Of our own VGG-16, which stands for the published perceptual loss of ImageNet weights.
    """

    networks: tuple[Network, ...] = ("cnn10", "redcnn")
    n_steps: Count = 2000
    batch_size: Count = 8
    patch: Count = 32
    learning_rate: Positive = 1e-3
    cnn10_width: Count = 64
    redcnn_width: Count = 24
    wgan_width: Count = 32
    n_adversarial: Count = 400
    adversarial_batch: Count = 8
    adversarial_rate: Positive = 2e-4
    identity_start: bool = True
    vgg_width: Count = 16
    vgg_steps: Count = 200


class ScoreSection(Section):
    """Scores.

    Parameters
    ----------
    window
        Lowest and highest HU that PSNR, SSIM and VIF look at; outside it images are clipped for them.
    nlm_strength
        Cut-off of non-local means, in standard deviations of the noise.
    """

    window: tuple[float, float] = (-160.0, 240.0)
    nlm_strength: Positive = 0.8


class ExplainSection(Section):
    """Invariances.

    Parameters
    ----------
    n_cases
        Test patients, one patch each.
    n_samples, n_steps
        Of the training-free search of each patch.
    n_control
        Samples of the search in the identity, in the equal blur, and at each tolerance of the curve.
    tolerance
        Largest d' of f(x~) - f(x).
    limit
        Largest change of a pixel, in standard deviations of the noise.
    curve
        Multiples of the tolerance.
    n_null, null_cosines
        Directions of the Jacobian's null space that are followed, and cosines along each axis that they are made of.
    sampler
        Denoiser that a sampler is fitted to; None: none.
    sampler_patch, sampler_patches, sampler_steps, sampler_batch
        Of its training; the patch decides its sizes (64: 64 latents, 6 blocks).
    perceptual
        Weight of the perceptual loss of our own VGG-16, against the absolute error summed over pixels (published: 102);
        0 leaves it out.
    n_drawn
        Samples that are drawn for each patch.
    """

    n_cases: Count = 3
    n_samples: Count = 6
    n_steps: Count = 30
    n_control: Count = 3
    tolerance: Positive = 1.0
    limit: Positive = 3.0
    curve: tuple[float, ...] = (2.0, 4.0)
    n_null: Count = 4
    null_cosines: Annotated[int, Field(ge=2, le=32)] = 16
    sampler: Network | None = "cnn10"
    sampler_patch: Literal[8, 16, 32, 64] = 64
    sampler_patches: Count = 512
    sampler_steps: Count = 300
    sampler_batch: Count = 8
    perceptual: Annotated[float, Field(ge=0)] = 0.0
    n_drawn: Count = 6


class WeighSection(Section):
    """What was found, measured.

    Parameters
    ----------
    radii_mm
        Radii of the lesions whose largest hidden contrast is sought.
    largest_hu
        Largest contrast that is tried.
    n_planted, planted_samples, planted_steps
        Of the denoiser that was taught to ignore one structure: images, samples of each, steps of its training; 0
        images leave the truth tests out.
    """

    radii_mm: tuple[Positive, ...] = (4.0, 6.0, 10.0)
    largest_hu: Positive = 400.0
    n_planted: int = 12
    planted_samples: Count = 8
    planted_steps: Count = 500


class LDCTConfig(StudyConfig):
    """Settings of the study; a section for each act."""

    data: DataSection = DataSection()
    train: TrainSection = TrainSection()
    score: ScoreSection = ScoreSection()
    explain: ExplainSection = ExplainSection()
    weigh: WeighSection = WeighSection()


_ALL: tuple[Network, ...] = ("cnn10", "redcnn", "wgan-vgg", "du-gan")

SIZES: dict[str, LDCTConfig] = {
    "smoke": LDCTConfig(
        size="smoke",
        data=DataSection(
            size=64, pixel_mm=4.0, fine_mm=2.0, n_train=3, n_test=2, n_views=90, n_detectors=112, detector_mm=4.0,
            photons=2e5, lesion_mm=12.0, n_draws=5, crop=32,
        ),
        train=TrainSection(n_steps=40, patch=24, cnn10_width=8, redcnn_width=4, batch_size=4),
        explain=ExplainSection(
            n_cases=1, n_samples=4, n_steps=6, n_control=2, curve=(2.0,), n_null=2, null_cosines=4, sampler_patch=32,
            sampler_patches=24, sampler_steps=8, sampler_batch=6, n_drawn=4,
        ),
        weigh=WeighSection(radii_mm=(8.0, 16.0), n_planted=2, planted_samples=2, planted_steps=20),
    ),
    "default": LDCTConfig(),
    "reference": LDCTConfig(
        size="reference",
        data=DataSection(n_train=60, n_test=24, n_chest=2, n_draws=24),
        train=TrainSection(networks=_ALL, n_steps=4000, redcnn_width=32, n_adversarial=1500),
        explain=ExplainSection(
            n_cases=10, n_samples=16, n_steps=40, n_control=6, curve=(0.5, 2.0, 4.0), n_null=8, sampler_patches=2048,
            sampler_steps=1500, sampler_batch=16, perceptual=100.0, n_drawn=24,
        ),
    ),
    "paper": LDCTConfig(
        size="paper",
        data=DataSection(
            size=512, pixel_mm=0.7, fine_mm=0.35, slice_mm=1.5, n_train=35, n_test=5, n_chest=346, n_views=1152,
            n_detectors=736, detector_mm=0.6, n_draws=50,
        ),
        train=TrainSection(
            networks=_ALL, n_steps=90_000, batch_size=70, patch=128, learning_rate=1e-4, redcnn_width=96,
            identity_start=False, n_adversarial=67_000, adversarial_batch=77, vgg_width=64, vgg_steps=20_000,
        ),
        explain=ExplainSection(
            n_cases=10, n_samples=100, n_steps=60, n_control=20, curve=(0.5, 1.0, 2.0, 4.0), n_null=16,
            sampler_patches=200_000, sampler_steps=100_000, sampler_batch=64, perceptual=100.0, n_drawn=100,
        ),
    ),
}  # fmt: skip
"""Settings by size. At ``paper``, patients and about as many slices are as published; steps and batches are ours."""
