"""How much is simulated, by size."""

from regard.studies.config import Count, Section, StudyConfig

__all__ = ["SIZES", "MetaConfig"]


class DataSection(Section):
    """Studies that are simulated where no table is given: so many of each modality."""

    n_studies: Count = 20


class ScoreSection(Section):
    """Columns by which studies are compared, where the table has them."""

    by: tuple[str, ...] = ("modality", "site", "algorithm", "type")


class WeighSection(Section):
    """Simulated meta-analyses of each number of studies, for the coverage of both models' intervals and regions."""

    n_simulated: Count = 200
    n_binomial: Count = 20
    n_studies: tuple[int, ...] = (5, 10, 30)


class MetaConfig(StudyConfig):
    """All settings."""

    data: DataSection = DataSection()
    score: ScoreSection = ScoreSection()
    weigh: WeighSection = WeighSection()


SIZES = {
    "smoke": MetaConfig(size="smoke", data=DataSection(n_studies=6), weigh=WeighSection(n_simulated=4, n_binomial=1)),
    "default": MetaConfig(size="default"),
    "reference": MetaConfig(size="reference", weigh=WeighSection(n_simulated=2000, n_binomial=400)),
    "paper": MetaConfig(
        size="paper", data=DataSection(n_studies=30), weigh=WeighSection(n_simulated=2000, n_binomial=400)
    ),
}
"""By name."""
