"""Settings of the study, for each size."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from regard.studies.config import Count, Methods, Positive, Section, Share, StudyConfig

__all__ = [
    "DataSection",
    "ExplainSection",
    "ScoreSection",
    "SIZES",
    "TrainSection",
    "TuberculosisConfig",
    "WeighSection",
]


class DataSection(Section):
    """Radiographs and labels.

    Parameters
    ----------
    size
        Pixels along each side of an image.
    chest_mm, cell_mm
        Voxel of the phantoms' chests, across, along the rays and upwards, and the longest cell they are drawn on.
    n_pretrain, n_each
        Patients of the normal or abnormal task that networks are trained on first, and images of each, in pairs without
        and with a finding.
    n_cases
        Patients of the study itself, about half of them ill; one image of each.
    least_dose
        Findings are drawn between this share of their full strength and all of it.
    doses
        Correlation of the letter R with the label in the shortcut's dose-response; 0 is the study itself, where half of
        the patients have one.
    suppressor
        Name of the network in the run given with ``--from``; None: the first of those the paper calls best.
    """

    size: Annotated[int, Field(ge=32)] = 128
    chest_mm: tuple[Positive, Positive, Positive] = (3.0, 6.0, 3.0)
    cell_mm: Positive = 3.0
    n_pretrain: Count = 48
    n_each: Annotated[int, Field(ge=2, multiple_of=2)] = 8
    n_cases: Count = 96
    least_dose: Share = 0.6
    doses: tuple[Share, ...] = (0.0, 0.3, 0.6, 0.9)
    suppressor: str | None = None

    @field_validator("doses")
    @classmethod
    def _with_none(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if 0.0 not in value or list(value) != sorted(set(value)):
            raise ValueError("rising doses, 0 first")
        return value


class TrainSection(Section):
    """Networks.

    Parameters
    ----------
    width
        Channels of VGG-16's first block; 64 as published.
    n_folds
        Of the cross-validation, by patient.
    pretrain_epochs, n_epochs, decoy_epochs
        For the normal or abnormal task, for each fold, and for each dose of the shortcut.
    batch_size, learning_rate, momentum, decay, optimiser
        ``"sgd"`` is the published one: Nesterov's momentum, the rate over 1 + decay times the number of steps.
    fine_rate
        Learning rate of the folds.
    validation
        Share of the patients that choose the best epoch, drawn from those that are not in the test fold.
    held
        Share of the pre-training patients that only measure it.
    dropout
        Before the dense layer.
    square, whole_epochs
        Pre-training sees pairs of one chest without and with a finding: squares of so many pixels around it, 0 for
        whole images, and whole images in so many last epochs.
    rotation, shift, flip
        Augmentation: largest angle [degree] and shift [share of the image], and mirroring.
    weights
        File of VGG-16's weights by torchvision's names to start from, such as those trained on ImageNet; None: random.
    precision
        Lightning's name of the numbers that networks are trained in.
    """

    width: Count = 16
    n_folds: Annotated[int, Field(ge=2)] = 2
    pretrain_epochs: Count = 48
    n_epochs: Count = 16
    decoy_epochs: Count = 10
    batch_size: Count = 16
    optimiser: Literal["sgd", "adam"] = "adam"
    learning_rate: Positive = 5e-4
    fine_rate: Positive = 2e-4
    momentum: Share = 0.9
    decay: Annotated[float, Field(ge=0)] = 1e-6
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.2
    held: Annotated[float, Field(gt=0, lt=1)] = 0.15
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3
    square: Annotated[int, Field(ge=0)] = 64
    whole_epochs: Count = 10
    rotation: float = 5.0
    shift: float = 0.05
    flip: bool = True
    weights: Path | None = None
    precision: str = "bf16-mixed"


class ScoreSection(Section):
    """Scores.

    Parameters
    ----------
    threshold
        Probability from which a case is called ill.
    neighbours
        Whose labels are asked for the separation of the features.
    perplexity
        Of the t-SNE picture.
    """

    threshold: Share = 0.5
    neighbours: Count = 5
    perplexity: Positive = 15.0


class ExplainSection(Section):
    """Explanations.

    Parameters
    ----------
    n_cases
        Ill test patients of the first fold that are explained; as many well ones are looked at for false boxes.
    n_pictured
        Of these, how many get pictures and a place in the report.
    methods
        As on the command line; CAMs take the last convolution.
    box_threshold
        Share of a map's maximum from which its parts become boxes.
    overlaps
        Intersections over union at which boxes count, for the mean average precision.
    """

    n_cases: Count = 10
    n_pictured: Count = 3
    methods: Methods = (
        "crm",
        "grad-cam",
        "grad-cam++@grad-cam-pp",
        "layer-cam",
        "random-cam",
        "lime:n_samples=200,n_segments=50",
        "integrated-gradients:n_steps=12",
    )
    box_threshold: Annotated[float, Field(gt=0, le=1)] = 0.2
    overlaps: tuple[Share, ...] = (0.1, 0.25, 0.5)


class WeighSection(Section):
    """Evidence.

    Parameters
    ----------
    n_null
        Surrogate maps in all.
    n_cases
        Explained patients whose maps are weighed, and that are rendered again for model truth.
    methods
        Whose maps are weighed; the others are measured by place alone.
    n_decoy, decoy_methods
        Test patients whose maps are made with and without the letter, and by which methods.
    """

    n_null: Count = 99
    n_cases: Count = 10
    methods: Methods = ("crm",)
    n_decoy: Count = 20
    decoy_methods: Methods = ("crm", "layer-cam", "random-cam", "integrated-gradients:n_steps=8")


class TuberculosisConfig(StudyConfig):
    """Settings of the study; a section for each act."""

    data: DataSection = DataSection()
    train: TrainSection = TrainSection()
    score: ScoreSection = ScoreSection()
    explain: ExplainSection = ExplainSection()
    weigh: WeighSection = WeighSection()


_MANY = (
    "crm", "grad-cam", "grad-cam++@grad-cam-pp", "layer-cam", "score-cam", "random-cam", "lime", "occlusion",
    "integrated-gradients",
)  # fmt: skip

SIZES: dict[str, TuberculosisConfig] = {
    "smoke": TuberculosisConfig(
        size="smoke",
        data=DataSection(
            size=64, chest_mm=(5.0, 10.0, 5.0), cell_mm=5.0, n_pretrain=6, n_each=4, n_cases=20, doses=(0.0, 0.9)
        ),
        train=TrainSection(
            width=4, pretrain_epochs=2, whole_epochs=1, square=32, n_epochs=2, decoy_epochs=2, precision="32-true"
        ),
        score=ScoreSection(perplexity=5.0),
        explain=ExplainSection(
            n_cases=2, n_pictured=1, methods=("crm", "grad-cam", "random-cam", "lime:n_samples=40,n_segments=12")
        ),
        weigh=WeighSection(n_null=9, n_cases=2, methods=("crm",), n_decoy=4, decoy_methods=("crm", "random-cam")),
    ),
    "default": TuberculosisConfig(),
    "reference": TuberculosisConfig(
        size="reference",
        data=DataSection(n_pretrain=120, n_cases=240),
        train=TrainSection(n_folds=4, pretrain_epochs=60, n_epochs=24, decoy_epochs=16),
        explain=ExplainSection(n_cases=24, n_pictured=4, methods=_MANY),
        weigh=WeighSection(n_cases=24, methods=("crm", "layer-cam", "lime", "integrated-gradients"), n_decoy=40),
    ),
    "paper": TuberculosisConfig(
        size="paper",
        data=DataSection(size=256, chest_mm=(2.0, 4.0, 2.0), cell_mm=2.0, n_pretrain=600, n_cases=662),
        train=TrainSection(
            width=64, n_folds=4, pretrain_epochs=32, n_epochs=32, decoy_epochs=32, optimiser="sgd", fine_rate=1e-3,
            learning_rate=1e-3, shift=0.2, held=0.1, validation=0.1, square=0, dropout=0.5,
            precision="32-true",
        ),
        explain=ExplainSection(n_cases=60, n_pictured=6, methods=_MANY),
        weigh=WeighSection(n_cases=60, n_decoy=80),
    ),
}  # fmt: skip
"""Settings by size. At ``paper``, 662 patients are the published number of Shenzhen's radiographs."""
