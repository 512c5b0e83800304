"""What the acts share: the slices to train and to test on, the livers, the networks."""

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from regard.models import Model
from regard.studies.ldct.config import LDCTConfig
from regard.studies.ldct.networks import train_denoiser
from regard.studies.ldct.phantoms import livers, phantom_slices
from regard.studies.ldct.slices import Liver, Slices
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
    def livers(self) -> list[Liver]:
        """Livers of the test patients, scanned again and again; none of real scans."""
        if "livers" not in self._kept:
            self._kept["livers"] = livers(self.run, self.config, self.test) if self.phantoms else []
        return self._kept["livers"]  # type: ignore[return-value]

    def model(self, name: str) -> Model:
        """A denoiser: trained, or read if it has been."""
        if name not in self._kept:
            self._kept[name] = train_denoiser(self.run, self.config, self.learn, name)
        return self._kept[name]  # type: ignore[return-value]

    def denoised(self, name: str, function: Callable[[Tensor], Tensor]) -> Tensor:
        """The test slices as a denoiser gives them (case, 1, row, column) [HU]."""
        found = self.run.tensors(f"score/{name}", lambda: {"images": function(self.test.low)})
        return found["images"]


def material_of(run: StudyRun, config: LDCTConfig) -> Material:
    """The data of a run: scanned, read from the user's folder, or read from its pieces."""
    return Material(run, config, phantom_slices(run, config, "train"), phantom_slices(run, config, "test"))
