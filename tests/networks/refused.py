"""Which methods refuse which network: written by ``python docs/networks_matrix.py``, so that none is lost unseen."""

REFUSED: dict[str, tuple[str, ...]] = {}
