"""What the paper did, and what is done here."""

from regard.studies.study import Item

__all__ = ["ITEMS"]

ITEMS: tuple[Item, ...] = (Item("four denoisers", "reduced", "two at default"),)
"""Item by item; sizes are those of `regard study show ldct`."""
