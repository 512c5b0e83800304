"""The leads of a recording by their names, in the network's order and unit."""

import re
from dataclasses import replace

import torch

from regard.core.errors import InputError
from regard.core.volume import Volume
from regard.models.input_spec import InputSpec

__all__ = ["at_card_leads", "check_signal"]

_VOLTS = {"v": 1.0, "mv": 1e-3, "uv": 1e-6, "\N{MICRO SIGN}v": 1e-6, "\N{GREEK SMALL LETTER MU}v": 1e-6}
_KINDS = ("ecg", "eeg", "emg", "eog")


def at_card_leads(volume: Volume, spec: InputSpec) -> Volume:
    """The leads that a network takes, in its order and, of voltages, in its unit; done twice it changes nothing.

    Names are compared without case, spaces and signs, and without a kind before them: ``EEG Fpz-Cz`` is ``Fpz-Cz``.

    Raises
    ------
    InputError
        If the recording lacks a lead.
    """
    check_signal(volume, spec)
    if volume.signal is None:
        return volume
    if spec.leads is not None:
        have = {_plain(name): n for n, name in enumerate(volume.signal.leads)}
        lacking = [name for name in spec.leads if _plain(name) not in have]
        if lacking:
            raise InputError(
                f"a recording of {', '.join(volume.signal.leads)} without {', '.join(lacking)}",
                f"the leads {', '.join(spec.leads)} for the input '{spec.name}'",
                "give a recording that has them, or name its columns as the card does",
            )
        numbers = [have[_plain(name)] for name in spec.leads]
        if numbers != list(range(volume.n_channels)):
            volume = volume.lead_numbers(numbers)
    return _in_volts(volume, spec)


def check_signal(volume: Volume, spec: InputSpec) -> None:
    """Refuse an image where a network takes a signal, and a signal where it takes an image.

    Raises
    ------
    InputError
        If the two are not of one kind.
    """
    if spec.is_signal and volume.signal is None:
        raise InputError(
            f"an image for the input '{spec.name}'", "a signal", "give WFDB, EDF or a table; Volume.of_signal in Python"
        )
    if volume.signal is not None and spec.n_axes != 1:
        raise InputError(
            f"a signal for the input '{spec.name}' of {spec.n_axes} axes",
            "an image",
            "or say rate_hz and leads in the card of a network for signals",
        )


def _plain(name: str) -> str:
    words = name.casefold().split()
    return re.sub(r"[^a-z0-9+]", "", "".join(words[1:] if len(words) > 1 and words[0] in _KINDS else words))


def _in_volts(volume: Volume, spec: InputSpec) -> Volume:
    """The same voltages in the unit of the card."""
    wanted = _VOLTS.get(spec.unit.strip().casefold())
    assert volume.signal is not None
    have = [_VOLTS.get(unit.strip().casefold()) for unit in volume.signal.units]
    if wanted is None or None in have or volume.unit == spec.unit:
        return volume
    scale = torch.tensor([h / wanted for h in have if h is not None]).reshape(-1, 1, 1, 1)
    facts = replace(volume.signal, units=(spec.unit,) * volume.n_channels)
    tensor = (volume.tensor.double() * scale).to(volume.tensor.dtype)
    return replace(volume, tensor=tensor, unit=spec.unit, stored=replace(volume.stored, signal=facts))
