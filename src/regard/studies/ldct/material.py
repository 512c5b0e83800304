"""What the acts share: the slices to train and to test on, the livers, the networks."""

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from regard.core.errors import FolderError
from regard.explainers.generative.sampler import Sampler
from regard.models import Model
from regard.studies.ldct.config import LDCTConfig
from regard.studies.ldct.networks import train_denoiser, train_sampler
from regard.studies.ldct.pairs import pair_scenes, pair_slices
from regard.studies.ldct.phantoms import livers, phantom_slices, scenes
from regard.studies.ldct.slices import Repeated, Scene, Slices
from regard.studies.run import StudyRun

__all__ = ["Material", "material_of"]


@dataclass(eq=False)
class Material:
    """Data and networks of a run, made when first asked for.

    Parameters
    ----------
    run, config
        The study.
    learn, test
        Slices to train on, and to measure on.
    """

    run: StudyRun
    config: LDCTConfig
    learn: Slices
    test: Slices
    _kept: dict[str, object] = field(default_factory=dict)

    @property
    def phantoms(self) -> bool:
        """Whether the truth is known."""
        return self.run.data is None

    @property
    def livers(self) -> list[Repeated]:
        """Livers of the test patients, scanned again and again; none of real scans."""
        if "livers" not in self._kept:
            self._kept["livers"] = livers(self.run, self.config, self.test) if self.phantoms else []
        return self._kept["livers"]  # type: ignore[return-value]

    @property
    def scenes(self) -> list[Scene]:
        """Patches whose invariances are sought."""
        if "scenes" not in self._kept:
            self._kept["scenes"] = (
                scenes(self.run, self.config, self.test) if self.phantoms else pair_scenes(self.config, self.test)
            )
        return self._kept["scenes"]  # type: ignore[return-value]

    def model(self, name: str) -> Model:
        """A denoiser: trained, or read if it has been."""
        if name not in self._kept:
            self._kept[name] = train_denoiser(self.run, self.config, self.learn, name)
        return self._kept[name]  # type: ignore[return-value]

    def sampler(self) -> Sampler | None:
        """The sampler of one denoiser's invariances: trained, or read if it has been; None where none is wanted."""
        name = self.config.explain.sampler
        if name is None or name not in self.config.train.networks:
            return None
        if "sampler" not in self._kept:
            self._kept["sampler"] = train_sampler(self.run, self.config, self.learn, self.model(name))
        return self._kept["sampler"]  # type: ignore[return-value]

    def denoised(self, name: str, function: Callable[[Tensor], Tensor]) -> Tensor:
        """The test slices as a denoiser gives them (case, 1, row, column) [HU]."""
        found = self.run.tensors(f"score/{name}", lambda: {"images": function(self.test.low)})
        return found["images"]

    def kept_image(self, name: str, number: int) -> Tensor:
        """One test slice as a denoiser gave it when it was scored (1, row, column) [HU]."""

        def missing() -> dict[str, Tensor]:
            raise FolderError(f"no scored images of '{name}'", "the act score done", "run it")

        return self.run.tensors(f"score/{name}", missing)["images"][number]


def material_of(run: StudyRun, config: LDCTConfig) -> Material:
    """The data of a run: scanned, read from the user's folder, or read from its pieces."""
    if run.data is not None:
        return Material(run, config, *pair_slices(run, config))
    return Material(run, config, phantom_slices(run, config, "train"), phantom_slices(run, config, "test"))
