"""How much of a map lies on what the label does not depend on, but a network may use."""

from typing import ClassVar

from regard.evidence.measure import Direction, Exhibit, Measured
from regard.evidence.rightness.places import AbstractRight, places_of

__all__ = ["DecoyShare"]


class DecoyShare(AbstractRight):
    """Share of |relevance| on the decoy, 0 to 1; the decoy's share of the voxels by chance.

    Against data truth lower is better. Where the network itself uses the decoy, a faithful map shows it: read the
    figure beside the decoy's true effect on the output. Places of the core that are also decoy count as core.
    """

    direction: ClassVar[Direction] = "lower"

    def measure(self, exhibit: Exhibit) -> Measured:
        places = places_of(exhibit)
        if exhibit.blank:
            return Measured.undefined("the map is zero everywhere")
        if places.decoy is None or not bool(places.decoy.any()):
            return Measured.undefined("a truth without a decoy")
        seen = places.counted | places.decoy
        decoy = (places.decoy & ~places.core)[seen]
        size = exhibit.relevance[0, 0].detach().double().cpu().abs()[seen]
        if not bool(size.any()):
            return Measured.undefined("the map is zero wherever a voxel counts")
        share = float(size[decoy].sum() / size.sum())
        return Measured(share, "1", {"by chance": float(decoy.double().mean())})
