"""How large a benchmark is, and what it compares."""

from dataclasses import dataclass
from typing import Any

from regard.bench.question import Question, question_of
from regard.core.errors import UnknownNameError
from regard.evidence import MEASURES
from regard.explainers.spec import parse_methods
from regard.phantoms import PHANTOMS
from regard.phantoms.planted import PlantedPhantom

__all__ = ["CONTROLS", "SIZES", "SIZE_NAMES", "BenchPlan"]

SIZE_NAMES = ("smoke", "default", "reference", "paper")

CONTROLS = ("random-cam", "edges", "image", "smooth surrogate")
"""Maps that know nothing of the network, or of its weights."""

_FEW = ("gradient", "integrated-gradients", "grad-ram", "occlusion:window=6,stride=3")
_MANY = (
    "gradient",
    "input-x-gradient",
    "smoothgrad",
    "integrated-gradients",
    "guided-backpropagation",
    "grad-ram",
    "grad-ramp",
    "layer-cam",
    "crm",
    "occlusion:window=6,stride=2",
    "rise",
    "lime",
)
_MEASURES = ("average-precision", "relevance-mass", "relevance-rank", "pointing-game")
_NUMBERS = (
    "linear",
    "small",
    "large",
    "rod",
    "cluster",
    "multiplicative",
    "volume",
    "thickness",
    "texture",
    "suppressor",
)
_CLASSES = ("linear-classes", "product-classes")
_IMAGES = ("denoising", "correction")
_DOSES = ("decoy-0", "decoy-0.3", "decoy-0.6", "decoy-0.9")


@dataclass(frozen=True)
class BenchPlan:
    """What is compared, and how much is trained and explained.

    Parameters
    ----------
    size
        Its name.
    methods
        As on the command line.
    measures, phantoms
        Registered names.
    shape
        Voxels of the images (\\*space).
    n_networks
        Networks of each phantom, each with a seed and a draw of training data of its own.
    n_train, n_test, n_explained
        Subjects to train on, to test on, and of these to explain; all networks of a phantom are tested on the same.
    n_epochs
        Of the training.
    seed
        Of everything.
    controls
        Of `CONTROLS`.

    Raises
    ------
    UnknownNameError
        If there is no such method, measure or phantom.
    """

    size: str
    methods: tuple[str, ...] = _MANY
    measures: tuple[str, ...] = _MEASURES
    phantoms: tuple[str, ...] = _NUMBERS + _CLASSES + _IMAGES + _DOSES
    shape: tuple[int, ...] = (48, 48)
    n_networks: int = 2
    n_train: int = 256
    n_test: int = 64
    n_explained: int = 12
    n_epochs: int = 20
    seed: int = 0
    controls: tuple[str, ...] = CONTROLS

    def __post_init__(self) -> None:
        parse_methods(self.methods)
        for name in self.measures:
            if name not in MEASURES:
                raise UnknownNameError.suggest(MEASURES.kind, name, MEASURES.names())
        self._check_phantoms()

    def _check_phantoms(self) -> None:
        for name in self.phantoms:
            if name not in PHANTOMS:
                raise UnknownNameError.suggest(PHANTOMS.kind, name, PHANTOMS.names())

    @property
    def labels(self) -> list[str]:
        """What the methods are called in tables, then the controls."""
        labels = [spec.label for spec in parse_methods(self.methods)]
        return labels + [c for c in self.controls if c not in labels]

    @property
    def cells(self) -> list[tuple[str, int]]:
        """Pairs of phantom and number of the network."""
        return [(phantom, n) for phantom in self.phantoms for n in range(self.n_networks)]

    @property
    def test_seed(self) -> int:
        """Seed of the subjects that all networks are tested on."""
        return 1000 * (self.seed + 1) - 1

    def train_seed(self, network: int) -> int:
        """Seed of a network's weights and of its training subjects."""
        return 1000 * (self.seed + 1) + network

    def phantom(self, name: str) -> PlantedPhantom:
        """The phantom registered as ``name``, in this plan's shape."""
        return PHANTOMS.load(name)(self.shape)  # type: ignore[no-any-return]

    def question(self, name: str) -> Question:
        """What is asked of the networks of a phantom."""
        return question_of(self.phantom(name))

    @property
    def n_test_patients(self) -> int:
        """Patients behind the test images."""
        return self.n_test

    @property
    def kind(self) -> str:
        """What the images are, in a word or two."""
        return "phantoms"

    @property
    def about(self) -> str:
        """What the images are, in words."""
        return "phantoms whose truth is known, and small networks trained on them"

    @property
    def recorded(self) -> dict[str, Any]:
        """The settings, as a run keeps them; all controls go without saying, as in runs of earlier versions."""
        return {k: v for k, v in vars(self).items() if k != "controls" or v != CONTROLS}


SIZES = {
    "smoke": BenchPlan(
        "smoke",
        methods=_FEW,
        phantoms=("linear", "linear-classes", "denoising", "decoy-0", "decoy-0.9"),
        shape=(32, 32),
        n_networks=1,
        n_train=96,
        n_test=24,
        n_explained=20,
        n_epochs=15,
    ),
    "default": BenchPlan("default"),
    "reference": BenchPlan("reference", n_networks=5, n_train=512, n_test=128, n_explained=20, n_epochs=25),
    "paper": BenchPlan("paper", shape=(64, 64), n_networks=10, n_train=4000, n_test=500, n_explained=100, n_epochs=40),
}
"""Plans by name."""
