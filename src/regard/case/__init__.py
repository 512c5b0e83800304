"""A case explained: preflight, prepare, attribute, and the map brought home to the grid of the scan."""
