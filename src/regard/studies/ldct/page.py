"""The report: what the study says in plain words, then tables and pictures."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from regard.report.html import Chapter, write_report
from regard.studies.ldct.about import ITEMS
from regard.studies.ldct.chapters import (
    drawn_chapters,
    free_chapters,
    hidden_chapters,
    in_words,
    networks_of,
    truth_chapters,
    unbroken,
    weighed_chapters,
)
from regard.studies.ldct.figures import draw_denoised, draw_spectra
from regard.studies.ldct.material import Material
from regard.studies.ldct.score import FLOORS, spectra
from regard.studies.run import Scores
from regard.studies.study import AbstractStudy

__all__ = ["write_page"]

_MEASURES = {
    "rmse": "RMSE [HU]", "rmse_truth": "RMSE to the noise-free scan [HU]", "psnr": "PSNR [dB]", "ssim": "SSIM",
    "vif": "VIF", "noise": "noise in the liver [HU]", "noise_frequency": "its mean frequency [1/mm]",
    "lesion_contrast": "contrast of the lesion [HU]", "observer_d_prime": "d' of the observer",
    "observer_auc": "AUC of the observer",
}  # fmt: skip
_PICTURED = 2


def _target(material: Material) -> str:
    if not material.phantoms:
        return "the scan at full dose, with its noise"
    return {"full dose": "the scan at full dose, with its noise", "noise-free": "the scan without noise"}[
        material.config.data.target
    ]


def _summary(material: Material, scores: Scores) -> list[str]:
    data, names = material.config.data, networks_of(material)
    if material.phantoms:
        told = (
            f"A scan at {100 * data.dose:g} % of the dose is noisy, and a denoiser makes it look as if it had been "
            "taken at full dose. Everything on this page comes from simulated patients on a simulated scanner; it "
            "says nothing of real ones."
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
        said.append(f"{name} {verdict} (RMSE {in_words(rows['rmse'])} HU).")
    for key, name in names.items():
        rows = scores.get(f"invariances_{key}")
        if rows is None:
            continue
        words = (
            f"{name}: other scans give the same picture within d' = {material.config.explain.tolerance:g}. How far "
            "they differ from the patient's, in d', by the size of what differs: "
        )
        parts = []
        for scale in (k.removeprefix("distance_blob_") for k in rows if k.startswith("distance_blob_")):
            ours, base = rows[f"distance_blob_{scale}"], rows.get(f"distance_identity_blob_{scale}")
            text = f"blobs of {float(scale) * material.test.pixel_mm:g} mm {in_words(ours)}"
            parts.append(text if base is None else f"{text} (a network that hides nothing: {in_words(base)})")
        words += "; ".join(parts) + "."
        lesions = scores.get(f"lesions_{key}")
        if lesions is not None:
            radius = material.config.weigh.radii_mm[-1]
            words += (
                f" A lesion of {radius:g} mm radius in the liver can have a contrast of "
                f"{in_words(lesions[f'network_{radius:g}'])} HU before the picture changes by that much; in the "
                f"scan itself {in_words(lesions[f'identity_{radius:g}'])} HU."
            )
        said.append(words)
    said.append(
        "How anatomy is told from noise is ours, as the paper's own two methods are not public. What is hidden "
        "within a tolerance depends on the tolerance; the identity, which hides nothing, stands beside every "
        "figure."
    )
    return said


def _quality(material: Material, scores: Scores, folder: Path) -> list[Chapter]:
    names = {**FLOORS, **networks_of(material)}
    rows = [
        {"": unbroken(name)} | {v: in_words(scores[key].get(k)) for k, v in _MEASURES.items() if k in scores[key]}
        for key, name in names.items()
        if key in scores
    ]
    if not rows:
        return []
    paired = []
    for key, name in networks_of(material).items():
        for floor, words in FLOORS.items():
            row = {"": f"{name}, better than {words} by"}
            for k, v in _MEASURES.items():
                if f"{k}_better_than_{floor}" in scores[key]:
                    row[v] = in_words(scores[key][f"{k}_better_than_{floor}"])
            paired.append(row)
    test = material.test
    pictures = []
    for n in range(min(_PICTURED, len(test))):
        shown: dict[str, Tensor] = {"low dose": test.low[n], "full dose": test.full[n]}
        if test.clean is not None:
            shown["noise-free"] = test.clean[n]
        shown["non-local means"] = material.kept_image("floor_nlm", n)
        shown |= {name: material.kept_image(key, n) for key, name in networks_of(material).items()}
        pictures.append(shown)
    low, high = material.config.score.window
    text = (
        f"{len(test)} slices of {len(set(test.patients))} patients the networks had not seen; brackets are 95 % "
        f"intervals over patients. RMSE over all of the slice, PSNR, SSIM and VIF within {low:g} to {high:g} HU; "
        f"target: {_target(material)}."
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
            f"radius and {data.lesion_hu:g} HU and without. A channelised Hotelling observer (Laguerre-Gauss) has "
            "to say which is which, templates made of the other scans. A denoiser can look smoother and yet tell "
            "an observer less."
        )
        pictured = {names[k]: v for k, v in spectra(material).items()}
        said.append(
            Chapter(
                "Noise that is left, and lesions that can be seen", [text], draw_spectra(pictured, folder / "nps.png")
            )
        )
    return said


def write_page(material: Material, study: AbstractStudy[Material], scores: Scores) -> None:
    """Write ``report.html`` from what has been done so far."""
    run, config = material.run, material.config
    folder = run.folder.figures
    folder.mkdir(parents=True, exist_ok=True)
    chapters: list[Chapter] = []
    if scores:
        chapters = [Chapter("In short, for a clinician", _summary(material, scores))]
        for part in (_quality, hidden_chapters, free_chapters, drawn_chapters, weighed_chapters, truth_chapters):
            chapters += part(material, scores, folder)
    items: Sequence[dict[str, str]] = [{"in the paper": i.what, "": i.state, "here": i.how} for i in ITEMS]
    chapters.append(Chapter("What the paper did, and what is done here", [study.paper], None, items))
    data = config.data
    meta: dict[str, object] = {
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
