"""The report: what the study says in plain words, then tables and pictures."""

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from regard.report.html import Chapter, write_report
from regard.studies.ldct.about import ITEMS
from regard.studies.ldct.config import NETWORKS
from regard.studies.ldct.explain import CONTROLS, FORMS, Found, drawn, searched
from regard.studies.ldct.figures import (
    draw_curve,
    draw_denoised,
    draw_gallery,
    draw_lesions,
    draw_rejections,
    draw_spectra,
    draw_spread,
)
from regard.studies.ldct.material import Material
from regard.studies.ldct.score import FLOORS, spectra
from regard.studies.ldct.weigh import LINEAR_N, MASKS
from regard.studies.run import Scores
from regard.studies.scoring.bootstrap import Score
from regard.studies.study import AbstractStudy

__all__ = ["write_page"]

_MEASURES = {
    "rmse": "RMSE [HU]", "rmse_truth": "RMSE to the noise-free scan [HU]", "psnr": "PSNR [dB]", "ssim": "SSIM",
    "vif": "VIF", "noise": "noise in the liver [HU]", "noise_frequency": "its mean frequency [1/mm]",
    "lesion_contrast": "contrast of the lesion [HU]", "observer_d_prime": "d' of the observer",
    "observer_auc": "AUC of the observer",
}  # fmt: skip
_CONTROLS = {"identity": "identity", "gaussian": "Gaussian filter"}
_PICTURED = 2


def _said(score: Score | None) -> str:
    if score is None or math.isnan(score.value):
        return "undefined"
    return str(score)


def _networks(material: Material) -> dict[str, str]:
    return {n: NETWORKS[n] for n in material.config.train.networks}


def _target(material: Material) -> str:
    if not material.phantoms:
        return "the scan at full dose, with its noise"
    return {"full dose": "the scan at full dose, with its noise", "noise-free": "the scan without noise"}[
        material.config.data.target
    ]


def _summary(material: Material, scores: Scores) -> list[str]:
    data, names = material.config.data, _networks(material)
    if material.phantoms:
        told = (
            f"A scan at {100 * data.dose:g} % of the dose is noisy, and a denoiser makes it look as if it had been "
            "taken at full dose. Everything on this page comes from simulated patients on a simulated scanner; it says "
            "nothing of real ones."
        )
    else:
        told = "A low-dose scan is noisy, and a denoiser makes it look as if it had been taken at full dose."
    said = [f"{told} The networks learned to make {_target(material)}."]
    for key, name in names.items():
        rows = scores.get(key)
        if rows is None:
            continue
        better = [
            words
            for floor, words in FLOORS.items()
            if (s := rows.get(f"rmse_better_than_{floor}")) is not None and s.low > 0
        ]
        verdict = f"is closer to its target than {' and '.join(better)}" if better else (
            "is not shown to be closer to its target than the scan itself or non-local means"
        )  # fmt: skip
        said.append(f"{name} {verdict} (RMSE {_said(rows['rmse'])} HU).")
    for key, name in names.items():
        rows = scores.get(f"invariances_{key}")
        if rows is None:
            continue
        words = (
            f"{name}: other scans differ from the patient's by d' = {_said(rows['distance'])} and give the same "
            "picture "
            f"within d' = {material.config.explain.tolerance:g}."
        )
        excess = rows.get("excess_over_identity")
        if excess is not None:
            verdict = "more than" if excess.low > 0 else "less than" if excess.high < 0 else "not shown to be more than"
            words += f" That is {verdict} what a network that hides nothing allows (excess {_said(excess)}"
            words += f"; over a blur that removes as much noise {_said(rows.get('excess_over_gaussian'))})."
        lesions = scores.get(f"lesions_{key}")
        if lesions is not None:
            radius = material.config.weigh.radii_mm[-1]
            words += (
                f" A lesion of {radius:g} mm radius in the liver can have a contrast of "
                f"{_said(lesions[f'network_{radius:g}'])} HU before the picture changes by that much; in the scan "
                "itself "
                f"{_said(lesions[f'identity_{radius:g}'])} HU."
            )
        said.append(words)
    said.append(
        "How anatomy is told from noise is ours, as the paper's own two methods are not public. What is hidden within "
        "a tolerance depends on the tolerance; the identity, which hides nothing, stands beside every figure."
    )
    return said


def _quality(material: Material, scores: Scores, folder: Path) -> list[Chapter]:
    names = {**FLOORS, **_networks(material)}
    rows = [
        {"": name} | {v: _said(scores[key].get(k)) for k, v in _MEASURES.items() if k in scores[key]}
        for key, name in names.items()
        if key in scores
    ]
    if not rows:
        return []
    paired = []
    for key, name in _networks(material).items():
        for floor, words in FLOORS.items():
            row = {"": f"{name}, better than {words} by"}
            for k, v in _MEASURES.items():
                if f"{k}_better_than_{floor}" in scores[key]:
                    row[v] = _said(scores[key][f"{k}_better_than_{floor}"])
            paired.append(row)
    test = material.test
    pictures = []
    for n in range(min(_PICTURED, len(test))):
        shown: dict[str, Tensor] = {"low dose": test.low[n], "full dose": test.full[n]}
        if test.clean is not None:
            shown["noise-free"] = test.clean[n]
        shown["non-local means"] = material.kept_image("floor_nlm", n)
        shown |= {name: material.kept_image(key, n) for key, name in _networks(material).items()}
        pictures.append(shown)
    low, high = material.config.score.window
    text = (
        f"{len(test)} slices of {len(set(test.patients))} patients the networks had not seen; brackets are 95 % "
        f"intervals over patients. RMSE over all of the slice, PSNR, SSIM and VIF within {low:g} to {high:g} HU; "
        "target: "
        f"{_target(material)}."
    )
    said = [
        Chapter("The denoisers side by side", [text], draw_denoised(pictures, folder / "denoised.png"), rows),
        Chapter(
            "Do they beat what needs no training?",
            ["Differences in the same patients: above 0 the network is better. An interval above 0 says it is."],
            None,
            paired,
        ),
    ]
    if material.livers:
        data = material.config.data
        text = (
            f"{data.n_draws} scans each of {len(material.livers)} livers, with a lesion of {data.lesion_mm:g} mm "
            "radius "
            f"and {data.lesion_hu:g} HU and without. A channelised Hotelling observer (Laguerre-Gauss) has to say "
            "which is "
            "which, templates made of the other scans. A denoiser can look smoother and yet tell an observer less."
        )
        pictured = {names[k]: v for k, v in spectra(material).items()}
        said.append(
            Chapter(
                "Noise that is left, and lesions that can be seen", [text], draw_spectra(pictured, folder / "nps.png")
            )
        )
    return said


def _order(found: Found) -> list[int]:
    order = sorted(
        range(len(found.samples)),
        key=lambda k: (not bool(found.inside[k]), float(found.anatomy[k]) == 0, -float(found.distance[k])),
    )
    noise = [k for k in order[2:] if float(found.scales[k]) == 0][:1]
    return (order[:2] if noise else order[:3]) + noise


def _hidden(material: Material, scores: Scores, folder: Path) -> list[Chapter]:
    names = {k: v for k, v in _networks(material).items() if f"invariances_{k}" in scores}
    if not names:
        return []
    shown = {
        "distance": "hidden change, d' in the scan", "distance_identity": "same search, identity",
        "distance_gaussian": "same search, Gaussian filter", "excess_over_identity": "excess over identity",
        "excess_over_gaussian": "excess over Gaussian filter", "anatomy": "share of blob samples that are anatomy",
        "rejected": "share rejected", "leakage": "leakage [HU per HU]", "change": "change of the scan [HU]",
        "output_change": "change of the output [HU]",
    }  # fmt: skip
    rows = [
        {"": name} | {v: _said(scores[f"invariances_{key}"].get(k)) for k, v in shown.items()}
        for key, name in names.items()
    ]
    first = next(iter(names))
    chapters = [
        Chapter(
            "What they do not see",
            [
                (
                    "Found by search, without training: scans that differ from the patient's by blobs of 2 to 8 pixels "
                    "as visible as can be, while the output changes by no more than the tolerance at any place and "
                    "scale. A change is called anatomy when its most visible blob is more visible than that of every "
                    f"noise realisation (d' {_said(scores[f'invariances_{first}']['most_visible_noise'])}); with a "
                    "tolerance near 1 most are below that, and the excess over the controls is the finding."
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
    curves, controls = {}, {}
    for key, name in names.items():
        group = scores[f"invariances_{key}"]
        curves[name] = {
            float(k.removeprefix("distance_at_")): s.value for k, s in group.items() if k.startswith("distance_at_")
        }
        curves[name].setdefault(material.config.explain.tolerance, group["distance"].value)
        for control in CONTROLS:
            if f"distance_{control}" in group:
                controls[f"{_CONTROLS[control]} ({name})"] = group[f"distance_{control}"].value
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


def _drawn(material: Material, scores: Scores, folder: Path) -> list[Chapter]:
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
    rows = [{"": words[form]} | {v: _said(g.get(k)) for k, v in shown.items()} for form, g in groups.items()]
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
        f"A conditional autoencoder and a conditional invertible network, trained on {name}. Every draw is checked by "
        "the "
        "network; those outside the tolerance are rejected. The sampler can only draw what its decoder can: the floor "
        "is "
        "what is lost before any invariance is sought, and where it lies above the tolerance, rejections say nothing "
        "of the network."
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


def _weighed(material: Material, scores: Scores, folder: Path) -> list[Chapter]:
    names = {k: v for k, v in _networks(material).items() if f"split_{k}" in scores}
    if not names:
        return []
    shown = {
        "share_outside_noise": "outside the span of noise draws", "share_outside_noise_of_noise": "same of other noise",
        "smooth_share_of_directions": "smooth share of what is left", "smooth_share_of_noise": "same of other noise ",
        "dice_anatomy": "Dice of masks, samples of anatomy", "dice_noise": "Dice of masks, noise",
    }  # fmt: skip
    rows = [
        {"": name} | {v: _said(scores[f"split_{key}"].get(k)) for k, v in shown.items()} for key, name in names.items()
    ]
    text = (
        "Directions: principal directions of the changes once the span of the noise draws is taken away; a few draws "
        "span "
        "little of so many pixels, hence what held-out noise leaves stands beside. Smooth share: how much of their "
        "energy "
        f"a blur by two pixels keeps. Masks: {', '.join(m.replace('_', ' ') for m in MASKS)} by HU in the blurred "
        "image."
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
                        "hidden contrast [HU]": _said(group.get(f"network_{radius:g}")),
                        "in the scan itself": _said(group.get(f"identity_{radius:g}")),
                        "in the Gaussian filter": _said(group.get(f"gaussian_{radius:g}")),
                        "excess over the scan": _said(group.get(f"excess_over_identity_{radius:g}")),
                        "excess over the filter": _said(group.get(f"excess_over_gaussian_{radius:g}")),
                    }
                )
        text = (
            "A lesion is put into the liver of each patient and made stronger until the output shows it (its largest "
            "d' "
            "passes the tolerance): the contrast before that is hidden. The Gaussian filter leaves as much noise as "
            "the "
            "network does in this place."
        )
        path = draw_lesions(curves, folder / "lesions.png")
        chapters.append(Chapter("Lesions that vanish unseen", [text], path, table))
    return chapters


def _truth(material: Material, scores: Scores, folder: Path) -> list[Chapter]:
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
        "Images of 12 Gaussian coefficients and a linear f of 5 outputs: drawing and moving onto the level set must "
        "give the "
        "conditional Gaussian; the eigenvalues of a sample spread around 1 the less the more samples there are."
    )
    said = (
        f"A CNN-10 was taught to take out rings and to leave discs of equal contrast and area: of a ring it leaves "
        f"{_said(planted['ring_in_output'])} of the contrast, of a disc {_said(planted['discs_in_output'])}. The "
        "search, which "
        f"knows neither, changes rings by {_said(planted['ring_changed'])} of their contrast unseen and discs by "
        f"{_said(planted['discs_changed'])}; told apart by that, AUC {_said(planted['auc'])} in {planted['auc'].n} "
        "images of one "
        f"ring and four discs. In the identity it finds nothing: largest d' "
        f"{_said(scores['truth_identity']['largest_distance'])} at a tolerance of 1."
    )
    return [Chapter("Where the answer is known", [said, text], None, rows)]


def write_page(material: Material, study: AbstractStudy, scores: Scores) -> None:
    """Write ``report.html`` from what has been done so far."""
    run, config = material.run, material.config
    folder = run.folder.figures
    folder.mkdir(parents=True, exist_ok=True)
    chapters: list[Chapter] = []
    if scores:
        chapters = [Chapter("In short, for a clinician", _summary(material, scores))]
        for part in (_quality, _hidden, _drawn, _weighed, _truth):
            chapters += part(material, scores, folder)
    items: Sequence[dict[str, str]] = [{"in the paper": i.what, "": i.state, "here": i.how} for i in ITEMS]
    chapters.append(Chapter("What the paper did, and what is done here", [study.paper], None, items))
    data = config.data
    meta: dict[str, object] = {
        "paper": study.paper,
        "size": config.size,
        "data": "torso phantoms, simulated scanner" if material.phantoms else "your scans",
        "dose": f"{100 * data.dose:g} %" if material.phantoms else "as the scans have it",
        "target": _target(material),
        "trained on": f"{len(material.learn)} slices of {len(set(material.learn.patients))} patients",
        "pixels": f"{material.test.low.shape[-2]} x {material.test.low.shape[-1]} of {material.test.pixel_mm:g} mm",
        "seed": run.seed,
    }
    if run.folder.failures:
        meta["cases that failed"] = f"{len(run.folder.failures)}, told in failures.tsv"
    write_report(run.path / "report.html", f"Regard study: {study.title}", [], meta=meta, chapters=chapters)
