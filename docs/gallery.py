"""Every method on the same three scans: python docs/gallery.py, into docs/gallery.md and docs/images/gallery (minutes).

Three phantoms of the bench and its networks: a number with a shortcut, a class, an image. Methods that read attention
are shown on a small vision transformer that was trained on the same images.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

import regard
from regard.bench.network import train
from regard.bench.plan import BenchPlan
from regard.core.errors import RegardError
from regard.core.target import AbstractTarget
from regard.explainers import METHODS
from regard.explainers.describe import describe
from regard.phantoms.planted import Planted
from regard.report.colours import is_signed, paint, scale_of
from regard.training.measure import fit, fold_scale

DOCS = Path(__file__).parent
PICTURES = DOCS / "images" / "gallery"
PHANTOMS = {"decoy-0.9": "measures", "linear-classes": "classifies", "denoising": "restores"}
PLAN = BenchPlan("gallery", phantoms=tuple(PHANTOMS), n_networks=1)
KNOBS = {
    "occlusion": ":window=6,stride=2",
    "shapley-exact": ":parts=blocks,n_parts=9",
    "attention-rollout": ":grid=8x8",
    "gradient-rollout": ":grid=8x8",
}
ATTENTION = ("attention-rollout", "gradient-rollout")
FAMILIES = {
    "cam": "Class activation maps",
    "gradient": "Gradients",
    "perturbation": "Changing the image and asking again",
    "propagation": "Relevance passed back",
    "attention": "Attention",
    "learned": "Learned",
    "from_captum": "By captum",
}
SUBJECT = 3


class SmallTransformer(nn.Module):
    """Patches of 6 x 6, a class token, two blocks; the class token gives one number."""

    def __init__(self, side: int = 48, patch: int = 6, width: int = 32) -> None:
        super().__init__()
        n = (side // patch) ** 2
        self.embed = nn.Conv2d(1, width, patch, patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(0.02 * torch.randn(1, n + 1, width))
        layer = nn.TransformerEncoderLayer(
            width, 4, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(x), -1, -1), tokens], 1) + self.position
        return self.head(self.blocks(tokens)[:, 0])  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Scan:
    """A scan of the gallery, and the networks that are asked about it.

    Parameters
    ----------
    phantom
        Registered name.
    subject
        The scan.
    networks
        The convolutional network, and the transformer where there is one.
    target
        What is explained.
    layer
        Of the CAM methods.
    references
        Training images (case, 1, row, column), for expected gradients.
    mark
        Where the image changes with the mark (row, column); None where there is none.
    merit
        How well each network does, in words.
    """

    phantom: str
    subject: Planted
    networks: tuple[nn.Module, ...]
    target: AbstractTarget
    layer: str | None
    references: Tensor
    mark: Tensor | None
    merit: tuple[str, ...]


def scan_of(phantom: str) -> Scan:
    """Train the networks of a phantom, and draw the scan."""
    made, question, trained = PLAN.phantom(phantom), PLAN.question(phantom), train(PLAN, phantom, 0)
    learn = [made.subject(n, seed=PLAN.train_seed(0)) for n in range(PLAN.n_train)]
    test = [made.subject(n, seed=PLAN.test_seed) for n in range(PLAN.n_test)]
    images = torch.stack([s.image for s in learn])
    name = {"auc": "area under the ROC curve", "r2": "R2"}[question.quality]
    networks, merit = [trained.network], [f"{name} {trained.fit[question.quality]:.2f}"]
    if question.kind != "image":
        wanted = question.wanted(learn)
        mean, spread = (float(wanted.mean()), float(wanted.std())) if question.kind == "regression" else (0.0, 1.0)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = SmallTransformer()
        fit(
            network,
            images,
            (wanted - mean) / spread,
            n_epochs=3 * PLAN.n_epochs,
            learning_rate=2e-3,
            loss=question.loss,
        )
        fold_scale(network.head, mean, spread)
        with torch.no_grad():
            answers = network(torch.stack([s.image for s in test]))[:, 0].double().numpy()
        networks.append(network)
        merit.append(f"{name} {question.quality_of(answers, question.labels(test)):.2f}")
    subject = test[SUBJECT]
    mark = None
    if made.decoy is not None:
        ends = [made.subject(SUBJECT, seed=PLAN.test_seed, factors={"decoy": end}).image[0] for end in (0.0, 1.0)]
        mark = (ends[1] - ends[0]).abs() > 1e-6
    return Scan(
        phantom, subject, tuple(networks), question.target(subject), question.layer, images[:50], mark, tuple(merit)
    )


def explain(name: str, scan: Scan) -> regard.Explanation | str:
    """The map, or why there is none."""
    if name in ATTENTION and len(scan.networks) == 1:
        return "there is no attention in its network"
    network = scan.networks[1 if name in ATTENTION else 0]
    layer = scan.layer if "layers" in describe(name)["needs"] and name != "deeplift" else None
    # An array is taken as it is, rows down; a volume would be turned by its affine before the network sees it.
    others = list(scan.references[:, 0]) if name == "expected-gradients" else []
    try:
        return regard.explain(
            network, scan.subject.image[0], name + KNOBS.get(name, ""), target=scan.target, layer=layer,
            reference_cases=others, case=scan.subject.name,
        )  # fmt: skip
    except RegardError as error:
        return str(error)


def grey(image: Tensor) -> np.ndarray:
    """Intensities between the extremes of their middle 99 %, as 0 to 1."""
    low, high = np.quantile(image.numpy(), (0.005, 0.995))
    return np.clip((image.numpy() - low) / (high - low), 0, 1)


def strip(scans: Iterable[Scan], drawn: Iterable[regard.Explanation | str | None], path: Path) -> None:
    """One picture: the scans side by side, the structure outlined, a map over each."""
    scans = list(scans)
    figure = Figure(figsize=(1.15 * len(scans), 1.15))
    axes = figure.subplots(1, len(scans), gridspec_kw={"wspace": 0.04}, squeeze=False)[0]
    figure.subplots_adjust(0, 0, 1, 1)
    for axis, scan, shown in zip(axes, scans, drawn, strict=True):
        base = grey(scan.subject.image[0])
        axis.axis("off")
        if isinstance(shown, str):
            axis.imshow(np.full((*base.shape, 3), 0.93))
            axis.text(
                0.5, 0.5, "no map", transform=axis.transAxes, ha="center", va="center", fontsize=9, color="#555555"
            )
            continue
        picture = np.repeat(base[..., None], 3, -1)
        if shown is not None:
            picture = paint(base, shown.numpy()[:, :, 0], scale_of(shown), signed=is_signed(shown))
        axis.imshow(picture, interpolation="nearest")
        axis.contour(scan.subject.structure.numpy(), levels=[0.5], colors="white", linewidths=0.8)
        if scan.mark is not None:
            axis.contour(scan.mark.float().numpy(), levels=[0.5], colors="white", linewidths=0.8, linestyles=":")
    figure.savefig(path, dpi=100, metadata={"Software": None})


def section(title: str, names: Iterable[str], refused: Mapping[str, dict[str, str]]) -> list[str]:
    """A family's methods: name, quantity, thumbnails, what it is."""
    lines = [f"## {title}", "", "| method | three scans | what it is |", "| --- | --- | --- |"]
    for name in names:
        facts = describe(name)
        without = "".join(f"; no map of `{phantom}`: {why}" for phantom, why in refused.get(name, {}).items())
        picture = f"![{name} on the three scans](images/gallery/{name}.png)"
        lines.append(f"| `{name}` ({facts['quantity']}) | {picture} | {facts['what it does']}{without} |")
    return [*lines, ""]


PAGE = """# Gallery: every method on the same three scans

![the three scans](images/gallery/scans.png)

One scan of each of three phantoms of the [bench](bench.md). From left to right: `decoy-0.9`, of which a network
*measures* a ball's intensity and may use a mark elsewhere, whose intensity goes along with it; `linear-classes`, of
which one *classifies* whether the ball is brighter than the median; `denoising`, which one *restores*, and of which the
mean of the restored image over the ball is explained. The ball is outlined in white, the mark dotted.

Orange raises the output and blue lowers it; maps without a sign go from purple to yellow. Each map is drawn at its own
scale. What its numbers are stands beside its name ([what a map means](what-a-map-means.md)). A picture of one scan
shows what a kind of map looks like, not whether it is right: that is [measured](bench.md), and
[this page](choose-a-method.md) says what follows for the choice.

"""


def main() -> None:
    """Train, explain, draw, and write the page."""
    torch.set_num_threads(1)
    logging.getLogger("regard").setLevel(logging.ERROR)
    PICTURES.mkdir(parents=True, exist_ok=True)
    scans = [scan_of(phantom) for phantom in PHANTOMS]
    strip(scans, [None] * len(scans), PICTURES / "scans.png")
    refused: dict[str, dict[str, str]] = {}
    families: dict[str, list[str]] = {}
    for name in METHODS:
        drawn = [explain(name, scan) for scan in scans]
        strip(scans, drawn, PICTURES / f"{name}.png")
        refused[name] = {s.phantom: d for s, d in zip(scans, drawn, strict=True) if isinstance(d, str)}
        family = describe(name)["python"].split(".")[2]
        families.setdefault(family, []).append(name)
    transformers = "; ".join(f"`{s.phantom}` {s.merit[1]}" for s in scans if len(s.merit) > 1)
    knobs = ",\n".join(f"`{name}{knobs}`" for name, knobs in KNOBS.items())
    lines = [
        f"The networks, on {PLAN.n_test} test images: " + "; ".join(f"`{s.phantom}` {s.merit[0]}" for s in scans) + ".",
        f"Attention is shown on a small vision transformer: {transformers}.",
        "CAM methods look at a layer of a quarter of the image's sides. Knobs are the defaults, but for",
        f"{knobs}.", "", "`python docs/gallery.py` makes the pictures and this page.", "",
    ]  # fmt: skip
    for family, names in families.items():
        lines += section(FAMILIES.get(family, family), names, refused)
    (DOCS / "gallery.md").write_text(PAGE + "\n".join(lines).rstrip() + "\n")


if __name__ == "__main__":
    main()
