"""Stable: whether a map stays when nothing that matters has changed."""
