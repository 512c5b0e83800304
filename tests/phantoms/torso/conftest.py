"""One torso, rendered once."""

import pytest

from regard.phantoms.torso import Torso, TorsoShape, draw_shape, render_torso

SLAB = ((-190.0, 190.0), (-140.0, 140.0), (-8.0, 8.0))


@pytest.fixture(scope="session")
def shape() -> TorsoShape:
    return draw_shape(0, 4)


@pytest.fixture(scope="session")
def slab(shape: TorsoShape) -> Torso:
    return render_torso(shape, (2.0, 2.0, 4.0), SLAB)


@pytest.fixture(scope="session")
def l1(shape: TorsoShape) -> Torso:
    """All of L1."""
    return render_torso(shape, (2.0, 2.0, 2.0), ((-60.0, 60.0), (-80.0, 40.0), (-44.0, 30.0)), fine=1)
