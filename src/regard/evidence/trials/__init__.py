"""Trials of the verdict: images, networks and maps whose truth is known, and how often the word for them is wrong."""
