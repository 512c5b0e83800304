"""Faithful: whether the output changes as the map says, when places are taken away."""
