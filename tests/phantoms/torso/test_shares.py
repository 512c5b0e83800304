"""Shares of L1's parts and its mineral agree with what was painted."""

import pytest

from regard.phantoms.torso import TorsoShape
from regard.phantoms.torso.canvas import Canvas
from regard.phantoms.torso.cells import averaged
from regard.phantoms.torso.render import cells_of, grid_of
from regard.phantoms.torso.spine import paint_spine


@pytest.mark.parametrize("spacing", [1.5, 3.0])
def test_parts_hold_the_mineral_that_was_painted(shape: TorsoShape, spacing: float) -> None:
    box = ((-60.0, 60.0), (-80.0, 40.0), (-45.0, 30.0))
    canvas = Canvas(cells_of(*grid_of((spacing,) * 3, box), 2), shape)
    paint_spine(canvas, only="L1")
    part = canvas.l1
    own = part["mineral_body"] + part["mineral_posterior"]
    assert float((own - averaged(canvas.mineral, canvas.cells.finer)).abs().max()) < 1e-4
    assert float(own.max()) > 0.5
    assert float((part["trabecular"] - part["body"]).max()) < 1e-5
    assert float((part["body"] + part["posterior"]).max()) < 1 + 1e-5
    assert float((part["mineral_trabecular"] - part["mineral_body"]).max()) < 1e-5
