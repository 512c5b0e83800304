"""Settings of the study, for each size."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from regard.studies.config import Count, Methods, Positive, Section, Share, StudyConfig
from regard.training.similarity_loss import SCALES

__all__ = [
    "NETWORKS",
    "SIZES",
    "BoneSuppressionConfig",
    "DataSection",
    "ExplainSection",
    "ScoreSection",
    "TrainSection",
    "WeighSection",
]

NETWORKS = ("ae-bs", "convnet-bs", "rl-bs", "resnet-bs")
"""The paper's four, by their names in the zoo."""


class DataSection(Section):
    """Radiographs and their twins without bone.

    Parameters
    ----------
    size
        Pixels along each side; a multiple of 4.
    n_train, n_validation, n_test
        Chests to train on, to choose the best epoch on, and to measure on.
    n_each
        Radiographs of each chest to train and choose on, with other findings and views; of a test chest, one.
    saturated
        Share of the darkest and of the brightest pixels of a radiograph that become 0 and 1.
    prevalence
        Share of the radiographs with a finding.
    beam
        Of the phantom, ``"60 keV"`` or ``"polyenergetic"``.
    """

    size: Annotated[int, Field(ge=176, multiple_of=4)] = 256
    n_train: Count = 20
    n_validation: Count = 4
    n_test: Count = 12
    n_each: Count = 4
    saturated: Annotated[float, Field(ge=0, lt=0.5)] = 0.01
    prevalence: Share = 0.6
    beam: Literal["60 keV", "polyenergetic"] = "60 keV"


class TrainSection(Section):
    """Networks.

    Parameters
    ----------
    networks
        Some of the paper's four.
    resnet_width, resnet_blocks
        Of ResNet-BS; 64 and 16 as published.
    narrow
        Every width of ConvNet-BS and RL-BS divided by this; AE-BS is as published.
    crop
        Side of the random squares that networks are trained on [pixel]; as large as the image as published.
    scales
        Of MS-SSIM in the loss; 5 as published, which need crops of at least 176 pixels.
    n_epochs, batch_size, learning_rate
        Of Adam.
    patience, factor, min_rate
        Of the learning rate's plateau schedule.
    rotation, shift, zoom, flip, filters
        Augmentation: largest angle [degree], shift [share of the image], relative change of size, mirroring, and
        median, maximum, minimum and unsharp filters of pair and truth.
    precision
        Lightning's name of the number type.
    """

    networks: tuple[str, ...] = ("ae-bs", "resnet-bs")
    resnet_width: Count = 16
    resnet_blocks: Count = 4
    narrow: Count = 1
    crop: Annotated[int, Field(ge=16, multiple_of=4)] = 176
    scales: Annotated[int, Field(ge=1, le=len(SCALES))] = 5
    n_epochs: Count = 12
    batch_size: Count = 4
    learning_rate: Positive = 1e-3
    patience: Count = 10
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    min_rate: Annotated[float, Field(ge=0)] = 1e-5
    rotation: float = 10.0
    shift: float = 0.02
    zoom: float = 0.05
    flip: bool = True
    filters: bool = True
    precision: Literal["32-true", "bf16-mixed"] = "bf16-mixed"

    @field_validator("networks")
    @classmethod
    def _known_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or set(value) - set(NETWORKS) or len(set(value)) < len(value):
            raise ValueError(f"some of {', '.join(NETWORKS)}, each once")
        return value

    @model_validator(mode="after")
    def _enough_pixels(self) -> "TrainSection":
        least = 11 * 2 ** (self.scales - 1)
        if self.crop < least:
            raise ValueError(f"a crop of at least {least} pixels for {self.scales} scales")
        return self


class ScoreSection(Section):
    """Scores.

    Parameters
    ----------
    bins
        Of the histograms that are compared.
    filter_width
        Side of the linear filter that is fitted as a classical baseline [pixel]; odd.
    filter_pixels
        Pixels that it is fitted on.
    """

    bins: Count = 64
    filter_width: Annotated[int, Field(ge=3, le=41)] = 15
    filter_pixels: Count = 60_000


class ExplainSection(Section):
    """Explanations of the best network: which input made a part of the output.

    Parameters
    ----------
    n_cases
        Test radiographs whose maps are kept.
    n_pictured
        Of these, how many get pictures and a place in the report.
    methods
        As on the command line. LAM explains the edges of the region, the others its mean.
    region
        Side of the square that is explained where no finding is known; of a finding, the part in a square of twice
        this [pixel].
    """

    n_cases: Count = 3
    n_pictured: Count = 3
    methods: Methods = (
        "lam:sigma=6,n_steps=24",
        "integrated-gradients:n_steps=24",
        "occlusion:window=16,stride=8",
    )
    region: Count = 16


class WeighSection(Section):
    """Evidence.

    Parameters
    ----------
    n_null
        Surrogate maps in all.
    n_cases
        Test radiographs whose maps are weighed, on the square around the region.
    """

    n_null: Count = 90
    n_cases: Count = 10


class BoneSuppressionConfig(StudyConfig):
    """Settings of the study; a section for each act."""

    data: DataSection = DataSection()
    train: TrainSection = TrainSection()
    score: ScoreSection = ScoreSection()
    explain: ExplainSection = ExplainSection()
    weigh: WeighSection = WeighSection()

    @model_validator(mode="after")
    def _crop_fits(self) -> "BoneSuppressionConfig":
        if self.train.crop > self.data.size:
            raise ValueError(f"train.crop of at most data.size = {self.data.size}")
        return self


SIZES: dict[str, BoneSuppressionConfig] = {
    "smoke": BoneSuppressionConfig(
        size="smoke",
        data=DataSection(size=176, n_train=2, n_validation=1, n_test=2, n_each=2),
        train=TrainSection(narrow=4, resnet_width=8, resnet_blocks=1, n_epochs=1),
        score=ScoreSection(filter_width=7, filter_pixels=4000),
        explain=ExplainSection(n_cases=1, n_pictured=1, methods=("lam:n_steps=4", "gradient")),
        weigh=WeighSection(n_null=9, n_cases=1),
    ),
    "default": BoneSuppressionConfig(),
    "reference": BoneSuppressionConfig(
        size="reference",
        data=DataSection(n_train=60, n_validation=8, n_test=30),
        train=TrainSection(networks=NETWORKS, resnet_width=32, resnet_blocks=8, narrow=4, n_epochs=16),
        score=ScoreSection(filter_width=21, filter_pixels=200_000),
        explain=ExplainSection(n_cases=8, n_pictured=4),
        weigh=WeighSection(n_null=99, n_cases=20),
    ),
    "paper": BoneSuppressionConfig(
        size="paper",
        data=DataSection(n_train=222, n_validation=25, n_test=60, n_each=1),
        train=TrainSection(
            networks=NETWORKS, resnet_width=64, resnet_blocks=16, crop=256, n_epochs=200, batch_size=8,
            precision="32-true",
        ),
        explain=ExplainSection(n_cases=40, n_pictured=6),
        weigh=WeighSection(n_null=199, n_cases=40),
    ),
}  # fmt: skip
"""Settings by size."""
