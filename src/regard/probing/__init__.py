"""Probes of a user's own network before its first map, at the price of a few forwards."""

from regard.probing.probe import Preflight, Probe
from regard.probing.run import preflight

__all__ = ["Preflight", "Probe", "preflight"]
