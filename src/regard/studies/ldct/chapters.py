"""Chapters of the report: what the networks do not see, and whether that is true."""

import math
from pathlib import Path

import torch

from regard.report.html import Chapter
from regard.studies.ldct.config import NETWORKS
from regard.studies.ldct.explain import CONTROLS, FORMS, Found, drawn, searched
from regard.studies.ldct.figures import draw_curve, draw_free, draw_gallery, draw_lesions, draw_rejections, draw_spread
from regard.studies.ldct.material import Material
from regard.studies.ldct.null_space import free_directions
from regard.studies.ldct.weigh import LINEAR_N, MASKS
from regard.studies.run import Scores
from regard.studies.scoring.bootstrap import Score

__all__ = [
    "drawn_chapters",
    "free_chapters",
    "hidden_chapters",
    "networks_of",
    "in_words",
    "truth_chapters",
    "unbroken",
    "weighed_chapters",
]

_CONTROLS = {"identity": "identity", "gaussian": "Gaussian filter"}
_PICTURED = 2


def in_words(score: Score | None) -> str:
    """A figure with its interval, or that there is none."""
    if score is None or math.isnan(score.value):
        return "undefined"
    return str(score)


def unbroken(name: str) -> str:
    """A row's name that a wide table does not wrap."""
    return name.replace(" ", "\N{NO-BREAK SPACE}").replace("-", "\N{NON-BREAKING HYPHEN}")


def networks_of(material: Material) -> dict[str, str]:
    """Names of the trained networks by key."""
    return {n: NETWORKS[n] for n in material.config.train.networks}


def _order(found: Found) -> list[int]:
    order = sorted(
        range(len(found.samples)),
        key=lambda k: (not bool(found.inside[k]), float(found.anatomy[k]) == 0, -float(found.distance[k])),
    )
    noise = [k for k in order[2:] if float(found.scales[k]) == 0][:1]
    return (order[:2] if noise else order[:3]) + noise


def hidden_chapters(material: Material, scores: Scores, folder: Path) -> list[Chapter]:
    """What the search found: table, galleries, curve, spread."""
    names = {k: v for k, v in networks_of(material).items() if f"invariances_{k}" in scores}
    if not names:
        return []
    rows = []
    pixel = material.test.pixel_mm
    for key, name in names.items():
        group = scores[f"invariances_{key}"]
        scales = [k.removeprefix("distance_blob_") for k in group if k.startswith("distance_blob_")]
        for scale in scales:
            row = {"": unbroken(f"{name}, {float(scale) * pixel:g} mm")}
            row["hidden change, d' in the scan"] = in_words(group[f"distance_blob_{scale}"])
            for control, words in _CONTROLS.items():
                row[f"same search, {words}"] = in_words(group.get(f"distance_{control}_blob_{scale}"))
                row[f"excess over {words}"] = in_words(group.get(f"excess_over_{control}_blob_{scale}"))
            rows.append(row)
        rows.append(
            {
                "": unbroken(f"{name}, all"),
                "hidden change, d' in the scan": in_words(group["distance"]),
                "same search, identity": in_words(group.get("distance_identity")),
                "excess over identity": in_words(group.get("excess_over_identity")),
                "same search, Gaussian filter": in_words(group.get("distance_gaussian")),
                "excess over Gaussian filter": in_words(group.get("excess_over_gaussian")),
                "anatomy": in_words(group["anatomy"]),
                "rejected": in_words(group["rejected"]),
                "leakage [HU per HU]": in_words(group["leakage"]),
            }
        )
    first = next(iter(names))
    chapters = [
        Chapter(
            "What they do not see",
            [
                (
                    "Found by search, without training: scans that differ from the patient's by blobs of 2 to 8 "
                    "pixels as visible as can be, while the output changes by no more than the tolerance at any "
                    "place and scale. A change is called anatomy when its most visible blob is more visible than "
                    "that of every noise realisation (d' "
                    f"{in_words(scores[f'invariances_{first}']['most_visible_noise'])}); with a tolerance near 1 "
                    "most are below that, and the excess over the controls is the finding."
                )
            ],
            None,
            rows,
        )
    ]
    for key, name in names.items():
        for n, scene in enumerate(material.scenes[:_PICTURED]):
            found = searched(material, key, scene)
            path = folder / f"gallery_{key}_{n}.png"
            draw_gallery(found, _order(found), f"{name}, {scene.case}: other scans with the same output", path)
            text = (
                "Both differences of a row share one colour scale: what the third picture has and the last one lacks "
            )
            chapters.append(Chapter(f"{name}: {scene.case}", [text + "is what the network does not see."], path))
    curves: dict[str, dict[float, float]] = {}
    controls: dict[str, dict[str, float]] = {}
    for key, name in names.items():
        group = scores[f"invariances_{key}"]
        curves[name] = {
            float(k.removeprefix("distance_at_")): s.value for k, s in group.items() if k.startswith("distance_at_")
        }
        curves[name].setdefault(material.config.explain.tolerance, group["distance"].value)
        for control in CONTROLS:
            if f"distance_{control}" in group:
                controls.setdefault(_CONTROLS[control], {})[name] = group[f"distance_{control}"].value
    if any(curves.values()):
        path = draw_curve(curves, controls, material.config.explain.tolerance, folder / "curve.png")
        chapters.append(Chapter("How much is hidden, by tolerance", ["Median over samples, mean over patients."], path))
    maps = {}
    for key, name in names.items():
        found = searched(material, key, material.scenes[0])
        changes = (found.samples - found.image)[found.blobs]
        if len(changes):
            maps[name] = changes.square().mean(0).sqrt()
    if maps:
        path = draw_spread(maps, folder / "spread.png")
        text = f"Root mean square of the accepted samples around the scan, {material.scenes[0].case}."
        chapters.append(Chapter("Where the scans differ", [text], path))
    return chapters


def free_chapters(material: Material, scores: Scores, folder: Path) -> list[Chapter]:
    """The Jacobian's null space: gains, what its directions hide, a picture for each network."""
    names = {k: v for k, v in networks_of(material).items() if f"null_space_{k}" in scores}
    if not names:
        return []
    shown = {
        "least_gain": "least gain", "least_gain_gaussian": "least gain of the filter", "median_gain": "median gain",
        "gain_there": "gain where it ends, over that at x", "hidden": "hidden change, d' in the scan",
        "hidden_identity": "same direction, identity", "hidden_gaussian": "same direction, Gaussian filter",
        "excess_over_identity": "excess over identity", "excess_over_gaussian": "excess over Gaussian filter",
    }  # fmt: skip
    rows = [
        {"": unbroken(name)} | {v: in_words(scores[f"null_space_{key}"].get(k)) for k, v in shown.items()}
        for key, name in names.items()
    ]
    plan = material.config.explain
    finest = 2 * material.scenes[0].image.shape[-1] * material.test.pixel_mm / (plan.null_cosines - 1)
    text = (
        "To first order a network answers to a small change by its Jacobian. Its singular values, in the span of "
        f"{plan.null_cosines**2} smooth directions (cosines down to {finest:.0f} mm in wavelength), are gains: 1 is as "
        f"the scan, 0 is not seen. The {plan.n_null} directions of least gain are followed, either way, until the "
        f"output shows them (d' {plan.tolerance:g}) or a pixel has changed by {plan.limit:g} standard deviations of "
        "the noise."
    )
    chapters = [Chapter("The null space of the Jacobian", [text], None, rows)]
    for key, name in names.items():
        scene = material.scenes[0]
        path = folder / f"null_space_{key}.png"
        draw_free(free_directions(material, key, scene), f"{name}, {scene.case}: directions of least gain", path)
        chapters.append(Chapter(f"{name}: what it answers to least", [], path))
    return chapters


def drawn_chapters(material: Material, scores: Scores, folder: Path) -> list[Chapter]:
    """What the sampler drew: rejections, floor, galleries."""
    groups = {form: scores[f"sampler_{form}"] for form in FORMS if f"sampler_{form}" in scores}
    if not groups:
        return []
    words = {
        "published": "as published: what the decoder draws",
        "difference": "ours: the scan plus the difference of two drawings",
    }
    shown = {
        "rejected": "share rejected", "d_prime": "d' in the output, median", "distance": "d' in the scan, median",
        "change": "change of the scan [HU]", "output_change": "change of the output [HU]",
        "spread": "spread of the samples [HU]", "floor_rms": "floor: what the autoencoder loses [HU]",
        "floor_d_prime": "floor: d' of f(VAE(x)) - f(x)",
    }  # fmt: skip
    rows = [{"": words[form]} | {v: in_words(g.get(k)) for k, v in shown.items()} for form, g in groups.items()]
    curves = {
        words[form]: {
            float(k.removeprefix("rejected_at_")): s.value for k, s in g.items() if k.startswith("rejected_at")
        }
        for form, g in groups.items()
    }
    floor = next(iter(groups.values()))["floor_d_prime"].value
    path = draw_rejections(curves, floor, folder / "rejections.png")
    name = NETWORKS[str(material.config.explain.sampler)]
    text = (
        f"A conditional autoencoder and a conditional invertible network, trained on {name}. Every draw is checked "
        "by the network; those outside the tolerance are rejected. The sampler can only draw what its decoder "
        "can: the floor is what is lost before any invariance is sought, and where it lies above the tolerance, "
        "rejections say nothing of the network."
    )
    chapters = [Chapter(f"Drawn from a sampler ({name})", [text], path, rows)]
    for form in groups:
        scene = material.scenes[0]
        found = drawn(material, form, scene)
        if found is None:
            continue
        numbers = torch.argsort(found.d_prime)[:3].tolist()
        picture = folder / f"sampler_{form}.png"
        draw_gallery(found, numbers, f"{words[form]}, {scene.case}", picture)
        chapters.append(Chapter(f"Closest draws, {words[form]}", [], picture))
    return chapters


def weighed_chapters(material: Material, scores: Scores, folder: Path) -> list[Chapter]:
    """Noise or anatomy, and lesions that vanish."""
    names = {k: v for k, v in networks_of(material).items() if f"split_{k}" in scores}
    if not names:
        return []
    shown = {
        "share_outside_noise": "outside the span of noise draws", "share_outside_noise_of_noise": "same of other noise",
        "smooth_share_of_directions": "smooth share of what is left", "smooth_share_of_noise": "same of other noise ",
        "dice_anatomy": "Dice of masks, samples of anatomy", "dice_noise": "Dice of masks, noise",
    }  # fmt: skip
    rows = [
        {"": unbroken(name)} | {v: in_words(scores[f"split_{key}"].get(k)) for k, v in shown.items()}
        for key, name in names.items()
    ]
    text = (
        "Directions: principal directions of the changes once the span of the noise draws is taken away; a few "
        "draws span little of so many pixels, hence what held-out noise leaves stands beside. Smooth share: how "
        f"much of their energy a blur by two pixels keeps. Masks: {', '.join(m.replace('_', ' ') for m in MASKS)} "
        "by HU in the blurred image."
    )
    chapters = [Chapter("Noise or anatomy", [text], None, rows)]
    lesions = {k: v for k, v in names.items() if f"lesions_{k}" in scores}
    if lesions:
        radii = material.config.weigh.radii_mm

        def at(key: str, who: str) -> dict[float, tuple[float, float, float]]:
            group = scores[f"lesions_{key}"]
            return {r: (s.value, s.low, s.high) for r in radii if (s := group.get(f"{who}_{r:g}")) is not None}

        first = next(iter(lesions))
        curves = {name: at(key, "network") for key, name in lesions.items()}
        curves |= {"identity": at(first, "identity"), "Gaussian filter": at(first, "gaussian")}
        table = []
        for key, name in lesions.items():
            for radius in radii:
                group = scores[f"lesions_{key}"]
                table.append(
                    {
                        "": f"{name}, {radius:g} mm",
                        "hidden contrast [HU]": in_words(group.get(f"network_{radius:g}")),
                        "in the scan itself": in_words(group.get(f"identity_{radius:g}")),
                        "in the Gaussian filter": in_words(group.get(f"gaussian_{radius:g}")),
                        "excess over the scan": in_words(group.get(f"excess_over_identity_{radius:g}")),
                        "excess over the filter": in_words(group.get(f"excess_over_gaussian_{radius:g}")),
                    }
                )
        text = (
            "A lesion is put into the liver of each patient and made stronger until the output shows it (its "
            "largest d' passes the tolerance): the contrast before that is hidden. The Gaussian filter leaves as "
            "much noise as the network does in this place."
        )
        path = draw_lesions(curves, folder / "lesions.png")
        chapters.append(Chapter("Lesions that vanish unseen", [text], path, table))
    return chapters


def truth_chapters(material: Material, scores: Scores, folder: Path) -> list[Chapter]:
    """Where the answer is known."""
    if "truth_planted" not in scores:
        return []
    planted, linear = scores["truth_planted"], scores["truth_linear"]
    words = {
        "mean_error": "error of the mean, in standard errors (right: about 1)",
        "largest_eigenvalue": "largest eigenvalue of the free directions (right: 1)",
        "smallest_eigenvalue": "smallest of them (right: 1)",
        "fixed_eigenvalue": "largest eigenvalue of the fixed directions (right: 0)",
        "angle": "largest angle to the true null space [rad]",
        "leakage": "largest leakage",
    }
    rows = [{"samples": str(n)} | {v: f"{linear[f'{k}_n{n}'].value:.3g}" for k, v in words.items()} for n in LINEAR_N]
    text = (
        "Images of 12 Gaussian coefficients and a linear f of 5 outputs: drawing and moving onto the level set "
        "must give the conditional Gaussian; the eigenvalues of a sample spread around 1 the less the more "
        "samples there are."
    )
    said = (
        "A CNN-10 was taught to take out rings and to leave discs of equal contrast and area: of a ring it leaves "
        f"{in_words(planted['ring_in_output'])} of the contrast, of a disc {in_words(planted['discs_in_output'])}. "
        f"The search, which knows neither, changes rings by {in_words(planted['ring_changed'])} of their contrast "
        f"unseen and discs by {in_words(planted['discs_changed'])}; told apart by that, AUC "
        f"{in_words(planted['auc'])} in {planted['auc'].n} images of one ring and four discs. In the identity it "
        f"finds nothing: largest d' {in_words(scores['truth_identity']['largest_distance'])} at a tolerance of 1."
    )
    return [Chapter("Where the answer is known", [said, text], None, rows)]
