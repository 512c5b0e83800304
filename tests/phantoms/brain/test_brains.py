"""Rendered brains: volumes against the integral of the Jacobian, one factor at a time, places and affines."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from regard.core.errors import InputError, UnknownNameError
from regard.phantoms.brain import REGIONS, Brain, Scanner, Subject, atlas, draw_subject, render_anatomy, render_brain
from regard.phantoms.brain.ageing import MIDDLE, RATES, STRUCTURES, structure
from regard.phantoms.brain.atlas import index_of
from regard.phantoms.brain.lattice import Lattice, enlarged, sample
from regard.phantoms.brain.lesions import draw_lesions, lesion_map
from regard.phantoms.brain.shape import from_template, to_template
from regard.phantoms.brain.warp import VELOCITIES, jacobian

QUIET = Scanner("quiet", noise=0.0, bias=0.0)
VENTRICLES = ("lateral ventricle", "third ventricle")
REGION = {
    "ventricles": VENTRICLES,
    "hippocampi": ("hippocampus",),
    "cortex": tuple(r for r in REGIONS if "cortex" in r),
}


def middle_aged(**ages: float) -> Subject:
    """A subject of the template's own shape, each structure of middle age where not given."""
    subject = draw_subject(0, 0, warp=0.0, scanners=[QUIET])
    return replace(subject, structure_ages={s: ages.get(s, MIDDLE) for s in STRUCTURES})


@pytest.fixture(scope="module")
def brain() -> Brain:
    return render_brain(draw_subject(0, 1, decoy=0.5))


def integral_ml(subject: Subject, mask: torch.Tensor) -> float:
    """Volume that a part of the template has in a subject: its integral of the Jacobian determinant, at 1 mm [ml]."""
    fine = Lattice(VELOCITIES.origin, (1.0, 1.0, 1.0), tuple(3 * (n - 1) + 1 for n in VELOCITIES.shape))
    grown = jacobian(fine.points() + enlarged(from_template(subject), fine.shape), fine)
    first = [round(a - b) for a, b in zip(atlas().lattice.origin, fine.origin, strict=True)]
    part = tuple(slice(f, f + n) for f, n in zip(first, mask.shape, strict=True))
    return float(grown[part][mask].double().sum()) / 1000


def test_volumes_are_the_integral_of_the_jacobian() -> None:
    volumes = {}
    for age in (47.0, 77.0):
        subject = middle_aged(**dict.fromkeys(RATES, age))
        anatomy = render_anatomy(subject)
        for name in RATES:
            volumes[name, age] = sum(anatomy.volume_ml(region) for region in REGION[name])
            wanted = integral_ml(subject, structure(name).mask)
            assert volumes[name, age] == pytest.approx(wanted, rel=0.04), name
    for name, rate in RATES.items():
        # Closed form to first order: the logarithm changes by the rate for each year.
        change = math.log(volumes[name, 77.0] / volumes[name, 47.0]) / 30
        assert change == pytest.approx(rate, rel=0.15), name


def test_a_few_planes_are_those_of_the_whole() -> None:
    subject = draw_subject(0, 1)
    whole, part = render_anatomy(subject, 8.0), render_anatomy(subject, 8.0, planes=range(9, 12))
    assert part.shares.shape == (*whole.shares.shape[:3], 3)
    assert (part.affine @ (0, 0, 0, 1)).tolist() == (whole.affine @ (0, 0, 9, 1)).tolist()
    # Each rendering moves its places at random, by half a voxel of the template.
    assert float((part.shares - whole.shares[..., 9:12]).abs().max()) < 0.1
    assert float((part.shares - whole.shares[..., 10:13]).abs().max()) > 0.5
    with pytest.raises(InputError, match="neighbouring"):
        render_anatomy(subject, 8.0, planes=range(20, 40))


def test_a_dose_of_nothing_leaves_the_image() -> None:
    subject = draw_subject(0, 2, doses=dict.fromkeys(STRUCTURES, 0.0))
    image = render_brain(subject).image
    for factor in STRUCTURES:
        assert torch.equal(render_brain(subject, factors={factor: 78.0}).image, image)


@pytest.mark.parametrize("factor", ["ventricles", "lesions"])
def test_half_a_dose_is_half_the_change(factor: str) -> None:
    sizes = []
    for dose in (0.5, 1.0):
        subject = draw_subject(0, 2, doses={factor: dose})
        young, old = (render_brain(subject, 4.0, factors={factor: age}).image for age in (50.0, 78.0))
        sizes.append(float((old - young).abs().sum()))
    assert sizes[0] == pytest.approx(sizes[1] / 2, rel=0.2)


def places(subject: Subject, name: str, brain: Brain) -> torch.Tensor:
    """Share of each voxel of an image on the template's grid that lies within the reach of a structure."""
    points = torch.tensor(brain.volume.affine).float()
    index = torch.stack(torch.meshgrid(*[torch.arange(n).float() for n in brain.volume.shape], indexing="ij"))
    at = index * points[0, 0] + points[:3, 3].reshape(3, 1, 1, 1)
    at = at + sample(to_template(subject), VELOCITIES, at)
    return sample(structure(name).reach.float()[None], VELOCITIES, at)[0]


@pytest.mark.parametrize("name", list(RATES))
def test_the_image_changes_where_it_is_said_to(name: str, brain: Brain) -> None:
    subject = brain.subject
    age = subject.structure_ages[name]
    low, high = (render_brain(subject, factors={name: age + step}).image[0] for step in (-5.0, 5.0))
    change = (high - low).abs()
    near = (torch.nn.functional.max_pool3d(places(subject, name, brain)[None, None], 3, 1, 1)[0, 0] > 0.2).float()
    assert float(change.max()) > 0.02
    assert float((change * near).sum() / change.sum()) > 0.95
    if name != "cortex":
        assert float(near.mean()) < 0.15


def test_lesions_are_dark_spots_of_white_matter_that_grow() -> None:
    lesions = draw_lesions(0, "brain-00003")
    sizes = [float(lesion_map(lesions, age).sum()) / 1000 for age in (35.0, 50.0, 65.0, 80.0)]
    assert sizes[0] == 0
    assert sizes == sorted(sizes)
    assert 0.5 < sizes[-1] < 40
    subject = draw_subject(0, 3)
    young, old = (render_brain(subject, factors={"lesions": age}) for age in (45.0, 80.0))
    change = (old.image - young.image)[0]
    white = torch.nn.functional.max_pool3d(old.anatomy.shares[index_of("white matter")].sum(0)[None], 3, 1, 1)[0] > 0.5
    assert float(change.max()) < 1e-5
    assert float(change[white].sum() / change.sum()) > 0.95


def test_the_decoy_lies_behind_the_brain(brain: Brain) -> None:
    low, high = (render_brain(brain.subject, factors={"decoy": v}).image[0] for v in (0.2, 0.8))
    change = high - low
    remnant = brain.anatomy.shares[index_of("occipital remnant")[0]]
    near = torch.nn.functional.max_pool3d(remnant[None, None], 3, 1, 1)[0, 0] > 0
    assert float(change[near].sum() / change.sum()) > 0.95
    with pytest.raises(UnknownNameError, match="decoy"):
        render_brain(draw_subject(0, 1), factors={"decoy": 0.2})


def test_the_same_seed_is_the_same_subject(brain: Brain) -> None:
    again = render_brain(draw_subject(0, 1, decoy=0.5))
    assert torch.equal(again.image, brain.image)
    other = draw_subject(1, 1, decoy=0.5)
    assert other.age != brain.subject.age
    assert torch.equal(render_brain(brain.subject, factors=brain.subject.structure_ages).image, brain.image)


def test_averaging_keeps_the_mean() -> None:
    subject = replace(draw_subject(0, 2), scanner=QUIET)
    fine, coarse = (render_brain(subject, spacing, head="whole").image for spacing in (2.0, 4.0))
    blocks = torch.nn.functional.avg_pool3d(fine[None], 2)[0]
    assert torch.allclose(blocks, coarse, atol=1e-5)
    assert float(fine.double().mean()) == pytest.approx(float(coarse.double().mean()), rel=1e-6)


def test_the_affine_of_a_head_is_recovered_from_its_regions() -> None:
    subject = draw_subject(0, 4)
    own, template = render_brain(subject, space="own"), render_brain(subject)
    centres = []
    for anatomy in (own.anatomy, template.anatomy):
        index = np.stack(np.meshgrid(*[np.arange(n) for n in anatomy.shares.shape[1:]], indexing="ij"))
        shares = anatomy.shares[1 : index_of("brain stem")[0] + 1].double().numpy()
        means = np.einsum("rijk,aijk->ra", shares, index) / shares.sum((1, 2, 3))[:, None]
        centres.append(means @ anatomy.affine[:3, :3].T + anatomy.affine[:3, 3])
    design = np.hstack([centres[0], np.ones((len(centres[0]), 1))])
    fitted = np.linalg.lstsq(design, centres[1], rcond=None)[0].T
    assert np.abs(fitted - subject.to_template[:3]).max(axis=1) == pytest.approx(0, abs=0.8)
    assert np.linalg.det(fitted[:, :3]) * subject.head_size == pytest.approx(1, abs=0.02)
    assert own.volume.orientation == "RAS"
    left = index_of("hippocampus, left")[0] - 1
    assert centres[0][left][0] < 0 < centres[0][left + 1][0]
    placed = own.in_template
    assert np.allclose(placed.affine, subject.to_template @ own.volume.affine)


def test_men_have_larger_heads() -> None:
    subjects = [draw_subject(0, k) for k in range(300)]
    sizes = {sex: [s.head_size for s in subjects if s.sex == sex] for sex in "FM"}
    assert min(len(v) for v in sizes.values()) > 100
    assert np.mean(sizes["M"]) > 1.06 * np.mean(sizes["F"])


def test_ages_are_uniform_and_structures_follow_them() -> None:
    subjects = [draw_subject(0, k, decoy=0.6, deviation=4.0) for k in range(1500)]
    age = np.array([s.age for s in subjects])
    assert age.min() >= 44
    assert age.max() <= 80
    assert age.mean() == pytest.approx(62, abs=1)
    for name in STRUCTURES:
        off = np.array([s.structure_ages[name] for s in subjects]) - age
        assert off.std() == pytest.approx(4.0, rel=0.1)
        assert abs(np.corrcoef(off, age)[0, 1]) < 0.1
    assert np.corrcoef([s.decoy for s in subjects], age)[0, 1] == pytest.approx(0.6, abs=0.06)


def test_noise_of_the_background_is_rayleigh() -> None:
    loud = Scanner("loud", noise=0.8, bias=0.0)
    image = render_brain(replace(draw_subject(0, 5), scanner=loud), head="whole").image[0]
    corner = image[:5, :5, -8:].double()
    sigma = 0.8 / 8
    assert float(corner.mean()) == pytest.approx(sigma * math.sqrt(math.pi / 2), rel=0.15)
    assert float(render_brain(draw_subject(0, 5)).image[0, 0].abs().max()) == 0


def test_undoing_the_deformation_leaves_ageing_in_the_jacobian_alone() -> None:
    subject = replace(draw_subject(0, 6), scanner=QUIET)
    young, old = (render_brain(subject, space="warped", factors={"ventricles": age}) for age in (50.0, 75.0))
    assert young.image.shape[0] == 2
    assert torch.equal(young.image[0], old.image[0])
    regions = sum(young.anatomy.shares[index_of(name)].sum(0) for name in VENTRICLES)
    for brain in (young, old):
        seen = float((regions * brain.image[1].exp()).double().sum()) * 4**3 / 1000
        assert seen == pytest.approx(integral_ml(brain.subject, structure("ventricles").mask), rel=0.08)


def test_what_cannot_be_is_one_sentence() -> None:
    with pytest.raises(UnknownNameError, match="ventricles"):
        draw_subject(0, 0, doses={"ventricle": 1.0})
    with pytest.raises(InputError, match="0 to 1"):
        draw_subject(0, 0, decoy=2.0)
    with pytest.raises(InputError, match="mm"):
        render_brain(draw_subject(0, 0), 0.0)
