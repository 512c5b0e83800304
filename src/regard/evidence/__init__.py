"""Is it true? Measures of an explanation."""

from regard.core.registry import Registry

__all__ = ["MEASURES"]

_FAITHFUL = "regard.evidence.faithfulness"
_SANE = "regard.evidence.sanity"
_STABLE = "regard.evidence.stability"
_RIGHT = "regard.evidence.rightness"

MEASURES = Registry(
    "measure",
    "regard.measures",
    {
        "deletion": (
            f"{_FAITHFUL}.deletion_insertion:Deletion",
            "how the output falls as the map says places are taken away",
            "spread or output",
            "higher",
        ),
        "insertion": (
            f"{_FAITHFUL}.deletion_insertion:Insertion",
            "how the output rises as the map says places are put back",
            "spread or output",
            "higher",
        ),
        "infidelity": (
            f"{_FAITHFUL}.infidelity:Infidelity",
            "squared error of what the map says a random change does",
            "spread² or output²",
            "lower",
        ),
        "infidelity-scaled": (
            f"{_FAITHFUL}.infidelity:ScaledInfidelity",
            "share of random changes that no multiple of the map explains",
            "1",
            "lower",
        ),
        "sensitivity-n": (
            f"{_FAITHFUL}.sensitivity_n:SensitivityN",
            "correlation of the map's sums with what taking places away does",
            "1",
            "higher",
        ),
        "completeness-error": (
            f"{_FAITHFUL}.completeness:CompletenessError",
            "what the sum of contributions misses of f(x) - f(reference)",
            "1",
            "lower",
        ),
        "cascading-randomisation": (
            f"{_SANE}.randomisation:CascadingRandomisation",
            "likeness to the map of a network with all weights redrawn, beyond surrogates",
            "1",
            "lower",
        ),
        "independent-randomisation": (
            f"{_SANE}.randomisation:IndependentRandomisation",
            "likeness to the maps of networks with one layer redrawn, beyond surrogates",
            "1",
            "lower",
        ),
        "randomised-similarity": (
            f"{_SANE}.resemblance:RandomisedSimilarity",
            "rank correlation with the maps of networks whose weights are all redrawn",
            "1",
            "lower",
        ),
        "noise-stability": (
            f"{_STABLE}.noise:NoiseStability",
            "how far the map moves under noise of the image's own level",
            "1",
            "lower",
        ),
        "shift-stability": (
            f"{_STABLE}.shift:ShiftStability",
            "how far the map is from going along with half a voxel's shift",
            "1",
            "lower",
        ),
        "resampling-stability": (
            f"{_STABLE}.shift:ResamplingStability",
            "how far the map moves when the image comes from a coarser grid",
            "1",
            "lower",
        ),
        "max-sensitivity": (
            f"{_STABLE}.max_sensitivity:MaxSensitivity",
            "the furthest that the map moves for a small change of the image",
            "1",
            "lower",
        ),
        "relevance-mass": (f"{_RIGHT}.inside:RelevanceMass", "share of the relevance inside the truth", "1", "higher"),
        "relevance-rank": (
            f"{_RIGHT}.inside:RelevanceRank",
            "share of the truth among the K largest",
            "1",
            "higher",
        ),
        "average-precision": (
            f"{_RIGHT}.inside:AveragePrecision",
            "area under precision and recall",
            "1",
            "higher",
        ),
        "pointing-game": (
            f"{_RIGHT}.inside:PointingGame",
            "whether the largest value lies in the truth",
            "1",
            "higher",
        ),
        "overlap": (f"{_RIGHT}.inside:Overlap", "overlap with the truth at equal size", "1", "higher"),
        "distance": (
            f"{_RIGHT}.distance:Distance",
            "mean distance of the relevance from the truth",
            "mm or voxel",
            "lower",
        ),
        "decoy-share": (f"{_RIGHT}.decoy:DecoyShare", "share of the relevance on a decoy", "1", "lower"),
        "agreement": ("regard.evidence.agreement:Agreement", "rank correlation with other maps", "1", "higher"),
        "gini": ("regard.evidence.complexity:Gini", "how few places the map names", "1", "higher"),
        "entropy": ("regard.evidence.complexity:Entropy", "over how many places the map spreads", "nat", "lower"),
    },
)
"""Name to class, one line, unit and direction."""
