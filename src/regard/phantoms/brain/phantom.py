"""A cohort of simulated brains, with factors between 0 and 1 for `regard.phantoms.truth`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from regard.core.errors import UnknownNameError
from regard.phantoms.brain.ageing import AGES, STRUCTURES
from regard.phantoms.brain.lattice import Lattice
from regard.phantoms.brain.render import Brain, Head, Space, lattice_of, render_brain
from regard.phantoms.brain.subject import SCANNERS, Scanner, Subject, draw_subject

__all__ = ["BrainPhantom", "share_of_ages", "years"]


def share_of_ages(age: float) -> float:
    """Structure age [year] as a factor: 0 at the youngest and 1 at the oldest of `AGES`."""
    return (age - AGES[0]) / (AGES[1] - AGES[0])


def years(share: float) -> float:
    """The structure age [year] of a factor."""
    return AGES[0] + (AGES[1] - AGES[0]) * share


@dataclass(frozen=True)
class BrainPhantom:
    """Generator of brains of known structure ages.

    Parameters
    ----------
    spacing_mm
        Voxel size [mm].
    doses
        How strongly each structure follows its age; 1 where not given, and 0 for a structure that does not age.
    deviation
        Standard deviation of a structure's age about the subject's [year].
    decoy
        Correlation of the decoy's intensity with the age, 0 to 1; None: there is none.
    space, head
        Where the images lie, and what is around the brain: see `render_brain`.
    ages
        Youngest and oldest subject [year].
    scanners
        One is drawn for each subject.
    warp
        Size of each subject's own deformation, relative to the default.
    """

    spacing_mm: float = 4.0
    doses: Mapping[str, float] = field(default_factory=dict)
    deviation: float = 4.0
    decoy: float | None = None
    space: Space = "affine"
    head: Head = "stripped"
    ages: tuple[float, float] = AGES
    scanners: Sequence[Scanner] = SCANNERS
    warp: float = 1.0

    @property
    def unit(self) -> str:
        """Unit of the label."""
        return "year"

    @property
    def lattice(self) -> Lattice:
        """Where the voxels of every image lie."""
        return lattice_of(self.spacing_mm, self.space, self.head)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels of every image."""
        return self.lattice.shape

    @property
    def causes(self) -> tuple[str, ...]:
        """Structures that age."""
        return tuple(s for s in STRUCTURES if self.doses.get(s, 1.0) != 0)

    @property
    def decoys(self) -> tuple[str, ...]:
        """The decoy, where there is one."""
        return () if self.decoy is None else ("decoy",)

    @property
    def factors(self) -> tuple[str, ...]:
        """Factors with places of their own: structures that age, then the decoy."""
        return (*self.causes, *self.decoys)

    def drawn(self, number: int, *, seed: int = 0) -> Subject:
        """A subject, not yet rendered."""
        return draw_subject(
            seed,
            number,
            ages=self.ages,
            doses=self.doses,
            deviation=self.deviation,
            decoy=self.decoy,
            scanners=self.scanners,
            warp=self.warp,
        )

    def draw(self, number: int, *, seed: int = 0) -> dict[str, float]:
        """Factors of a subject: its structure ages as shares of `AGES`, and its decoy; they may leave [0, 1]."""
        subject = self.drawn(number, seed=seed)
        found = {s: share_of_ages(subject.structure_ages[s]) for s in self.causes}
        return found if subject.decoy is None else {**found, "decoy": subject.decoy}

    def subject(self, number: int, *, seed: int = 0, factors: Mapping[str, float] | None = None) -> Brain:
        """Render one subject.

        Parameters
        ----------
        number, seed
            Which subject, which cohort.
        factors
            These replace the drawn ones, on the scale of `draw`; everything else, noise included, stays.

        Raises
        ------
        UnknownNameError
            If the phantom has no such factor.
        """
        for name in factors or {}:
            if name not in self.factors:
                raise UnknownNameError.suggest("factor", name, self.factors)
        changed = {name: v if name == "decoy" else years(v) for name, v in (factors or {}).items()}
        subject = self.drawn(number, seed=seed)
        return render_brain(subject, self.spacing_mm, factors=changed, space=self.space, head=self.head)

    def cohort(self, n: int, *, seed: int = 0, first: int = 0) -> Iterator[Brain]:
        """Render subjects ``first`` to ``first + n - 1``, one after the other."""
        for number in range(first, first + n):
            yield self.subject(number, seed=seed)
