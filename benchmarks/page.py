"""What the benchmarks found, as a page: one line for each row of the table, reached or not."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from measuring import Found, machine, versions

PEERS = ("torch", "monai", "captum", "grad-cam", "quantus", "torchvision", "numpy", "regard")
Results = Mapping[str, Found]


@dataclass(frozen=True)
class Line:
    """One line of the table; ``reached`` is None where nothing could be measured."""

    work: str
    against: str
    to_reach: str
    measured: str
    reached: bool | None

    def __str__(self) -> str:
        word = {True: "yes", False: "**no**", None: "not measured"}[self.reached]
        return f"| {self.work} | {self.against} | {self.to_reach} | {self.measured} | {word} |"


def failed(found: Mapping[str, Any]) -> str:
    """Why something is missing, or nothing."""
    said = [str(v["failed"]) for v in found.values() if isinstance(v, Mapping) and "failed" in v]
    said += [str(found["failed"])] if "failed" in found else []
    return "; ".join(dict.fromkeys(said))


def occlusion_goal(found: Found) -> Iterator[Line]:
    """Ten times faster than peers, and half of the bound."""
    ours = found.get("incremental", {})
    if not ours.get("cpu") or "cpu" not in found.get("plain", {}):
        return
    peers = {m: f["cpu"] / ours["cpu"] for m, f in found.items() if f.get("cpu") and m not in ("incremental", "plain")}
    captum = min((r for m, r in peers.items() if m.startswith("captum")), default=float("nan"))
    monai = peers.get("MONAI", float("nan"))
    said = f"captum {captum:.1f}, MONAI {monai:.1f} times ours"
    yield Line("exact occlusion of an SFCN", "captum (best), MONAI", "10 times faster", said, min(captum, monai) >= 10)
    plain = found["plain"]["cpu"] / ours["cpu"]
    said = f"{plain:.1f} times faster than the plain loop; bound {ours['operations']:.1f}"
    yield Line("", "its operation-count bound", "half of it", said, plain >= ours["operations"] / 2)


def exactness(name: str, found: Found) -> Iterator[Line]:
    """float64 to rounding; float32 within twice the plain loop's own error."""
    if "float64" not in found:
        return
    single, plain = found["float32"], found["float32, plain loop"]
    said = f"float64 {found['float64']:.0e}; float32 {single:.1e}, plain {plain:.1e}"
    good = found["float64"] <= 1e-10 and single <= 2 * plain
    yield Line(f"its exactness, {name}", "the plain loop", "1e-10; twice the plain error", said, good)


def cams(found: Found) -> Iterator[Line]:
    """Time against one pass each way, memory against one map of a peer."""
    passes, maps, peer = (found.get(k, {}) for k in ("passes", "maps", "peer"))
    if "all" not in maps or "to the image" not in passes:
        return
    all_, once = maps["all"], passes["to the image"]
    ratio, weights = all_["cpu"] / once["cpu"], all_["cpu"] / passes["to image and weights"]["cpu"]
    said = f"{ratio:.2f} times ({weights:.2f} where weights get gradients too)"
    yield Line("8 CAM maps of one pass, together", "forward + backward", "at most 1.3 times", said, ratio <= 1.3)
    if "one" not in peer:
        yield Line("", "pytorch-grad-cam, one map", "less peak memory", failed({"peer": peer}), None)
        return
    one = peer["one"]
    said = f"{all_['memory']:.0f} MiB, theirs {one['memory']:.0f}; Grad-CAMs correlate at {peer['correlation']:.3f}"
    yield Line("", "pytorch-grad-cam, one map", "less peak memory", said, all_["memory"] < one["memory"])


def path(name: str, found: Found) -> Iterator[Line]:
    """Memory against captum's default, time against its best."""
    theirs = {m: f for m, f in found.items() if m.startswith("captum") and "cpu" in f}
    ours, again, default = found.get("ours", {}), found.get("ours, parts run again", {}), theirs.get("captum, default")
    if "cpu" not in ours or not theirs:
        return
    work = f"integrated gradients, {name}"
    if default is None:
        yield Line(work, "captum's default", "a quarter of its memory", failed(found), None)
    else:
        said = f"{ours['memory']:.0f} MiB, theirs {default['memory']:.0f}"
        said += f"; with parts run again {again['memory']:.0f}" if "memory" in again else ""
        good = ours["memory"] <= default["memory"] / 4
        yield Line(work, "captum's default", "a quarter of its memory", said, good)
    fastest = min(theirs, key=lambda m: theirs[m]["cpu"])
    ratio, off = ours["cpu"] / theirs[fastest]["cpu"], [f.get("off", 0.0) for f in theirs.values()]
    said = f"{ratio:.2f} of its time ({fastest}); maps differ by {min(off):.0e} to {max(off):.0e} of the range"
    yield Line("", "captum's best batch", "no slower", said, ratio <= 1)


def deletion(name: str, found: Found) -> Iterator[Line]:
    """Time against Quantus, and against the network alone."""
    work, goal = f"deletion curve, {name}", "10 times faster"
    ours, theirs, network = (found.get(k, {}) for k in ("ours", "Quantus", "forward"))
    if not all("cpu" in one for one in (ours, theirs, network)):
        yield Line(work, "Quantus PixelFlipping", goal, failed(found), None)
        return
    said = f"Quantus {theirs['cpu'] / ours['cpu']:.1f} times ours, the network alone {network['cpu'] / ours['cpu']:.2f}"
    said += f"; curves differ by {theirs['off']:.0e} of the range"
    yield Line(work, "Quantus PixelFlipping", goal, said, theirs["cpu"] >= 10 * ours["cpu"])


def start_up(found: Found) -> Iterator[Line]:
    """How long the help takes."""
    share = found["regard --help"] / found["import torch"]
    yield Line("`regard --help`", '`python -c "import torch"`', "a quarter of the time", f"{share:.2f}", share <= 0.25)


def cohort(found: Found) -> Iterator[Line]:
    """What the cohort's own benchmark says: ``{"said": ..., "reached": ...}``."""
    said = str(found.get("said", failed(found)))
    yield Line("cohort of N volumes", "a bare loop", "90 % of its throughput", said, found.get("reached"))


def occlusion_line(name: str, found: Found) -> str:
    """Ours against every peer on one network, in a sentence."""
    ours = found.get("incremental", {})
    falls_back = ours.get("cpu") is None
    base = found.get("plain", {}) if falls_back else ours
    if "operations" not in ours or "cpu" not in base:
        return f"- {name}: not measured ({failed(found)})."
    peers = {m: f for m, f in found.items() if m not in ("incremental", "plain") and f.get("cpu")}
    said = [f"{m} {f['cpu'] / base['cpu']:.1f}" for m, f in peers.items()]
    said += [] if falls_back else [f"our plain loop {found['plain']['cpu'] / base['cpu']:.1f}"]
    off = max((f["off"] for f in peers.values() if f.get("off") == f.get("off")), default=float("nan"))
    how = "falls back to the plain loop" if falls_back else "incremental"
    bound = f"bound {ours['operations']:.1f} as run, {ours['bound']:.1f} window by window"
    return f"- {name} ({how}; {bound}), times ours: {', '.join(said)}; effects off by {off:.0e} of the range."


def page(results: Results, command: str) -> str:
    """The table and what stands beside it, as Markdown."""
    lines: list[Line] = [*occlusion_goal(results.get("occlusion, sfcn", {}))]
    for key, found in results.items():
        kind, _, name = key.partition(", ")
        made = {
            "exactness": lambda: exactness(name, found),  # noqa: B023
            "cams": lambda: cams(found),  # noqa: B023
            "integrated gradients": lambda: path(name, found),  # noqa: B023
            "deletion": lambda: deletion(name, found),  # noqa: B023
            "start-up": lambda: start_up(found),  # noqa: B023
            "cohort": lambda: cohort(found),  # noqa: B023
        }.get(kind)
        lines += [] if made is None else made()
    occlusions = {k.partition(", ")[2]: f for k, f in results.items() if k.startswith("occlusion, ")}
    return "\n".join(
        [
            f"`{command}`",
            "",
            f"{machine()}; {versions(*PEERS)}. Ratios of CPU time, float32, memory as a rise of the resident peak.",
            "",
            "| work | against | to reach | measured | reached |",
            "| --- | --- | --- | --- | --- |",
            *map(str, lines),
            "",
            "Occlusion, network by network:",
            "",
            *[occlusion_line(name, found) for name, found in occlusions.items()],
            "",
        ]
    )
