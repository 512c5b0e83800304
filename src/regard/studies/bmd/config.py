"""Settings of the study, for each size."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from regard.phantoms.torso import DECOYS, FACTORS
from regard.studies.config import Count, Methods, Section, Share, StudyConfig

__all__ = [
    "CASES",
    "DECOY_CASES",
    "BMDConfig",
    "DataSection",
    "ExplainSection",
    "ScoreSection",
    "SIZES",
    "TrainSection",
    "WeighSection",
]

CASES = {1: "the slice", 2: "the vertebra alone", 3: "the vertebral body alone"}
"""The paper's three cases."""

DECOY_CASES = (1, 3)
"""The cases that the decoy's dose-response compares: the decoy in view, and all but L1's body masked out."""


class DataSection(Section):
    """Images and labels.

    Parameters
    ----------
    shape
        Pixels (row, column) of a slice.
    spacing_mm
        Of a pixel.
    slice_mm
        Thickness of a slice.
    offsets_mm
        Where slices lie above the centre of L1's body; each is a case.
    fine
        Cells along each side of a pixel that phantoms are drawn on.
    n_train, n_calibration, n_test
        Patients: to train and choose on, to calibrate prediction intervals on, and to measure on.
    noise_hu
        Standard deviation of the images' noise, in a pixel.
    label_noise
        Standard deviation of the densitometer's error, in g/cm2.
    decoy
        Factor of the phantom that is made to follow the label in the decoy's dose-response.
    doses
        Its correlations with the label; 0 is the study itself.
    """

    shape: tuple[Count, Count] = (96, 96)
    spacing_mm: Annotated[float, Field(gt=0)] = 2.0
    slice_mm: Annotated[float, Field(gt=0)] = 5.0
    offsets_mm: tuple[float, ...] = (-5.0, 0.0, 5.0)
    fine: Count = 1
    n_train: Count = 120
    n_calibration: int = 30
    n_test: Count = 40
    noise_hu: Annotated[float, Field(ge=0)] = 20.0
    label_noise: Annotated[float, Field(ge=0)] = 0.012
    decoy: str = "muscle"
    doses: tuple[Share, ...] = (0.0, 0.9)

    @field_validator("decoy")
    @classmethod
    def _known_decoy(cls, value: str) -> str:
        if value not in DECOYS:
            raise ValueError(f"one of {', '.join(DECOYS)}")
        return value


class TrainSection(Section):
    """Networks.

    Parameters
    ----------
    n_members
        Networks of each case's ensemble, each with its own split by patient.
    n_epochs, batch_size, learning_rate
        Of the regression networks.
    schedule
        How the learning rate falls: ``"cosine"`` to nothing at the last epoch, which makes the most of a short
        training; ``"plateau"`` as in the paper.
    patience, factor, min_rate
        Of the plateau schedule. The published ``min_rate`` of 0.001 equals the starting rate, so that
        the schedule never acts; 0 lets it act.
    validation
        Share of the patients that choose the best epoch.
    rotation, shift, flip
        Augmentation: largest angle [degree] and shift [share of the image], and mirroring.
    weighted
        Whether rare labels count more in the loss.
    centred
        Whether the last bias is set so that the mean reading of the training images, as they are, is their mean label:
        after a short training a network reads them off by what it learnt on turned and shifted ones.
    n_decoy_members, n_decoy_epochs
        Networks of each dose of the decoy, and how long they are trained on, starting from their case's networks.
    n_second_members
        Networks for the second target, trabecular density, trained as those are.
    unet_widths, unet_encoder, unet_epochs, unet_rate, unet_slices
        Of the segmentation network; the last is how many training slices it sees.
    segmented_below
        Pixels with a smaller probability of bone are masked out in cases 2 and 3.
    """

    n_members: Count = 2
    n_epochs: Count = 10
    batch_size: Count = 15
    learning_rate: Annotated[float, Field(gt=0)] = 3e-3
    schedule: Literal["plateau", "cosine"] = "cosine"
    patience: Count = 30
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    min_rate: Annotated[float, Field(ge=0)] = 0.0
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.2
    rotation: float = 5.0
    shift: float = 0.1
    flip: bool = True
    weighted: bool = True
    centred: bool = True
    n_decoy_members: Count = 1
    n_decoy_epochs: Count = 8
    n_second_members: Annotated[int, Field(ge=0)] = 1
    unet_widths: tuple[Count, Count, Count, Count] = (16, 16, 32, 64)
    unet_encoder: Literal["plain", "resnet101"] = "plain"
    unet_epochs: Count = 10
    unet_rate: Annotated[float, Field(gt=0)] = 3e-3
    unet_slices: Count = 150
    segmented_below: Share = 0.2


class ScoreSection(Section):
    """Scores.

    Parameters
    ----------
    level
        Of the prediction intervals.
    threshold
        T-score below which bone counts as low.
    t_mean, t_deviation
        Young adults' mean and standard deviation of the density [g/cm2].
    n_outlined
        Test slices on which the slower classical segmentations are measured.
    """

    level: Annotated[float, Field(gt=0, lt=1)] = 0.9
    threshold: float = -1.0
    t_mean: float = 0.9747
    t_deviation: Annotated[float, Field(gt=0)] = 0.1185
    n_outlined: Count = 40


class ExplainSection(Section):
    """Explanations.

    Parameters
    ----------
    n_cases
        Test patients that are explained, one slice each.
    n_pictured
        Of these, how many get pictures and a place in the report.
    methods
        As on the command line; CAMs take the layer that the paper hooks.
    early_layer
        A layer of finer places, for the CAMs that are drawn there too.
    """

    n_cases: Count = 10
    n_pictured: Count = 2
    methods: Methods = (
        "grad-cam",
        "grad-ram",
        "grad-ramp",
        "crm",
        "random-cam",
        "integrated-gradients:n_steps=24",
        "smoothgrad:n_samples=16",
        "occlusion:window=16,stride=8",
    )
    early_layer: str = "stages.1"


class WeighSection(Section):
    """Evidence.

    Parameters
    ----------
    methods
        Maps that are weighed, and looked through for the decoy.
    n_steps
        Of the curves of deletion.
    n_null
        Surrogate maps in all.
    n_truth
        Explained patients that are rendered again for model truth.
    factors
        What is changed in them.
    """

    methods: Methods = (
        "grad-ram",
        "grad-ramp",
        "grad-ram:layer=stages.1@grad-ram-early",
        "integrated-gradients:n_steps=24",
        "occlusion:window=16,stride=8",
    )
    n_steps: Count = 8
    n_null: Count = 90
    n_truth: Count = 10
    factors: tuple[str, ...] = ("trabecular", "aortic_calcium", "muscle")

    @field_validator("factors")
    @classmethod
    def _known_factors(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [f for f in value if f not in FACTORS]
        if unknown:
            raise ValueError(f"some of {', '.join(FACTORS)}")
        return value


class BMDConfig(StudyConfig):
    """Settings of the study; a section for each act."""

    data: DataSection = DataSection()
    train: TrainSection = TrainSection()
    score: ScoreSection = ScoreSection()
    explain: ExplainSection = ExplainSection()
    weigh: WeighSection = WeighSection()


_DOSES = (0.0, 0.3, 0.6, 0.9)


def _explained(occlusion: str) -> tuple[str, ...]:
    more = ("integrated-gradients:n_steps=32", "smoothgrad:n_samples=16", occlusion)
    return ("grad-cam", "grad-ram", "grad-ramp", "crm", "random-cam", *more)


def _weighed(occlusion: str) -> tuple[str, ...]:
    """Signed maps at both layers, published forms, and the other families."""
    cams = ("grad-ram", "grad-ramp")
    early = (f"{m}:layer=stages.1@{m}-early" for m in cams)
    published = (f"{m}:form=published@{m}-published" for m in ("grad-cam", *cams))
    more = ("integrated-gradients:n_steps=32", "smoothgrad:n_samples=16", occlusion)
    return (*cams, *early, *published, "crm", *more)


SIZES: dict[str, BMDConfig] = {
    "smoke": BMDConfig(
        size="smoke",
        data=DataSection(
            shape=(64, 64), spacing_mm=3.0, offsets_mm=(0.0,), n_train=24, n_calibration=10, n_test=12, doses=(0.0, 0.9)
        ),
        train=TrainSection(
            n_members=2, n_epochs=3, n_decoy_epochs=2, unet_widths=(8, 8, 16, 16), unet_epochs=3, unet_slices=24
        ),
        score=ScoreSection(n_outlined=4),
        explain=ExplainSection(
            n_cases=2,
            n_pictured=1,
            methods=("grad-cam", "grad-ram", "grad-ramp", "random-cam", "occlusion:window=16,stride=16"),
        ),
        weigh=WeighSection(
            methods=(
                "grad-ram", "grad-ramp", "grad-ram:layer=stages.1@grad-ram-early", "occlusion:window=16,stride=16",
            ),
            n_null=9,
            n_truth=2,
            factors=("trabecular", "muscle"),
        ),
    ),
    "default": BMDConfig(),
    "reference": BMDConfig(
        size="reference",
        data=DataSection(fine=2, n_train=400, n_calibration=80, n_test=100, doses=_DOSES),
        train=TrainSection(n_members=5, n_epochs=20, n_decoy_epochs=12, unet_epochs=20, unet_slices=400),
        score=ScoreSection(n_outlined=100),
        explain=ExplainSection(n_cases=24, n_pictured=4, methods=_explained("occlusion:window=12,stride=6")),
        weigh=WeighSection(
            methods=_weighed("occlusion:window=12,stride=6"),
            n_steps=16,
            n_null=99,
            n_truth=20,
            factors=("trabecular", "cortical", "skeleton", "aortic_calcium", "muscle"),
        ),
    ),
    "paper": BMDConfig(
        size="paper",
        data=DataSection(
            shape=(256, 256), spacing_mm=1.0, fine=2, n_train=746, n_calibration=150, n_test=152, doses=_DOSES
        ),
        train=TrainSection(
            n_members=10, n_epochs=150, schedule="plateau", learning_rate=0.001, min_rate=0.001,
            centred=False, n_decoy_members=2, n_decoy_epochs=150,
            unet_widths=(64, 64, 128, 256), unet_encoder="resnet101", unet_epochs=60, unet_rate=0.001,
            unet_slices=2238,
        ),
        score=ScoreSection(n_outlined=152),
        explain=ExplainSection(n_cases=60, n_pictured=6, methods=_explained("occlusion:window=24,stride=12")),
        weigh=WeighSection(
            methods=_weighed("occlusion:window=24,stride=12"),
            n_steps=16,
            n_null=99,
            n_truth=60,
            factors=("trabecular", "cortical", "skeleton", "aortic_calcium", "muscle"),
        ),
    ),
}  # fmt: skip
"""Settings by size. At ``paper``, 746 patients with three slices are the published 2,239 training images."""
