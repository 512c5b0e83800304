"""The table of networks."""

from . import of_monai, of_torch

ENTRIES = [*of_monai.ENTRIES, *of_torch.ENTRIES]
"""Every row."""

BY_NAME = {entry.name: entry for entry in ENTRIES}
