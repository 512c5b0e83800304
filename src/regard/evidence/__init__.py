"""Is it true? Measures of an explanation."""

from regard.core.registry import Registry

__all__ = ["MEASURES"]

MEASURES = Registry(
    "measure",
    "regard.measures",
    {
        "relevance-mass": ("regard.evidence.localisation:relevance_mass", "share of the relevance inside the truth"),
        "relevance-rank": ("regard.evidence.localisation:relevance_rank", "share of the truth among the K largest"),
        "average-precision": ("regard.evidence.localisation:average_precision", "area under precision and recall"),
        "pointing-game": ("regard.evidence.localisation:pointing_game", "whether the largest value lies in the truth"),
    },
)
"""Name to function and one line."""
