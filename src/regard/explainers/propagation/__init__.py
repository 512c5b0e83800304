"""Relevance passed back from the output to the input, layer by layer."""
