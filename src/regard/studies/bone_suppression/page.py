"""The report: one page that a clinician can read, then tables, pictures and maps."""

from regard.phantoms.radiograph import FINDINGS
from regard.report.html import Chapter, ReportCase
from regard.studies.bone_suppression.baselines import BASELINES
from regard.studies.bone_suppression.config import BoneSuppressionConfig
from regard.studies.bone_suppression.explain import explained, maps_of, region_of
from regard.studies.bone_suppression.figures import draw_maps, draw_removed, draw_side_by_side, draw_training
from regard.studies.bone_suppression.material import Material
from regard.studies.bone_suppression.pairs import picture
from regard.studies.bone_suppression.score import group_of
from regard.studies.run import Scores, StudyRun
from regard.studies.study import AbstractStudy
from regard.studies.study_page import done_acts, in_words, sentence, write_early_page, write_study_page

__all__ = ["write_page"]

_LIKENESS = ("mae", "psnr", "ssim", "ms_ssim", "bone_suppression_ratio", "bone_removed", "changed_elsewhere")
_FINDINGS = (
    "finding_kept", "finding_kept_behind_bone", *(f"finding_kept_{k}" for k in FINDINGS), "contrast_gained",
)  # fmt: skip
_HISTOGRAMS = ("correlation", "intersection", "chi_squared", "bhattacharyya", "earth_mover")


def _rows(material: Material, scores: Scores, names: tuple[str, ...]) -> list[dict[str, str]]:
    rows = []
    for name in (*material.config.train.networks, *BASELINES):
        group = scores.get(group_of(name))
        if group is None:
            continue
        said = f"without a network: {BASELINES[name]}" if name in BASELINES else f"{name} {_size(material, name)}"
        units = {k: f" [{s.unit}]" if s.unit != "1" else "" for k, s in group.items()}
        rows.append(
            {"": said} | {n.replace("_", " ") + units.get(n, ""): in_words(group[n]) for n in names if n in group}
        )
    return rows


def _size(material: Material, name: str) -> str:
    section = material.config.train
    if name == "resnet-bs":
        whole = (section.resnet_width, section.resnet_blocks) == (64, 16)
    else:
        whole = name == "ae-bs" or section.narrow == 1
    n = sum(p.numel() for p in material.network(name).parameters())
    return f"({n:,} values)" if whole else f"(small: {n:,} values)"


def _summary(material: Material, scores: Scores) -> list[str]:
    """What a clinician should know, in whole sentences."""
    test = material.test
    said = [
        "The networks turn a chest radiograph into one without bones, so that what lies behind a rib is easier to see. "
        + (
            "Everything on this page comes from simulated chests whose bones we know; it says nothing of real ones."
            if material.phantoms
            else "They were trained and tested on the pairs in your folder; their truth is whatever made those twins."
        )
    ]
    best = material.best
    group = scores.get(best)
    if group:
        above = group.get("psnr_above_input")
        better = "not measurably different from"
        if above and (above.low > 0 or above.high < 0):
            better = "better than" if above.low > 0 else "worse than"
        said.append(
            sentence(
                "On {n_chests} chests never seen, {best}, the network with the smallest validation loss, takes away "
                "{bone_removed} of the bone image and leaves an error of {mae} grey levels of 1 (brackets: 95 % "
                "interval). It is {better} the radiograph as it is (difference in PSNR {psnr_above_input} dB).",
                group, n_chests=len(set(test.patients)), best=best, better=better,
            )
        )  # fmt: skip
        rivals = {b: scores[group_of(b)]["psnr"].value for b in BASELINES if group_of(b) in scores}
        rival = max(rivals, key=lambda b: rivals[b])
        said.append(
            f"The best way without a network is {BASELINES[rival]}; the network's PSNR less that is "
            f"{in_words(group.get(f'psnr_above_{rival}'))} dB."
        )
        if "finding_kept" in group:
            said.append(
                sentence(
                    "Of a finding, it keeps {finding_kept} (1 is all of it; behind bone {finding_kept_behind_bone}), "
                    "measured by taking the same chest with and without the finding. What is missing from 1 is what a "
                    "reader of the suppressed image would not see.",
                    group,
                )
            )
        said.append(
            sentence(
                "Where there is no bone at all it changes the picture by {changed_elsewhere} grey levels (root mean "
                "square): a suppressed image is not the radiograph with something subtracted.",
                group,
            )
        )
    depends = scores.get("depends")
    if depends:
        said.append(
            sentence(
                "In the explained region, moving the finding from nothing to all changes the network's output by "
                "{change_finding} grey levels (the radiograph: {change_finding_in_radiograph}), moving all bone "
                "changes it by {change_bone} (radiograph: {change_bone_in_radiograph}; right is 0).",
                depends,
            )
        )
    said.append("Research use only: none of this is a diagnosis.")
    return said


def _map_rows(scores: Scores) -> list[dict[str, str]]:
    rows = []
    for group, values in scores.items():
        if group.startswith("map_"):
            method = group.removeprefix("map_")
            row = {"map": method}
            for name, shown in (
                ("average-precision", "place, against what the region depends on"),
                ("deletion", "faithfulness (deletion)"),
            ):
                if name in values:
                    unit = f" [{values[name].unit}]" if values[name].unit != "1" else ""
                    row[shown] = in_words(values[name]) + unit
            near = scores.get("explained", {}).get(f"share_near_region_{method}")
            row["share within 8 pixels of the region"] = in_words(near)
            rows.append(row)
    return rows


def _chapters(run: StudyRun, material: Material, scores: Scores) -> list[Chapter]:
    figures, done = run.folder.figures, done_acts(run)
    chapters = [Chapter("In short, for a clinician", _summary(material, scores))]
    if "score" in done:
        draw_side_by_side(material, figures / "side-by-side.png")
        draw_removed(material, figures / "removed.png")
        draw_training(material, figures / "training.png")
        text = (
            f"{len(material.test)} radiographs of {len(set(material.test.patients))} chests; in brackets 95 % "
            "intervals, chests resampled. Every output is clipped to [0, 1] first, as two of the networks have no "
            f"bound. MS-SSIM at {material.config.train.scales} scales. Bone suppression ratio: 1 - squared error left "
            "over squared error of the radiograph; bone removed: share of the true bone image in what was taken away; "
            "changed elsewhere: root mean square change where there is no bone."
        )
        chapters.append(
            Chapter("How well bones are taken away", [text], figures / "side-by-side.png",
                    _rows(material, scores, _LIKENESS))
        )  # fmt: skip
        text = (
            "Red: taken away though it was no bone, or more than the bone was worth. Blue: bone left. The outline is "
            "the finding. Finding kept: every test chest is taken without a finding and with one of each kind; the "
            "change in the output as a share of that in the truth (1 is right). Contrast gained: brightness of the "
            "finding above the lung around it, less that in the truth (0 is right; ribs over the finding raise it)."
        )
        found = _rows(material, scores, _FINDINGS) if material.phantoms else []
        chapters.append(
            Chapter("What was taken away that was not bone, and what is left of findings", [text],
                    figures / "removed.png", found)
        )  # fmt: skip
        names = tuple(f"histogram_{h}" for h in _HISTOGRAMS)
        text = "Histograms of output and truth, as the paper compares them. They say nothing of where anything lies."
        chapters.append(Chapter("Histograms", [text], None, _rows(material, scores, names)))
        rows = [
            {"network": n, "validation loss": in_words(scores[n].get("validation_loss"))}
            for n in material.config.train.networks if n in scores
        ]  # fmt: skip
        chapters.append(
            Chapter("Training", ["Loss on radiographs of other chests, which choose the best epoch."],
                    figures / "training.png", rows)
        )  # fmt: skip
    if "explain" in done:
        cohort = explained(material)
        numbers = [n for n in range(min(material.config.explain.n_pictured, len(cohort)))
                   if maps_of(material, cohort, n)]  # fmt: skip
        if numbers:
            draw_maps(material, cohort, numbers, figures / "maps.png")
            text = (
                f"{material.best}: what the outlined region of its output was made from. LAM explains the region's "
                "edges, the others its mean; red raised it, blue lowered it, each map on a scale of its own. A network "
                "that fills in what lies behind a rib by what lies beside it shows that here. The maps are weighed on "
                "the square around the region that no layer looks beyond. The centred Gaussian among the controls "
                "therefore knows where the region is, and a map that does not beat it says no more than that the "
                "network is local."
            )
            chapters.append(
                Chapter("Which input made this part of the output", [text], figures / "maps.png", _map_rows(scores))
            )
    return chapters


def _cases(material: Material) -> list[ReportCase]:
    cohort, found = explained(material), []
    for n in range(min(material.config.explain.n_pictured, len(cohort))):
        maps = maps_of(material, cohort, n)
        if maps:
            region = picture(region_of(material, cohort, n).float(), "label")
            output = picture(material.found(material.best)[material.test.cases.index(cohort.cases[n]), 0], "grey")
            row = {"case": cohort.cases[n], "finding": cohort.kinds[n] or "none known"}
            found.append(ReportCase(cohort.cases[n], maps, region, output, rows=[row]))
    return found


def write_page(study: AbstractStudy[Material], run: StudyRun, scores: Scores) -> None:
    """Write ``report.html`` from what has been done so far."""
    done, config = done_acts(run), run.config
    if "train" not in done:
        write_early_page(study, run)
        return
    assert isinstance(config, BoneSuppressionConfig)
    material = study.material(run)
    facts = {
        "size": config.size,
        "data": "radiograph phantoms" if material.phantoms else "the user's folder",
        "trained on": f"{len(material.learn)} radiographs of {len(set(material.learn.patients))} chests",
        "networks": ", ".join(f"{n} {_size(material, n)}" for n in config.train.networks),
        "pixels": f"{config.data.size} x {config.data.size}, trained on squares of {config.train.crop}",
        "seed": run.seed,
    }
    cases = _cases(material) if "explain" in done and "score" in done else []
    write_study_page(study, run, _chapters(run, material, scores), facts=facts, cases=cases)
