"""Right: whether a map lies where it should, where the truth is known."""
