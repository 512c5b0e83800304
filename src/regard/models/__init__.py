"""Networks with their cards: safe loading, preparation, chains, ensembles, black boxes."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regard.models.card import InputSpec, ModelCard, OutputSpec, TrainedOn, read_card, write_card
    from regard.models.load import load_model
    from regard.models.model import BlackBox, Chain, Ensemble, Model
    from regard.models.preparation import Preparation, Prepared
    from regard.models.prepared import PreparedNetwork
    from regard.models.sliding_window import SlidingWindow
    from regard.models.training_range import outside_training
    from regard.models.zoo import ZOO

__all__ = [
    "BlackBox",
    "Chain",
    "Ensemble",
    "InputSpec",
    "Model",
    "ModelCard",
    "OutputSpec",
    "Preparation",
    "Prepared",
    "PreparedNetwork",
    "SlidingWindow",
    "TrainedOn",
    "ZOO",
    "load_model",
    "outside_training",
    "read_card",
    "write_card",
]

_HOMES = {
    "card": ("InputSpec", "ModelCard", "OutputSpec", "TrainedOn", "read_card", "write_card"),
    "load": ("load_model",),
    "model": ("BlackBox", "Chain", "Ensemble", "Model"),
    "preparation": ("Preparation", "Prepared"),
    "prepared": ("PreparedNetwork",),
    "sliding_window": ("SlidingWindow",),
    "training_range": ("outside_training",),
    "zoo": ("ZOO",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    # Names are loaded when first used, so that listing the zoo loads no torch.
    if name not in _HOME:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
