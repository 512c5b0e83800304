"""What the tuberculosis network answers to besides the lungs, and which maps show it.

``python tests/realdata/shortcuts.py DATA -o FOLDER`` writes the tables of ``docs/real-networks.md`` and pictures to
look at; ``DATA`` is laid out as the tests read it.
"""

import argparse
import csv
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from skimage.feature import match_template
from torch import Tensor

import regard
from regard.case.explaining import explain_case
from regard.core.volume import Volume
from regard.evidence.intervals import Interval
from regard.evidence.shortcut import (
    AbstractMark,
    Border,
    Burnt,
    Overlay,
    detection_rates,
    dose_response,
    net_share_inside,
    share_inside,
)
from regard.evidence.statistics import clustered_interval, difference_interval, patient_means
from regard.explainers.spec import parse_methods
from regard.models import Model, load_model
from regard.models.case import prepare_case

CARD = Path(__file__).parent / "models" / "tuberculosis"
WEIGHTS = "weights/cxr_tuberculosis_mobilenetv2_alvinchow97.safetensors"
METHODS = (
    *("gradient", "grad-cam", "grad-ram", "grad-ramp", "hires-cam", "layer-cam", "random-cam"),
    *("integrated-gradients:n_steps=8", "occlusion:window=48,stride=48"),
)

SOURCE = "00001303_001"
"""The radiograph that the marker is taken from: PORTABLE, AP and an L in a ring, on dark film."""
MARKER = (slice(358, 500), slice(20, 58))
"""Its box, (column, row)."""
WORD = (slice(361, 416), slice(37, 51))
"""The word PORTABLE in it."""
ALIKE = 0.64
"""Correlation with the word's picture from which on it is the word: below, not one is; seen by eye."""


@dataclass(frozen=True)
class Radiograph:
    """One image of the table, (1, column, row) in grey levels."""

    name: str
    patient: str
    view: str
    group: str
    image: Tensor


def read_all(data: Path, names: Sequence[str] | None = None) -> list[Radiograph]:
    """All NIH radiographs, or those named."""
    with (data / "cxr_nih" / "labels.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    found = []
    for row in rows:
        name = row["file"].removesuffix(".png")
        if names is None or name in names:
            image = regard.read(data / "cxr_nih" / "images" / row["file"]).tensor[..., 0]
            found.append(Radiograph(name, row["patient_id"], row["view"], row["group"], image))
    return found


def one_each(shown: Sequence[Radiograph]) -> list[Radiograph]:
    """The first radiograph of each patient."""
    return list({r.patient: r for r in reversed(shown)}.values())[::-1]


def spread(shown: Sequence[Radiograph], n: int) -> list[Radiograph]:
    """About ``n`` of them, evenly."""
    return list(shown[:: max(1, len(shown) // n)][:n])


def volume(image: Tensor) -> Volume:
    """An image (1, column, row) as Regard reads a picture."""
    return Volume(image[..., None], np.diag([-1.0, -1.0, 1.0, 1.0]), "grey level")


def answers(model: Model) -> Callable[[Sequence[Tensor]], Tensor]:
    """Images to logits, by the card's own preparation."""

    @torch.no_grad()
    def answer(images: Sequence[Tensor]) -> Tensor:
        found = [
            model.network(prepare_case(model, {"image": volume(image)}).inputs.tensors[0])[:, 0] for image in images
        ]
        return torch.cat(found)

    return answer


class Explains:
    """Images (1, column, row) to maps (column, row); each image is explained once, by all methods together."""

    def __init__(self, model: Model, methods: Sequence[str] = METHODS) -> None:
        self.model, self.methods = model, methods
        self._known: dict[str, dict[str, Tensor]] = {}

    def by(self, method: str) -> Callable[[Tensor], Tensor]:
        """The maps of one method."""

        def explain(image: Tensor) -> Tensor:
            key = hashlib.sha256(image.numpy().tobytes()).hexdigest()
            if key not in self._known:
                found = explain_case(self.model, {"image": volume(image)}, parse_methods(self.methods), case=key)
                self._known[key] = {
                    m: e.relevance.tensor[0, ..., 0] for m, e in zip(self.methods, found.explanations, strict=True)
                }
            return self._known[key][method]

        return explain


def marker(source: Radiograph) -> Overlay:
    """The letters of the source's marker; the film around them stays that of the image they are put into."""
    patch = source.image[(slice(None), *MARKER)]
    return Overlay(patch, ((patch[0] - 60) / 100).clamp(0, 1), tuple(s.start for s in MARKER))


def burnt_words(shown: Sequence[Radiograph], source: Radiograph) -> dict[str, Burnt]:
    """Where the word PORTABLE is burnt into each radiograph, by name; radiographs without it are left out."""
    # In double precision: on black film the correlation is rounding otherwise.
    word = source.image[0][WORD].double().numpy()
    found = {}
    for r in shown:
        alike = match_template(r.image[0].double().numpy(), word)
        column, row = np.unravel_index(alike.argmax(), alike.shape)
        if alike.max() >= ALIKE:
            place = torch.zeros(r.image.shape[1:], dtype=torch.bool)
            # Two pixels more on each side: the dark rim of the letters.
            place[max(column - 2, 0) : column + word.shape[0] + 2, max(row - 2, 0) : row + word.shape[1] + 2] = True
            found[r.name] = Burnt(place)
    return found


@dataclass(frozen=True)
class Cropped(AbstractMark):
    """The image's margins cut off, as wide as ``dose * widest`` of each side, and the rest enlarged to its size."""

    widest: float = 0.1

    def on(self, image: Tensor, dose: float) -> Tensor:
        cut = [round(dose * self.widest * n) for n in image.shape[1:]]
        inside = image[(slice(None), *(slice(w, n - w) for w, n in zip(cut, image.shape[1:], strict=True)))]
        size = list(image.shape[1:])
        return torch.nn.functional.interpolate(inside[None], size=size, mode="bilinear", align_corners=False)[0]

    def region(self, image: Tensor, dose: float) -> Tensor:
        return torch.zeros(image.shape[1:], dtype=torch.bool)


def auc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Share of pairs in which the first is larger."""
    pairs = np.sign(np.asarray(positive)[:, None] - np.asarray(negative)[None])
    return float((pairs + 1).mean() / 2)


def said(interval: Interval) -> str:
    return str(interval)


def by_view(shown: Sequence[Radiograph], logits: Sequence[float]) -> list[list[str]]:
    """Logit by view position: rows of group, AP, PA, difference, AUC; patients' means, last a row within patients."""
    rows = []
    for name, chosen in (
        ("all", shown),
        ("no finding", [r for r in shown if r.group == "no_finding"]),
        ("pneumonia", [r for r in shown if r.group == "pneumonia"]),
    ):
        views = []
        for view in ("AP", "PA"):
            these = [(v, r.patient) for v, r in zip(logits, shown, strict=True) if r in chosen and r.view == view]
            views.append(list(patient_means([v for v, _ in these], [p for _, p in these]).values()))
        own = [clustered_interval(v, list(map(str, range(len(v))))) for v in views]
        difference = difference_interval(*views)
        rows.append([name, *(f"{said(o)}, n = {o.n}" for o in own), said(difference), f"{auc(*views):.2f}"])
    means = [
        patient_means(
            [v for v, r in zip(logits, shown, strict=True) if r.view == view],
            [r.patient for r in shown if r.view == view],
        )
        for view in ("AP", "PA")
    ]
    both = [p for p in means[0] if p in means[1]]
    paired = clustered_interval([means[0][p] - means[1][p] for p in both], both)
    rows.append(["patients with both", *(f"{np.mean([m[p] for p in both]):.2f}" for m in means), said(paired), "n/a"])
    rows[-1][1] += f", n = {len(both)}"
    return rows


def write(path: Path, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a Markdown table."""
    lines = ["| " + " | ".join(r) + " |" for r in (columns, ["---"] * len(columns), *rows)]
    path.write_text("\n".join(lines) + "\n")


def responses(
    model: Model, shown: Sequence[Radiograph], marks: Sequence[AbstractMark], doses: Sequence[float]
) -> list[str]:
    """Change of the logit by dose, with the share of patients whose logit rises."""
    found = dose_response(
        answers(model), [r.image for r in shown], marks, doses=doses, patients=[r.patient for r in shown]
    )
    return [f"{said(d.change)}, {100 * d.raised:.0f} % up" for d in found]


def detections(
    explains: Explains,
    shown: Sequence[Radiograph],
    marks: Sequence[AbstractMark],
    doses: Sequence[float],
    reading: Callable[[Tensor, Tensor], float] = share_inside,
) -> list[list[str]]:
    """A row a method: detection rate at each dose, then the mean share in the place without the mark and with it."""
    rows = []
    for method in explains.methods:
        seen = detection_rates(explains.by(method), [r.image for r in shown], marks, doses=doses, reading=reading)
        shares = f"{100 * seen[-1].without:.1f} % to {100 * seen[-1].share:.1f} %"
        rows.append([method.partition(":")[0], *(said(s.rate) for s in seen), shares, f"{100 * seen[-1].area:.1f} %"])
    return rows


def boxes(data: Path, shown: Sequence[Radiograph]) -> dict[str, Tensor]:
    """Radiologists' boxes of other findings than tuberculosis, by the radiograph's name, (column, row) of bool."""
    with (data / "cxr_nih" / "bboxes.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    size = {r.name: r.image.shape[1:] for r in shown}
    found: dict[str, Tensor] = {}
    for row in rows:
        name = row["file"].removesuffix(".png")
        x, y, w, h = (float(row[f"{key}_512"]) for key in "xywh")
        place = found.setdefault(name, torch.zeros(size[name], dtype=torch.bool))
        place[round(x) : round(x + w), round(y) : round(y + h)] = True
    return found


def overlaps(explains: Explains, shown: Sequence[Radiograph], places: dict[str, Tensor]) -> list[list[str]]:
    """A row a method: share of the relevance in the boxes, beside their share of the image; means over patients."""
    these = [r for r in shown if r.name in places]
    whose = [r.patient for r in these]
    area = clustered_interval([float(places[r.name].double().mean()) for r in these], whose)
    rows = []
    for method in explains.methods:
        shares = [share_inside(explains.by(method)(r.image), places[r.name]) for r in these]
        ratios = [s / float(places[r.name].double().mean()) for s, r in zip(shares, these, strict=True)]
        inside, ratio = (clustered_interval(v, whose) for v in (shares, ratios))
        rows.append([method.partition(":")[0], said(inside), said(area), said(ratio), str(inside.n)])
    return rows


def picture(
    explains: Explains, shown: Sequence[Radiograph], marks: Sequence[AbstractMark], dose: float, path: Path
) -> None:
    """Images without and with a mark, and maps of both."""
    methods = ("grad-cam", "grad-ramp", "occlusion:window=48,stride=48")
    figure = Figure(figsize=(3 * (2 + 2 * len(methods)), 3.1 * len(shown)), layout="constrained")
    axes = figure.subplots(len(shown), 2 + 2 * len(methods), squeeze=False)
    for row, r, mark in zip(axes, shown, marks, strict=True):
        images = [mark.on(r.image, d) for d in (0.0, dose)]
        for axis, image, d in zip(row, images, (0.0, dose), strict=False):
            axis.imshow(image[0].T, cmap="gray", vmin=0, vmax=255)
            axis.set_title(f"{r.name} dose {d:g}: {float(answers(explains.model)([image])[0]):.2f}", fontsize=9)
        for n, method in enumerate(methods):
            maps = [explains.by(method)(image) for image in images]
            top = max(float(m.abs().nan_to_num().max()) for m in maps)
            for axis, m, image in zip(row[2 + 2 * n :], maps, images, strict=False):
                axis.imshow(image[0].T, cmap="gray", vmin=0, vmax=255)
                axis.imshow(m.T, cmap="RdBu_r", vmin=-top, vmax=top, alpha=0.55)
                axis.set_title(method.partition(":")[0], fontsize=9)
        for axis in row:
            axis.set_axis_off()
    figure.savefig(path, dpi=60)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write tables and pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--patients", type=int, default=100, help="patients whose output is asked for with a mark")
    parser.add_argument("--explained", type=int, default=24, help="patients whose maps are made")
    asked = parser.parse_args(arguments)
    asked.output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    model = load_model(CARD, weights=asked.data / WEIGHTS, trust=True)
    shown = read_all(asked.data)
    source = next(r for r in shown if r.name == SOURCE)
    words, put = burnt_words(shown, source), marker(source)
    with_word = one_each([r for r in shown if r.name in words])
    others = [r for r in shown if r.patient not in {w.patient for w in with_word}]
    plain = spread(one_each(others), asked.patients)

    logits = answers(model)([r.image for r in shown]).tolist()
    write(asked.output / "views.md", ("radiographs", "AP", "PA", "AP - PA", "AUC"), by_view(shown, logits))

    doses, widths = (0.0, 0.3, 0.6, 0.9), Border()
    rows = []
    for name, some, marks in (
        ("marker put in", plain, [put] * len(plain)),
        ("word PORTABLE, faded out at 0", with_word, [words[r.name] for r in with_word]),
        ("black border, up to 9 % of each side", plain, [widths] * len(plain)),
        ("grey border (128), as wide", plain, [Border(value=128.0)] * len(plain)),
        ("margins cut off, up to 9 % of each side", plain, [Cropped()] * len(plain)),
    ):
        rows.append([name, str(len(some)), *responses(model, some, marks, doses)[1:]])
        write(asked.output / "responses.md", ("what", "patients", "dose 0.3", "0.6", "0.9"), rows)

    few = spread(plain, asked.explained)
    columns = ("map", *(f"dose {d:g}" for d in doses), "share there, dose 0 to 0.9", "area")
    explains = Explains(model)
    for file, marks, chosen, steps, reading in (
        ("marker", [put] * len(few), few, doses, share_inside),
        ("border", [widths] * len(few), few, (0.0, 0.9), share_inside),
        ("border-net", [widths] * len(few), few, (0.0, 0.9), net_share_inside),
        ("word", [words[r.name] for r in with_word], with_word, (0.0, 1.0), share_inside),
    ):
        picture(explains, chosen[:4], marks[:4], steps[-1], asked.output / f"{file}.png")
        heads = columns if steps == doses else ("map", *(f"dose {d:g}" for d in steps), "share there", "area")
        write(asked.output / f"detections-{file}.md", heads, detections(explains, chosen, marks, steps, reading))
    columns = ("map", "share in the boxes", "their area", "share / area", "patients")
    write(asked.output / "boxes.md", columns, overlaps(explains, shown, boxes(asked.data, shown)))


if __name__ == "__main__":
    main()
