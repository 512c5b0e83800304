"""Class activation maps: weighted sums of a layer's activations, a file each.

`recorded` looks at a layer once, `base` brings its grid to the input's; every other file is one method.
"""
