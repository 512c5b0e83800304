"""What a map's numbers are, which way its sign reads, and what a method promises."""

from enum import StrEnum

__all__ = ["Promise", "Quantity", "Sign"]


class Quantity(StrEnum):
    """What the numbers of a map are; unit, sums and the way home to the scan's grid follow from it."""

    CONTRIBUTION = "contribution"
    """Output units; sums over regions mean something; carried home by the adjoint, so that the total is kept."""

    SENSITIVITY = "sensitivity"
    """Output units per unit of intensity; interpolated home."""

    EFFECT = "effect"
    """Output units, for a stated window and filler; overlapping, so sums mean nothing; interpolated home."""

    SCORE = "score"
    """A method's own number; only shares can be compared; interpolated home."""

    @property
    def sums(self) -> bool:
        """Whether the sum over a region means something."""
        return self is Quantity.CONTRIBUTION

    def unit(self, output_unit: str, input_unit: str) -> str:
        """Unit of the map, given the units of the target and of the intensities."""
        if self is Quantity.SENSITIVITY:
            return f"{output_unit} per {input_unit}"
        return "a.u." if self is Quantity.SCORE else output_unit


class Sign(StrEnum):
    """How a positive number of a map reads; one of three printed sentences."""

    RAISES = "raising the intensity here raises the output"
    RAISED = "this place, compared with the reference, raised the output"
    UNSIGNED = "unsigned"


class Promise(StrEnum):
    """A law that a method keeps on every network; a method names the ones that it does not make, with the reason."""

    RESTORES = "restores"
    """The network comes back byte for byte as it was, also after an exception."""

    BATCH = "batch"
    """A batch gives what its cases give one by one."""

    DIMENSION = "dimension"
    """A 2D image gives what the same image as a 3D one of one slice gives."""

    DETERMINISTIC = "deterministic"
    """The same seed gives the same map, and no seed is needed to repeat it without drawing."""

    CONSTANT = "constant"
    """A network whose output is constant gives a map of zeros."""

    SHIFT = "shift"
    """Adding a constant to the output changes no map."""

    SCALE = "scale"
    """Multiplying the output by a positive constant multiplies the map by it."""

    COMPLETE = "complete"
    """The map sums to f(x) - f(reference), or states its remainder."""

    IN_PLACE = "in-place"
    """In-place activations make no difference."""

    BF16 = "bf16"
    """Runs on a bfloat16 network and returns float32."""

    SEVERAL_INPUTS = "several inputs"
    """Takes several inputs and gives one map for each."""

    COMPILED = "compiled"
    """A compiled network gives what the network itself gives."""

    LEAK_FREE = "leak-free"
    """A hundred calls leave no hooks, no graphs and no memory behind."""
