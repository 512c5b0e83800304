"""A map on the scan's own grid, with what its numbers mean and how it was made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from regard.core.explainer import Attribution
from regard.core.extent import finite_extent
from regard.core.geometry import resample
from regard.core.quantity import Quantity, Sign
from regard.core.registry import Registry
from regard.core.spatial import over_channels
from regard.core.volume import Grid, Volume

__all__ = ["VIEWS", "WRITERS", "Explanation", "NetworkMap"]

WRITERS = Registry(
    "file format",
    "regard.writers",
    {
        ".nii.gz": ("regard.io.maps:save_map", "NIfTI with its sidecar"),
        ".tsv": ("regard.io.maps:save_map", "of a signal, a table of times and leads with its sidecar"),
    },
)

VIEWS = Registry(
    "view",
    "regard.views",
    {
        "html": ("regard.report.notebook:as_html", "the report's viewer of one map, for notebooks"),
        "plot": ("regard.report.plots:plot", "matplotlib axes"),
        "table": ("regard.report.peaks:peaks", "peaks and clusters as a pandas table"),
        "nibabel": ("regard.io.exchange:as_nibabel", "a nibabel image"),
        "xarray": ("regard.io.exchange:as_xarray", "an xarray.DataArray"),
        "metatensor": ("regard.io.exchange:as_metatensor", "a MONAI MetaTensor"),
    },
)
"""What an explanation can be seen as, or turned into."""


@dataclass(frozen=True, eq=False)
class NetworkMap:
    """A map on the network's own input grid, as the method made it and as measures judge it.

    Parameters
    ----------
    relevance
        Map (1, 1, \\*space), over all channels; for ensembles the mean of the members' maps.
    reference
        What a contribution was counted from, or what an effect filled hidden places with, (1, channel, \\*space); None
        where the method took nothing away.
    parts
        Number of the part of each voxel, (\\*space), int64, where places were taken away together.
    given
        Whether the reference was given and not the method's own: it may be another patient's scan, and is not written
        beside a map.
    grid
        Where the network's grid lies: the tensors, read in the same order, fill it.
    """

    relevance: torch.Tensor
    reference: torch.Tensor | None = None
    parts: torch.Tensor | None = None
    given: bool = False
    grid: Grid | None = None

    @classmethod
    def of(
        cls, parts: Sequence[Attribution], number: int, grid: Grid | None = None, *, given: bool = False
    ) -> "NetworkMap":
        """The map of input ``number`` of one case: the mean over the members of an ensemble, one or more."""
        first, made = parts[0], [over_channels(a.relevance[number].detach().double()) for a in parts]
        references = [a.reference[number].detach() for a in parts if a.reference is not None]
        return cls(
            torch.stack(made).mean(0).nan_to_num().float().cpu(),
            torch.stack(references).mean(0).cpu() if len(references) == len(parts) else None,
            None if first.parts is None else first.parts[number][0].cpu(),
            given,
            grid,
        )

    def within(self, mask: Volume) -> "NetworkMap":
        """The same with 0 outside a mask on any grid."""
        if self.grid is None:
            return self
        inside = (resample(mask, self.grid, order=0).tensor[0] > 0.5).reshape(self.relevance.shape)
        return replace(self, relevance=torch.where(inside.to(self.relevance.device), self.relevance, 0.0))

    def shaped(self, space: Sequence[int]) -> "NetworkMap":
        """The same with other axes for the same voxels, as a file keeps three axes whatever the network has."""

        def placed(tensor: torch.Tensor | None) -> torch.Tensor | None:
            return None if tensor is None else tensor.reshape(1, -1, *space)

        parts = None if self.parts is None else self.parts.reshape(tuple(space))
        return replace(
            self, relevance=self.relevance.reshape(1, 1, *space), reference=placed(self.reference), parts=parts
        )


@dataclass(frozen=True, eq=False)
class Explanation:
    """Relevance on the scan's grid, with quantity, unit, sign and uncertainty, and how it was made.

    Parameters
    ----------
    relevance
        Volume of one channel on the scan's grid; NaN where the network saw nothing.
    scan
        The image that was explained.
    case, method
        Case id; registered name of the method.
    quantity, sign, unit
        What the numbers are, how the sign reads, and their unit.
    prediction
        f(x), the target's value, in ``output_unit``.
    target
        How the target is written.
    output_unit
        Unit of the prediction.
    label
        Name of this map among others of the same case, the method by default.
    input
        Name of the input the map is of, where there are several.
    knobs, form, layer
        The method's settings.
    reference
        None, or ``{"label", "value"}``: what the input was compared with, and f of it.
    completeness_error
        Sum of the map minus f(x) - f(reference), for methods that promise completeness.
    outside
        Part of a contribution that fell on padding, off the scan.
    standard_error, spread, agreement
        Monte-Carlo standard error; for ensembles the standard deviation over members and the share that agrees in sign.
    made
        Seed, batch size, threads, device, versions and hashes.
    notes
        Figures that belong to the map, such as the R2 of a surrogate.
    warnings
        Sentences a reader must see before the map.
    verdict
        Filled in when the explanation has been weighed.
    on_network
        The map on the network's own grid, and what it was compared with there.
    by_lead
        Of a signal, the map of each of its leads, whose sum is ``relevance``; None where a method takes all leads
        together.
    target_name
        What the card calls the target; empty where it has no name.
    """

    relevance: Volume
    scan: Volume
    case: str
    method: str
    quantity: Quantity
    sign: Sign
    unit: str
    prediction: float
    target: str
    output_unit: str = "a.u."
    label: str = ""
    input: str | None = None
    knobs: Mapping[str, Any] = field(default_factory=dict)
    form: str = "signed"
    layer: str | None = None
    reference: Mapping[str, Any] | None = None
    completeness_error: float | None = None
    outside: float = 0.0
    standard_error: Volume | None = None
    spread: Volume | None = None
    agreement: Volume | None = None
    made: Mapping[str, Any] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    verdict: str | None = None
    on_network: NetworkMap | None = None
    by_lead: Volume | None = None
    target_name: str = ""

    @property
    def asked(self) -> str:
        """The target for a reader: by the card's name, and as it is written."""
        return f"{self.target_name} ({self.target})" if self.target_name else self.target

    def __repr__(self) -> str:
        low, high = self.range
        return (
            f"Explanation({self.case}, {self.name}: {self.quantity} {low:.3g} to {high:.3g} [{self.unit}] "
            f"for {self.asked} = {self.prediction:.4g} [{self.output_unit}]; {self.sign})"
        )

    @property
    def name(self) -> str:
        """Label of the map, or its method."""
        return self.label or self.method

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest finite value of the map."""
        return finite_extent(self.relevance.tensor) or (float("nan"), float("nan"))

    @property
    def total(self) -> float | None:
        """Sum of the map, for contributions only."""
        return float(torch.nansum(self.relevance.tensor.double())) if self.quantity.sums else None

    @property
    def leads(self) -> tuple[str, ...]:
        """Names of the leads that the map tells apart; none for images, and where all leads are taken together."""
        facts = None if self.by_lead is None else self.by_lead.signal
        return () if facts is None else facts.leads

    def numpy(self) -> np.ndarray:
        """The map (i, j, k), float32, on the scan's grid."""
        array: np.ndarray = self.relevance.tensor[0].cpu().numpy()
        return array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """The map (i, j, k) for numpy: ``np.asarray(explanation)``."""
        array = self.numpy() if dtype is None else self.numpy().astype(dtype, copy=False)
        return array.copy() if copy else array

    def _repr_html_(self) -> str:
        """The report's viewer of this map, for notebooks: self-contained, with the scan below it."""
        html: str = VIEWS.load("html")(self)
        return html

    def plot(self, **settings: Any) -> Any:
        """Draw the map over the scan with matplotlib; see `regard.report.plots.plot` for the settings.

        Returns
        -------
        list of matplotlib.axes.Axes
            One for each plane or slice.
        """
        return VIEWS.load("plot")(self, **settings)

    def table(self, **settings: Any) -> Any:
        """Peaks and clusters of the map, with mm and regions of an atlas; see `regard.report.peaks.peaks`.

        Returns
        -------
        pandas.DataFrame
            One row per cluster, the largest peak first.
        """
        return VIEWS.load("table")(self, **settings)

    def to_nibabel(self) -> Any:
        """The map as a nibabel image (i, j, k), float32, with the scan's affine."""
        return VIEWS.load("nibabel")(self)

    def to_xarray(self) -> Any:
        """The map as an `xarray.DataArray` of axes i, j, k, with quantity, unit and affine among its attributes."""
        return VIEWS.load("xarray")(self)

    def to_metatensor(self) -> Any:
        """The map as a MONAI MetaTensor (1, i, j, k), with the scan's affine."""
        return VIEWS.load("metatensor")(self)

    def resolved(self, z: float = 1.96) -> torch.Tensor | None:
        """Where the sign is beyond its uncertainty, (i, j, k); None when there is no uncertainty."""
        relevance = self.relevance.tensor[0]
        if self.standard_error is not None:
            return relevance.abs() > z * self.standard_error.tensor[0]
        if self.agreement is not None:
            return self.agreement.tensor[0] > 0.9
        return None

    def save(self, path: str) -> None:
        """Write the map beside its sidecar; the format follows from the ending (``.nii.gz``; ``.tsv``)."""
        ending = next((e for e in WRITERS.names() if str(path).endswith(e)), str(path))
        WRITERS.load(ending)(self, path)
