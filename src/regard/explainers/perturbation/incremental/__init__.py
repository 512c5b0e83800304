"""Exact incremental occlusion: after a window is hidden, only what it reaches is computed again.

`trace` reads the network, `regions` keeps the boxes, `operations` says what each operation does to a box, `recognise`
finds the operation of a node, `program` runs the network once and decides, `engine` runs the windows.

Notes
-----
Nakandala, Kumar and Papakonstantinou, SIGMOD 2019 (incremental inference of 2D convolutional networks), here for any
graph of local operations in 1D to 3D, without their approximation.
"""

from regard.explainers.perturbation.incremental.engine import Engine, Incremental, prepare

__all__ = ["Engine", "Incremental", "prepare"]
