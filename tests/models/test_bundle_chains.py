"""A bundle's preparation is MONAI's own: the same tensor at the network's first module."""

from pathlib import Path

import numpy as np
import pytest
import random_chains
import torch
from bundle_files import caught_by_regard, write_bundle
from monai_script import seen_by_network

import regard


def compare(seed: int, folder: Path) -> list[str]:
    draw = np.random.default_rng(seed)
    labelled = bool(draw.random() < 0.3)
    steps = random_chains.random_chain(draw, labelled=labelled)
    image = random_chains.image_file(draw, folder / "image.nii.gz")
    bundle = write_bundle(folder / "bundle", steps)
    data = {"image": str(image), **({"label": str(image)} if labelled else {})}
    wanted, _ = seen_by_network(bundle, data)
    scan = regard.read(image)
    before = scan.tensor.clone()
    got, found = caught_by_regard(bundle, scan)
    assert torch.equal(scan.tensor, before), steps
    assert got.shape == wanted.shape, steps
    reach = float(wanted.max() - wanted.min()) or 1.0
    assert float((got - wanted).abs().max()) <= 1e-5 * reach, steps
    assert found.relevance.shape == scan.shape
    assert np.allclose(found.relevance.affine, scan.affine)
    return [str(s["_target_"]) for s in steps]


@pytest.mark.parametrize("seed", range(15))
def test_the_network_sees_what_monai_alone_gives_it(tmp_path: Path, seed: int) -> None:
    compare(seed, tmp_path)


@pytest.mark.slow
def test_two_hundred_random_chains_give_monais_tensor(tmp_path: Path) -> None:
    drawn: set[str] = set()
    for seed in range(1000, 1200):
        folder = tmp_path / str(seed)
        folder.mkdir()
        drawn |= set(compare(seed, folder))
    assert drawn >= {*random_chains.SPATIAL, *random_chains.INTENSITY}
