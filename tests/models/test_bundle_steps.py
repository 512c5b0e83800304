"""Which steps of a bundle are run, which are refused, and that reading them runs nothing and stays small."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import random_chains
import torch
from bundle_files import caught_by_regard, write_bundle
from monai_script import seen_by_network

import regard
from regard.core.errors import CardError, InputError, TrustError
from regard.core.volume import Volume
from regard.models.bundle_values import Unread, Values, is_unread
from regard.models.case import prepare_case
from regard.models.sliding_window import SlidingWindow

LOAD: list[dict[str, Any]] = [
    {"_target_": "LoadImaged", "keys": "image"},
    {"_target_": "EnsureChannelFirstd", "keys": "image"},
]


def same_tensor(folder: Path, steps: list[dict[str, Any]], **files: str) -> torch.Tensor:
    """The tensor that Regard gives the network, equal to MONAI's."""
    bundle = write_bundle(folder / "bundle", steps)
    image = random_chains.image_file(np.random.default_rng(2), folder / "image.nii.gz")
    wanted, _ = seen_by_network(bundle, {"image": str(image), **{k: str(image) for k in files}})
    got, _ = caught_by_regard(bundle, regard.read(image))
    assert got.shape == wanted.shape
    assert float((got - wanted).abs().max()) <= 1e-5 * (float(wanted.max() - wanted.min()) or 1.0)
    return got


@pytest.mark.parametrize(
    "steps",
    [
        [{"_target_": "NormalizeIntensityd", "nonzero": True, "channel_wise": "True"}],
        [{"_target_": "NormalizeIntensityd", "divisor": 50.0}],
        [{"_target_": "NormalizeIntensityd", "subtrahend": 20.0}],
        [{"_target_": "NormalizeIntensityd"}, {"_target_": "ResizeWithPadOrCropd", "spatial_size": [20, 20, 20]}],
        [{"_target_": "SpatialPadd", "spatial_size": [20, 20, 20], "value": -9}, {"_target_": "ScaleIntensityd"}],
        [
            {"_target_": "ScaleIntensityRanged", "a_min": -50, "a_max": 90, "b_min": 0.2, "b_max": 1},
            {"_target_": "DivisiblePadd", "k": 16},
        ],
        [{"_target_": "Spacingd", "pixdim": [1, 2, -1]}, {"_target_": "Orientationd", "axcodes": "SLP"}],
        [{"_target_": "monai.transforms.spatial.dictionary.Spacingd", "pixdim": 1.1, "mode": 3}],
        [{"_target_": "ResizeD", "spatial_size": [7, 9, 11]}, {"_target_": "ScaleIntensityDict"}],
        [{"_target_": "Compose", "transforms": [{"_target_": "Flipd", "keys": "image", "spatial_axis": 1}]}],
        [{"_target_": "CropForegroundd", "source_key": "image", "mode": ["minimum"], "allow_smaller": True}],
        [{"_target_": "RandFlipd", "prob": 1.0, "_disabled_": True}, {"_target_": "Identityd"}],
    ],
)
def test_steps_that_a_card_cannot_say_are_run_as_they_are(tmp_path: Path, steps: list[dict[str, Any]]) -> None:
    # The keys of an identity or a Compose are its own.
    given = [s if s["_target_"] == "Compose" else {"keys": "image", **s} for s in steps]
    same_tensor(tmp_path, [*LOAD, *given])


def test_steps_for_a_label_are_not_applied_to_the_image(tmp_path: Path) -> None:
    both = ["image", "label"]
    steps = [
        {"_target_": "LoadImaged", "keys": both},
        {"_target_": "EnsureChannelFirstd", "keys": both},
        {"_target_": "Spacingd", "keys": both, "pixdim": 1.5, "mode": ["bilinear", "nearest"]},
        {"_target_": "ScaleIntensityd", "keys": "label", "minv": 5.0, "maxv": 9.0},
        {"_target_": "CropForegroundd", "keys": both, "source_key": "image"},
        {"_target_": "ConcatItemsd", "keys": both, "name": "both"},
    ]
    got = same_tensor(tmp_path, steps, label="label")
    assert float(got.min()) < 0


def test_channels_of_one_file_stay_channels(tmp_path: Path) -> None:
    path = random_chains.image_file(np.random.default_rng(4), tmp_path / "image.nii.gz", 4)
    norm = {"_target_": "NormalizeIntensityd", "keys": "image", "nonzero": True, "channel_wise": True}
    bundle = write_bundle(tmp_path / "bundle", [*LOAD, norm], channels=4)
    wanted, _ = seen_by_network(bundle, {"image": str(path)})
    got, _ = caught_by_regard(bundle, regard.read(path))
    assert torch.allclose(got, wanted, atol=1e-5)
    # Without EnsureChannelFirst several files are stacked by the loader itself.
    bare = write_bundle(tmp_path / "bare", [LOAD[0], norm], channels=4)
    assert torch.allclose(caught_by_regard(bare, regard.read(path))[0], wanted, atol=1e-5)
    lone = regard.read(random_chains.image_file(np.random.default_rng(4), tmp_path / "lone.nii.gz"))
    with pytest.raises(InputError, match="no step puts channels first"):
        prepare_case(regard.load_model(bare), {"image": lone})
    with pytest.raises(InputError, match="1 channels from the bundle's preprocessing"):
        prepare_case(regard.load_model(bundle), {"image": lone})


@pytest.mark.parametrize(
    ("step", "error", "words"),
    [
        ({"_target_": "Lambdad", "func": "$lambda x: x * 2"}, TrustError, "step 3 of its preprocessing, Lambdad"),
        ({"_target_": "RandFlipd", "prob": 0.5}, CardError, "RandFlipd, which is random"),
        ({"_target_": "monai.transforms.RandGaussianNoised"}, CardError, "random"),
        ({"_target_": "Transposed", "indices": [0, 2, 1, 3]}, TrustError, "Transposed"),
        ({"_target_": "Spacingd", "pixdim": "$len('ab')"}, TrustError, "Spacing, with pixdim"),
        ({"_target_": "Spacingd", "pixdim": 1, "lazy": True}, CardError, "Spacing, with lazy"),
        ({"_target_": "Spacingd", "colour": 1}, CardError, "Spacing, that raised TypeError"),
        ({"_target_": "CropForegroundd", "source_key": "label"}, CardError, "CropForeground by 'label'"),
        ({"_target_": "CropForegroundd", "source_key": "image", "select_fn": {"_target_": "os.mkdir"}}, TrustError,
         "select_fn that names a _target_"),
        ({"_target_": "EnsureTyped", "data_type": "numpy"}, CardError, "data_type"),
        ({"_target_": "EnsureTyped", "track_meta": False}, CardError, "track_meta"),
        ({"_target_": "SqueezeDimd"}, CardError, "SqueezeDim of the channels"),
        ({"_target_": "LoadImaged"}, CardError, "loads again"),
        ({"_target_": "Flipd", "spatial_axis": 0, "_requires_": "$print(1)"}, TrustError, "_requires_"),
        ({"_target_": "Compose", "transforms": [], "lazy": True}, CardError, "lazy"),
        ({"_target_": "scripts.mine.Special"}, TrustError, "scripts.mine.Special"),
        ({"_target_": "monai.apps.vista3d.transforms.VistaPreTransformd"}, TrustError, "VistaPreTransformd"),
        ({"_target_": "monai.transforms.os.mkdir"}, TrustError, "mkdir"),
        ("$print(1)", TrustError, "is the expression"),
        ({"_target_": "ConcatItemsd", "keys": ["image", "other"], "name": "both"}, CardError, "ConcatItems of image"),
    ],
)  # fmt: skip
def test_a_step_that_is_not_run_is_named(tmp_path: Path, step: Any, error: type[Exception], words: str) -> None:
    step = {"keys": "image", **step} if isinstance(step, dict) and step["_target_"] != "Compose" else step
    with pytest.raises(error, match=words):
        regard.load_model(write_bundle(tmp_path / "bundle", [*LOAD, step]))


@pytest.mark.parametrize("key", ["affine_lps_to_ras", "reverse_indexing"])
def test_a_loader_that_turns_the_image_is_refused(tmp_path: Path, key: str) -> None:
    steps = [{**LOAD[0], key: False}, LOAD[1]]
    with pytest.raises(CardError, match=f"LoadImage with {key}"):
        regard.load_model(write_bundle(tmp_path / "bundle", steps))


HOSTILE = [
    {"_target_": "os.mkdir", "path": "{canary}"},
    {"_target_": "monai.transforms.Lambdad", "keys": "image", "func": "$lambda x: __import__('os').mkdir('{canary}')"},
    {"_target_": "Spacingd", "keys": "image", "pixdim": "$__import__('os').mkdir('{canary}')"},
    {"_target_": "Spacingd", "keys": "$__import__('os').mkdir('{canary}')", "pixdim": 1},
    {"_target_": "Spacingd", "keys": "image", "pixdim": {"_target_": "os.mkdir", "path": "{canary}"}},
    {"_target_": "Flipd", "keys": "image", "_disabled_": "$__import__('os').mkdir('{canary}')"},
    {"_target_": "$__import__('os').mkdir('{canary}')"},
    {"_target_": "CastToTyped", "keys": "image", "dtype": "$torch.hub.os.mkdir('{canary}')"},
    {"_target_": "LoadImaged", "keys": "image", "converter": "$lambda x: __import__('os').mkdir('{canary}')"},
    "$[__import__('os').mkdir('{canary}')]",
]


@pytest.mark.parametrize("step", HOSTILE)
def test_a_hostile_step_needs_trust_and_runs_nothing(tmp_path: Path, canary: Path, step: Any) -> None:
    hostile = json.loads(json.dumps(step).replace("{canary}", str(canary)))
    with pytest.raises((TrustError, CardError)):
        regard.load_model(write_bundle(tmp_path / "bundle", [hostile]))
    with pytest.raises((TrustError, CardError)):
        regard.load_model(write_bundle(tmp_path / "bundle", [*LOAD, hostile]))
    assert not canary.exists()


def test_references_that_double_end_in_one_sentence(tmp_path: Path) -> None:
    bomb: dict[str, Any] = {f"a{n}": [f"@a{n + 1}", f"@a{n + 1}"] for n in range(40)} | {"a40": 1}
    wide: dict[str, Any] = {f"c{n}": [f"@c{n + 1}"] * 10 for n in range(9)} | {"c9": 1}
    summed: dict[str, Any] = {f"b{n}": f"$@b{n + 1} + @b{n + 1}" for n in range(40)} | {"b40": [1]}
    start = time.process_time()
    for name, further in (("a0", bomb), ("b0", summed), ("c0", wide)):
        step = {"_target_": "Spacingd", "keys": "image", "pixdim": f"@{name}"}
        with pytest.raises(InputError):
            regard.load_model(write_bundle(tmp_path / "bundle", [*LOAD, step], **further))
    assert time.process_time() - start < 20


@pytest.mark.parametrize(
    "step",
    [
        {"_target_": "SpatialPadd", "spatial_size": [100_000, 100_000, 100_000]},
        {"_target_": "Resized", "spatial_size": [100_000, 100_000, 100_000]},
        {"_target_": "ResizeWithPadOrCropd", "spatial_size": 100_000},
        {"_target_": "Spacingd", "pixdim": 0.0001},
        {"_target_": "BorderPadd", "spatial_border": 10_000},
        {"_target_": "DivisiblePadd", "k": 10_000},
        {"_target_": "Zoomd", "zoom": 1000.0, "keep_size": False},
    ],
)
def test_sizes_that_no_memory_holds_are_refused(tmp_path: Path, step: dict[str, Any]) -> None:
    model = regard.load_model(write_bundle(tmp_path / "bundle", [*LOAD, {"keys": "image", **step}]))
    with pytest.raises(InputError, match="voxels of this image"):
        prepare_case(model, {"image": Volume(torch.rand(1, 9, 9, 9), np.eye(4))})


def test_a_step_that_fails_on_the_image_is_named(tmp_path: Path) -> None:
    step = {"_target_": "SpatialPadd", "keys": "image", "spatial_size": [40, 40, 40], "mode": "reflect"}
    model = regard.load_model(write_bundle(tmp_path / "bundle", [*LOAD, step]))
    with pytest.raises(InputError, match="the bundle's step SpatialPad on an image of"):
        prepare_case(model, {"image": Volume(torch.rand(1, 9, 9, 9), np.eye(4))})


def test_expressions_are_read_and_never_run() -> None:
    values = Values({"a": 2, "flag": True, "xs": [1, 2], "run": "$open('x')", "nested": {"x": "$not @flag"}})
    read: Callable[[Any], Any] = values.read
    assert read("@nested#x") is False
    assert read("$@xs + @xs") == [1, 2, 1, 2]
    assert read("$(@a + 1) / 2") == 1.5
    assert read("$[-1.5, @a] if not @flag else [3.0]") == [3.0]
    assert read("$torch.float32") is torch.float32
    assert read("$np.float32") is np.float32
    assert read("$monai.utils.CommonKeys.IMAGE") == "image"
    assert read({"keys": ["@xs#1"]}) == {"keys": [2]}
    refused = ("$len([1])", "$torch.load", "$[0] * 10**9", "$@a ** 99", "$__import__('os')", "$(lambda: 1)()", "$@run",
               "$[x for x in @xs]", "$torch.hub.os", "$(", "$'a'.upper()", "$not @run")  # fmt: skip
    for text in refused:
        assert isinstance(read(text), Unread), text
    assert is_unread({"a": ["$f()", 1]}) is None
    assert is_unread(read({"a": ["$f()", 1]})) == "$f()"


def test_an_authors_own_step_runs_with_trust_and_its_doubts_are_said(tmp_path: Path) -> None:
    own = "from monai.transforms import MapTransform\nclass Square(MapTransform):\n"
    own += "    def __call__(self, data):\n        return {**data, **{k: data[k] ** self.power for k in self.keys}}\n"
    own += "    def __init__(self, keys, power):\n        super().__init__(keys)\n        self.power = power\n"
    steps = [
        *LOAD,
        {"_target_": "Spacingd", "keys": "image", "pixdim": "$tuple([1.5] * 3)"},
        {"_target_": "scripts.mine.Square", "keys": "image", "power": 2},
        {"_target_": "ScaleIntensityd", "keys": "image"},
    ]
    bundle = write_bundle(tmp_path / "bundle", steps)
    (bundle / "scripts").mkdir()
    (bundle / "scripts" / "__init__.py").write_text("")
    (bundle / "scripts" / "mine.py").write_text(own)
    with pytest.raises(TrustError, match="pixdim"):
        regard.load_model(bundle)
    model = regard.load_model(bundle, trust=True)
    scan = regard.read(random_chains.image_file(np.random.default_rng(2), tmp_path / "image.nii.gz"))
    case = prepare_case(model, {"image": scan})
    assert any("Square has no derivative" in w for w in case.warnings)
    assert any("Square is no single scale" in w for w in case.warnings)
    drawn = own.replace("import MapTransform", "import MapTransform, Randomizable").replace(
        "(Map", "(Randomizable, Map"
    )
    (bundle / "scripts" / "mine.py").write_text(drawn)
    with pytest.raises(CardError, match="Square, which is random"):
        regard.load_model(bundle, trust=True)
    import monai.transforms as m

    image = m.Spacing(1.5)(m.EnsureChannelFirst()(m.LoadImage()(tmp_path / "image.nii.gz")))
    wanted = m.ScaleIntensity()(image**2).as_tensor()
    assert torch.allclose(case.inputs.tensors[0][0], wanted, atol=1e-5)


def test_the_inferer_of_a_bundle_is_kept(tmp_path: Path) -> None:
    from monai.inferers import SlidingWindowInferer

    inferer = {"_target_": "SlidingWindowInferer", "roi_size": "@sizes#roi", "overlap": 0.5, "mode": "gaussian"}
    steps = [*LOAD, {"_target_": "Spacingd", "keys": "image", "pixdim": 1.4}]
    bundle = write_bundle(tmp_path / "bundle", steps, inferer=inferer, sizes={"roi": [6, 6, 6]})
    image = random_chains.image_file(np.random.default_rng(2), tmp_path / "image.nii.gz")
    model = regard.load_model(bundle)
    assert isinstance(model.network, SlidingWindow)
    x = prepare_case(model, {"image": regard.read(image)}).inputs.tensors[0]
    wanted = SlidingWindowInferer([6, 6, 6], overlap=0.5, mode="gaussian")(x, model.network.network)
    with torch.no_grad():
        assert torch.allclose(model(x), wanted, atol=1e-5)
    padded = write_bundle(
        tmp_path / "bundle", steps, inferer={**inferer, "padding_mode": "replicate"}, sizes={"roi": [6] * 3}
    )
    assert any("smaller than a window is padded" in w for w in regard.load_model(padded).warnings)


def test_a_bundle_is_explained_from_the_command_line(tmp_path: Path) -> None:
    from regard.cli import main

    steps = [
        *LOAD,
        {"_target_": "Orientationd", "keys": "image", "axcodes": "LPS"},
        {"_target_": "Spacingd", "keys": "image", "pixdim": [1.5, 1.5, 1.5]},
        {"_target_": "NormalizeIntensityd", "keys": "image", "nonzero": True},
    ]
    bundle = write_bundle(tmp_path / "bundle", steps)
    image = random_chains.image_file(np.random.default_rng(2), tmp_path / "image.nii.gz")
    out = tmp_path / "run"
    methods = ["-m", "gradient", "-m", "input-x-gradient"]
    assert main(["explain", str(bundle), str(image), *methods, "-t", "voxel:4,4,4", "-o", str(out)]) == 0
    scan = regard.read(image)
    on_scan = [p for p in sorted((out / "maps").glob("*_relevance.nii.gz")) if "_space-network_" not in p.name]
    for path in on_scan:
        assert np.allclose(regard.read(path).affine, scan.affine, atol=1e-4)
        assert regard.read(path).shape == scan.shape
    assert len(on_scan) == 2


@pytest.mark.slow
def test_a_bundles_maps_are_weighed_from_the_command_line(tmp_path: Path) -> None:
    from regard.cli import main

    bundle = write_bundle(tmp_path / "bundle", [*LOAD, {"_target_": "Spacingd", "keys": "image", "pixdim": 1.5}])
    image = random_chains.image_file(np.random.default_rng(2), tmp_path / "image.nii.gz")
    out = tmp_path / "run"
    assert main(["explain", str(bundle), str(image), "-m", "gradient", "-t", "voxel:4,4,4", "-o", str(out)]) == 0
    assert main(["weigh", str(out), "--quick"]) == 0
    assert (out / "evidence.json").is_file()
