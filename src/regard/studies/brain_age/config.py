"""Settings of the study, for each size."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from regard.studies.config import Count, Methods, Positive, Section, Share, StudyConfig

__all__ = [
    "BrainAgeConfig",
    "DataSection",
    "DosesSection",
    "ExplainSection",
    "NETWORKS",
    "NoiseSection",
    "PatchSection",
    "SIZES",
    "ScoreSection",
    "TrainSection",
    "UNoiseSection",
    "WeighSection",
]

NETWORKS = {
    "sfcn": "SFCN, plain regression",
    "sfcn-bins": "SFCN, soft bins of age",
    "resnet18": "3D ResNet-18",
}
"""Networks of the study, and what they are."""

_Some = Annotated[int, Field(ge=0)]


class DosesSection(Section):
    """How strongly each structure ages: 0 not at all, 1 as the phantom's rates say."""

    ventricles: Share = 1.0
    hippocampi: Share = 1.0
    cortex: Share = 1.0
    lesions: Share = 1.0


class DataSection(Section):
    """Images and labels.

    Parameters
    ----------
    spacing_mm
        Voxel size of the networks' input.
    space
        ``"affine"``: on the template's grid after the affine registration; ``"warped"``: after the deformation was
        undone too, with the logarithm of the Jacobian as a second channel.
    doses
        How strongly each structure ages.
    deviation
        Standard deviation of a structure's age about the subject's [year].
    n_train, n_calibration, n_test
        Subjects: to train and choose on, to fit the correction of the age gap on, and to measure on.
    n_nothing
        Subjects to train on of a cohort in which nothing ages, and a third as many to measure on; 0: none.
    """

    spacing_mm: Positive = 4.0
    space: Literal["affine", "warped"] = "affine"
    doses: DosesSection = DosesSection()
    deviation: Annotated[float, Field(ge=0)] = 4.0
    n_train: Count = 240
    n_calibration: Count = 24
    n_test: Count = 40
    n_nothing: _Some = 30


class NoiseSection(Section):
    """The noise model that is trained on the cohort, and the noise of the maps found image by image.

    Parameters
    ----------
    zoo
        Its network; ``""``: none is trained.
    family, strength, s_max, scales
        Of the noise, for both; see `regard.explainers.learned.noise_map.NoiseMap`. Scales are in voxels.
    n_cases
        Training subjects that it is trained on.
    n_epochs, batch_size, learning_rate
        Of the training.
    """

    zoo: str = "unoise-tiny"
    family: str = "gaussian"
    strength: Positive = 0.1
    s_max: Positive = 0.2
    scales: tuple[Count, ...] = (1, 2, 4)
    n_cases: Count = 60
    n_epochs: Count = 4
    batch_size: Count = 8
    learning_rate: Positive = 3e-3


class PatchSection(Section):
    """The patch-based predecessor: a small network for each place, whose error is a coarse map.

    Parameters
    ----------
    size, step
        Of a patch, and between two of them [voxels]; a size of 0: none is trained.
    n_epochs, width
        Of each network.
    """

    size: _Some = 0
    step: Count = 8
    n_epochs: Count = 12
    width: Count = 8


class UNoiseSection(Section):
    """U-Noise for segmentation: a network that outlines the ventricles on axial slices, and what noise that bears.

    Only for phantoms: a user's table has no outlines.

    Parameters
    ----------
    zoos
        Noise models that are trained; none: all of this is left out.
    segmenter
        Network that outlines, of the zoo.
    spacing_mm, planes_mm
        Size of a pixel, and heights of the slices in MNI152 space.
    n_train, n_test
        Subjects to train on and to measure on, of the study's own; at most as many as there are.
    s_min, s_max, strength
        Of the noise, see `regard.training.noising.NoiseSettings`, and lambda.
    published
        Whether the first noise model is trained a second time, with the strengths of the paper: s_min 1 and s_max 5.
    segmenter_epochs, n_epochs, batch_size, learning_rate
        Of the trainings: of the network, of each noise model, and of both.
    n_draws
        Fresh draws of noise that a segmentation is measured under.
    """

    zoos: tuple[Literal["unoise-tiny", "unoise-small", "unoise-medium", "unoise-large"], ...] = ()
    segmenter: str = "unoise-large"
    spacing_mm: Positive = 3.0
    planes_mm: tuple[float, ...] = Field(default=(9.0, 21.0), min_length=1)
    n_train: Count = 120
    n_test: Count = 40
    s_min: Annotated[float, Field(ge=0)] = 0.0
    s_max: Positive = 1.0
    strength: Positive = 1e-3
    published: bool = False
    segmenter_epochs: Count = 12
    n_epochs: Count = 10
    batch_size: Count = 8
    learning_rate: Positive = 3e-3
    n_draws: Count = 2


class TrainSection(Section):
    """Networks.

    Parameters
    ----------
    networks
        Which are trained; the first one is explained.
    n_members
        Trainings of the first network, each with a split of its own.
    widths
        Channels of the SFCN's blocks.
    bin_years
        Width of the soft bins of age.
    resnet_widen
        Channels of the ResNet-18, relative to the published ones.
    n_epochs, batch_size, learning_rate
        As usual; Adam, the rate falls along half a cosine.
    validation
        Share of the training subjects that choose the best epoch.
    mirror
        Whether left and right are exchanged at random.
    noise, patches, unoise
        Of the noise model, of the patch-based networks, and of U-Noise for segmentation.
    """

    networks: tuple[Literal["sfcn", "sfcn-bins", "resnet18"], ...] = ("sfcn",)
    n_members: Count = 1
    widths: tuple[Count, ...] = (8, 16, 32, 32, 16)
    bin_years: Positive = 2.0
    resnet_widen: Positive = 0.25
    n_epochs: Count = 36
    batch_size: Count = 8
    learning_rate: Positive = 1e-2
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.15
    mirror: bool = True
    noise: NoiseSection = NoiseSection()
    patches: PatchSection = PatchSection()
    unoise: UNoiseSection = UNoiseSection()

    @field_validator("networks")
    @classmethod
    def _some(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or len(set(value)) < len(value):
            raise ValueError("at least one, each once")
        return value


class ScoreSection(Section):
    """Scores.

    Parameters
    ----------
    penalty
        Of the ridge regressions that need no network, in cases.
    """

    penalty: Positive = 1.0


class ExplainSection(Section):
    """Explanations.

    Parameters
    ----------
    n_cases
        Test subjects that are explained.
    n_pictured
        Of these, how many get pictures and a place in the report.
    methods
        As on the command line; ``noise-map`` without its noise settings takes those of ``train.noise``, and the learned
        one is added where it was trained.
    n_extent, strengths
        Cases and lambdas of the curve of the map's extent.
    null
        What regions are compared with.
    """

    n_cases: Count = 12
    n_pictured: Count = 2
    methods: Methods = (
        "noise-map:cell=2,n_steps=30,n_draws=1",
        "noise-map:cell=2,n_steps=30,n_draws=1,family=correlated,s_max=0.5@noise-map-correlated",
        "grad-ram",
        "integrated-gradients:n_steps=16",
        "smoothgrad:n_samples=8",
        "occlusion:window=6,stride=4,filler=blur",
    )
    n_extent: _Some = 1
    strengths: tuple[Positive, ...] = (0.003, 0.03, 0.3, 3.0)
    null: Literal["surrogate", "randomised"] = "surrogate"


class WeighSection(Section):
    """Evidence.

    Parameters
    ----------
    faithful
        Whether faithfulness is measured by deletion too, of each map and all its controls: most of the time.
    randomised
        Whether every method also explains a network with drawn weights, as a control.
    n_null
        Surrogate maps in all.
    n_truth
        Explained subjects that are rendered again for model truth.
    n_effects
        Subjects that the planted effect of each region is averaged over.
    n_uses
        Explained subjects on which every network is asked what it uses, voxel by voxel; 0: none.
    """

    faithful: bool = False
    randomised: bool = False
    n_null: Count = 99
    n_truth: Count = 10
    n_effects: Count = 4
    n_uses: _Some = 10


class BrainAgeConfig(StudyConfig):
    """Settings of the study; a section for each act."""

    data: DataSection = DataSection()
    train: TrainSection = TrainSection()
    score: ScoreSection = ScoreSection()
    explain: ExplainSection = ExplainSection()
    weigh: WeighSection = WeighSection()


SIZES: dict[str, BrainAgeConfig] = {
    "smoke": BrainAgeConfig(
        size="smoke",
        data=DataSection(
            spacing_mm=8.0,
            doses=DosesSection(cortex=0.0, lesions=0.0),
            n_train=24,
            n_calibration=6,
            n_test=10,
            n_nothing=9,
        ),
        train=TrainSection(
            networks=("sfcn", "sfcn-bins"),
            widths=(4, 8, 8),
            n_epochs=3,
            noise=NoiseSection(n_cases=12, n_epochs=1, scales=(1, 2)),
            unoise=UNoiseSection(
                zoos=("unoise-tiny",),
                segmenter="unoise-tiny",
                spacing_mm=4.0,
                n_train=4,
                n_test=3,
                segmenter_epochs=2,
                n_epochs=1,
                n_draws=1,
            ),
        ),
        explain=ExplainSection(
            n_cases=4,
            n_pictured=1,
            methods=(
                "noise-map:n_steps=6,n_draws=1",
                "grad-ram",
                "integrated-gradients:n_steps=4",
                "smoothgrad:n_samples=2",
                "occlusion:window=6,stride=6,filler=blur",
            ),
            n_extent=1,
            strengths=(0.01, 1.0),
        ),
        weigh=WeighSection(faithful=True, randomised=True, n_null=9, n_truth=2, n_effects=1, n_uses=2),
    ),
    "default": BrainAgeConfig(),
    "reference": BrainAgeConfig(
        size="reference",
        data=DataSection(n_train=400, n_calibration=48, n_test=1000, n_nothing=60),
        train=TrainSection(
            networks=("sfcn", "sfcn-bins", "resnet18"),
            n_members=5,
            noise=NoiseSection(n_cases=250, n_epochs=8),
            patches=PatchSection(size=8),
            unoise=UNoiseSection(zoos=("unoise-small", "unoise-medium", "unoise-large"), published=True),
        ),
        explain=ExplainSection(
            n_cases=40,
            n_pictured=3,
            methods=(
                "noise-map:cell=2,n_steps=60,n_draws=1",
                "noise-map:cell=2,n_steps=60,n_draws=1,family=correlated,s_max=0.5@noise-map-correlated",
                "grad-ram",
                "integrated-gradients:n_steps=24",
                "smoothgrad:n_samples=16",
                "occlusion:window=6,stride=3,filler=blur",
            ),
            n_extent=4,
            strengths=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0),
        ),
        weigh=WeighSection(randomised=True, n_truth=20, n_effects=8, n_uses=20),
    ),
    "paper": BrainAgeConfig(
        size="paper",
        data=DataSection(spacing_mm=1.0, n_train=11000, n_calibration=1375, n_test=1375, n_nothing=900),
        train=TrainSection(
            networks=("resnet18", "sfcn-bins", "sfcn"),
            n_members=5,
            widths=(32, 64, 128, 256, 256, 64),
            bin_years=1.0,
            resnet_widen=1.0,
            n_epochs=100,
            learning_rate=1e-3,
            noise=NoiseSection(zoo="unoise-large", n_cases=11000, n_epochs=50, scales=(2, 4, 8)),
            patches=PatchSection(size=32, step=32, n_epochs=40, width=16),
            unoise=UNoiseSection(
                zoos=("unoise-small", "unoise-medium", "unoise-large"),
                segmenter="unoise-utility",
                spacing_mm=1.0,
                planes_mm=(3.0, 7.0, 11.0, 15.0, 19.0, 23.0),
                n_train=1000,
                n_test=1375,
                published=True,
                segmenter_epochs=100,
                n_epochs=100,
                n_draws=4,
            ),
        ),
        explain=ExplainSection(
            n_cases=1375,
            n_pictured=6,
            methods=(
                "noise-map:cell=4,n_steps=100,n_draws=2",
                "noise-map:cell=4,n_steps=100,n_draws=2,family=correlated,s_max=0.5@noise-map-correlated",
                "grad-ram",
                "integrated-gradients:n_steps=50",
                "smoothgrad:n_samples=50",
                "occlusion:window=16,stride=8,filler=blur",
            ),
            n_extent=16,
            strengths=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0),
        ),
        weigh=WeighSection(faithful=True, randomised=True, n_truth=100, n_effects=16, n_uses=100),
    ),
}
"""Settings by size. At ``paper`` all subjects together are the published 13,750."""
