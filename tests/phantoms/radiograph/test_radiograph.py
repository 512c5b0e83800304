"""Laws of the radiograph phantom: additivity, truth without bone, masks, one display, sameness by seed."""

from dataclasses import replace

import pytest
import torch

from regard.core import randomness
from regard.core.errors import InputError, UnknownNameError
from regard.phantoms.radiograph import (
    BEAMS,
    CLEAN,
    DECOYS,
    FINDINGS,
    VIEWS,
    Draws,
    Exposure,
    Field,
    RadiographPhantom,
    detect,
    draw_chest_shape,
    draw_factors,
    draw_paths,
    expose,
    packed,
    paths_of,
    project,
    render_chest,
    unpacked,
)
from regard.phantoms.radiograph.findings import draw_lesions, shadows_of
from regard.phantoms.truth import change_of_image, data_truth

FIELD = Field(size=64)
SPACING = (4.0, 6.0, 4.0)


@pytest.fixture(scope="module")
def chest():
    return render_chest(draw_chest_shape(0, 3), SPACING)


@pytest.fixture(scope="module")
def paths(chest):
    return paths_of(chest, FIELD, seed=0)


def test_log_signals_of_bone_and_tissue_add(paths):
    own = paths["PA"]
    nothing = torch.zeros_like(own.water)
    both = detect(own.water.double(), own.mineral.double(), CLEAN, own.pixel_mm)
    apart = [
        detect(own.water.double(), nothing.double(), CLEAN, own.pixel_mm),
        detect(nothing.double(), own.mineral.double(), CLEAN, own.pixel_mm),
    ]
    assert float((both - sum(apart)).abs().max()) < 1e-6
    assert float(apart[1].max()) > 0.3


def test_a_hard_beam_shows_less_of_the_second_half(paths):
    own = paths["PA"]
    how = Exposure(beam=BEAMS["polyenergetic"], photons=None, scatter=0.0)
    whole = detect(own.water, own.mineral, how, own.pixel_mm)
    half = detect(own.water / 2, own.mineral / 2, how, own.pixel_mm)
    thick = own.water > 5
    assert bool((whole < 2 * half)[thick].all())
    # No bone, no path: nothing is lost.
    assert float(detect(0 * own.water, 0 * own.water, how, own.pixel_mm).abs().max()) < 1e-6


def test_the_truth_is_the_projection_of_a_chest_without_mineral(chest, paths):
    boneless = replace(chest, mineral=torch.zeros_like(chest.mineral))
    (water,) = project(boneless, boneless.water[None], VIEWS["PA"], FIELD)
    own = replace(paths["PA"], water=water)
    taken = {"PA": replace(paths["PA"], water=water)}
    soft = expose(taken, {}, CLEAN).soft
    low = detect(own.water, torch.zeros_like(water), CLEAN, own.pixel_mm)
    with_bone = detect(own.water, own.mineral, CLEAN, own.pixel_mm)
    place = torch.nonzero(own.behind_bone)
    assert bool((with_bone >= low).all())
    assert len(place) > 100
    image = expose(taken, {}, CLEAN).image
    assert bool((image >= soft - 1e-6).all())
    assert torch.equal(image[0][own.mineral == 0], soft[0][own.mineral == 0])


def test_removed_bone_leaves_less_than_bone_turned_to_tissue(paths):
    tissue, removed = (expose(paths, {}, CLEAN, truth=t).soft for t in ("tissue", "removed"))
    assert bool((removed <= tissue + 1e-6).all())
    outside = paths["PA"].tissue == 0
    assert torch.equal(tissue[0][outside], removed[0][outside])
    assert float((tissue - removed).max()) > 0.02


def test_a_slab_is_its_thickness_and_magnified(chest):
    """A block of water: path through it along the middle ray, and its width as the view magnifies it."""
    x, y, z = chest.axes
    far = (x.abs() < 60)[:, None, None] & ((y - 20).abs() < 12)[None, :, None] & ((z - 178).abs() < 60)[None, None]
    near = (x.abs() < 60)[:, None, None] & ((y + 100).abs() < 12)[None, :, None] & ((z - 178).abs() < 60)[None, None]
    block = torch.stack((far, near)).float()
    depth = [float(b.any(0).any(1).sum()) * SPACING[1] / 10 for b in block]
    for view in VIEWS.values():
        path = project(chest, block, view, FIELD)
        for n, middle in ((0, 20.0), (1, -100.0)):
            assert float(path[n, 32, 32]) == pytest.approx(depth[n], rel=1e-3)
            width = float((path[n, 32] / path[n, 32].max()).sum()) * FIELD.pixel_mm
            expected = 120 * float(view.magnification(middle))
            assert width == pytest.approx(expected, abs=1.5 * FIELD.pixel_mm)
    assert VIEWS["AP"].magnification(60.0) > VIEWS["PA"].magnification(60.0)


def test_projection_adds_up_over_volumes(chest):
    a, b = chest.water[None], chest.mineral[None]
    both = project(chest, 2 * a + b, VIEWS["PA"], FIELD)
    apart = 2 * project(chest, a, VIEWS["PA"], FIELD) + project(chest, b, VIEWS["PA"], FIELD)
    assert float((both - apart).abs().max()) < 1e-4 * float(both.max())


def test_the_picture_is_hung_right(paths):
    """Lungs dark, heart to the image's right, liver's dome higher than the spleen's, abdomen below."""
    own = paths["PA"]
    image = expose(paths, {}, CLEAN).image[0]
    assert float(image[own.lung].mean()) < float(image[48:, 16:48].mean()) - 0.1
    rows, columns = torch.nonzero(own.lung, as_tuple=True)
    left_lung, right_lung = own.lung[:, 32:].sum(), own.lung[:, :32].sum()
    assert left_lung < right_lung
    bottom = [int(rows[side].max()) for side in (columns < 26, columns > 38)]
    assert min(bottom) > 36
    assert int(rows.min()) < 20


@pytest.mark.parametrize("kind", FINDINGS)
def test_a_finding_changes_the_picture_in_its_mask(paths, kind):
    healthy, ill = expose(paths, {}, CLEAN), expose(paths, {kind: 1.0}, CLEAN)
    signal = [detect(p, paths["PA"].mineral, CLEAN, FIELD.pixel_mm) for p in (
        paths["PA"].water, paths["PA"].water + paths["PA"].findings[kind].path)]  # fmt: skip
    change = (signal[1] - signal[0]).abs()
    mask = ill.mask
    assert ill.label == 1
    assert healthy.label == 0
    assert not healthy.mask.any()
    assert 0.001 < float(mask.float().mean()) < 0.5
    assert float(change[mask].min()) >= 0.099 * float(change.max())
    assert float(change[~mask].max()) <= 0.101 * float(change.max())
    assert float((ill.image - healthy.image).abs().max()) > 0.02


def test_findings_lie_in_the_lungs_and_doses_add(chest, paths):
    lesions = draw_lesions(chest, paths["PA"].ribs, VIEWS["PA"], FIELD, seed=0)
    assert not lesions.solid[:, ~chest.lung].any()
    assert all(bool(solid.any()) for solid in lesions.solid)
    axes = [((lesions.nodules[:, i : i + 1] - axis).abs()).argmin(1) for i, axis in enumerate(chest.axes)]
    assert bool(chest.lung[axes[0], axes[1], axes[2]].all())
    half, full = (expose(paths, {"opacity": d}, CLEAN) for d in (0.5, 1.0))
    assert float((full.image - half.image).min()) > -1e-6


def test_findings_hide_behind_bone_when_they_are_drawn_to(chest, paths):
    own, shares = paths["PA"], {True: [], False: []}
    for seed in range(10):
        behind = float(randomness.uniform((1,), seed, chest.shape.name, "cavity behind bone")) < 0.5
        lesions = draw_lesions(chest, own.ribs, VIEWS["PA"], FIELD, seed=seed)
        shares[behind].append(shadows_of(lesions, chest, own.ribs, VIEWS["PA"], FIELD)["cavity"].hidden)
    assert min(len(s) for s in shares.values()) > 2
    assert sum(shares[True]) / len(shares[True]) > sum(shares[False]) / len(shares[False]) + 0.03


def test_only_the_letter_changes_with_the_marker(paths):
    plain, marked = expose(paths, {}), expose(paths, {"marker": 1.0})
    changed = (plain.image != marked.image)[0]
    assert 0 < float(changed.float().mean()) < 0.03
    assert float(changed[32:].float().sum()) == 0
    assert bool((plain.soft != marked.soft).any())


def test_views_differ(paths):
    front, back = expose(paths, {"view": 0.0}), expose(paths, {"view": 1.0})
    assert front.paths.view == "PA"
    assert back.paths.view == "AP"
    assert float((front.image - back.image).abs().mean()) > 0.01


def test_noise_falls_with_photons_and_is_shared_by_the_pair(paths):
    own = paths["PA"]
    clean = expose(paths, {}, CLEAN)
    spread = []
    for photons in (1e5, 1e7):
        taken = expose(paths, {}, Exposure(photons=photons, scatter=0.0))
        spread.append(float((taken.image - clean.image).std()))
        free = own.mineral == 0
        assert torch.equal(taken.image[0][free], taken.soft[0][free])
    assert spread[1] < 0.3 * spread[0]


def test_scatter_fills_the_shadows(paths):
    own = paths["PA"]
    dense = own.water > own.water.quantile(0.9)
    signal = [detect(own.water, own.mineral, Exposure(photons=None, scatter=s), own.pixel_mm) for s in (0.0, 0.5)]
    contrast = [float(s[dense].mean() - s[own.lung].mean()) for s in signal]
    assert contrast[1] < contrast[0]


def test_the_same_seed_gives_the_same_picture(paths):
    again = draw_paths(0, 3, FIELD, spacing_mm=SPACING, spread=0.0)
    other = {"PA": replace(paths["PA"], findings=draw_paths(1, 4, FIELD, spacing_mm=SPACING)["PA"].findings)}
    first = expose(paths, {"cavity": 1.0}, seed=0).image
    assert torch.equal(first, expose(again, {"cavity": 1.0}, seed=0).image)
    assert not torch.equal(first, expose(other, {"cavity": 1.0}, seed=0).image)
    assert not torch.equal(first, expose(paths, {"cavity": 1.0}, seed=1).image)


def test_paths_survive_a_file(paths):
    back = unpacked(paths["PA"].name, packed(paths))
    factors = {"miliary": 0.7, "view": 1.0, "marker": 1.0}
    assert torch.equal(expose(back, factors).image, expose(paths, factors).image)
    assert torch.equal(expose(back, factors).mask, expose(paths, factors).mask)


def test_decoys_follow_the_label_as_far_as_their_dose_says():
    for dose in (0.0, 0.6, 1.0):
        drawn = [draw_factors(f"case-{n}", Draws(doses={"marker": dose}), seed=2) for n in range(1500)]
        ill = torch.tensor([float(any(d[k] > 0 for k in FINDINGS)) for d in drawn])
        marker = torch.tensor([d["marker"] for d in drawn])
        view = torch.tensor([d["view"] for d in drawn])
        assert float(torch.corrcoef(torch.stack((ill, marker)))[0, 1]) == pytest.approx(dose, abs=0.08)
        assert abs(float(torch.corrcoef(torch.stack((ill, view)))[0, 1])) < 0.08
        assert float(ill.mean()) == pytest.approx(0.5, abs=0.05)


def test_the_phantom_tells_cause_and_decoy_apart(paths):
    phantom = RadiographPhantom(
        draws=Draws(prevalence=1.0, kinds=("cavity",)),
        picture=FIELD,
        exposure=CLEAN,
        factors=("cavity", "marker"),
        kept={(0, 3): paths},
    )
    truth = data_truth(phantom, 3)
    assert bool(truth.core.any())
    assert bool(truth.decoy.any())
    assert not bool((truth.core & truth.decoy).any())
    assert not change_of_image(phantom, 3, "marker")[32:].any()
    assert set(phantom.draw(3)) == {"cavity", "marker"}
    assert phantom.causes == ("cavity",)
    assert phantom.decoys == ("marker",)
    assert set(DECOYS) == {"marker", "view"}


def test_mistakes_are_told(paths):
    with pytest.raises(UnknownNameError, match="cavity"):
        expose(paths, {"cavityy": 1.0})
    with pytest.raises(InputError, match="dose"):
        expose(paths, {"cavity": 1.5})
    with pytest.raises(InputError):
        Exposure(photons=-1.0)
    with pytest.raises(UnknownNameError):
        Draws(doses={"letter": 1.0})
    with pytest.raises(UnknownNameError):
        RadiographPhantom(factors=("nodule",))
