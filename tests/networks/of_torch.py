"""Plain PyTorch: stand-ins for the shapes of published networks, and what people do to theirs."""

import torch
from torch import Tensor, nn

from . import conditions as made
from . import stand_ins
from .entry import ByHand, Entry, column, drawn, given, images, part, patch

IMAGE = given((1, 16, 16))
ONE = column(0)
NO_GRADIENT = "int8 layers carry no gradient, so that none of its methods can be right"
NO_LAYERS = "a program has no modules to look into"
BLIND_TO_RELU = "a program's rectifiers are not met one by one"
WITH_GRADIENT = r"cam|ram|crm|gradient|smoothgrad|guided|lam|noise-map|deeplift|lrp|rollout"


def _channels_last(output: Tensor, n: int) -> Tensor:
    return output.movedim(-1, 1)


def _tokens(*grid: int, first: int = 0) -> ByHand:
    return lambda output, n: output[:, first:].transpose(1, 2).reshape(n, -1, *grid)


def _sequence(output: Tensor, n: int) -> Tensor:
    """(token, case, channel) of a transformer without ``batch_first``."""
    return output.permute(1, 2, 0)


def _slices(output: Tensor, n: int) -> Tensor:
    """(case times slice, channel, h, w) to (case, channel, slice, h, w)."""
    return output.reshape(n, -1, *output.shape[1:]).transpose(1, 2)


SHAPES = [
    Entry(
        "ViT, class token",
        "here",
        "timm's shape: only the class token is read",
        stand_ins.ViT,
        given((1, 16, 24)),
        ONE,
        layouts={r"blocks|norm": _tokens(4, 6, first=1)},
        quick=True,
    ),
    Entry(
        "ViT, registers",
        "here",
        "class token and four register tokens",
        lambda: stand_ins.ViT(registers=4),
        given((1, 16, 24)),
        ONE,
        layouts={r"blocks|norm": _tokens(4, 6, first=5)},
    ),
    Entry(
        "ViT, pooled",
        "here",
        "the mean of the tokens, no class token; attention as a matrix",
        lambda: stand_ins.ViT(pool="mean", fused=False),
        given((1, 16, 24)),
        ONE,
        layouts={r"blocks|norm|patch": lambda y, n: _tokens(4, 6)(y, n) if y.ndim == 3 else y},
    ),
    Entry(
        "ViT 3D",
        "here",
        "tokens of a volume, cut by reshaping",
        lambda: stand_ins.ViT(3, patches="reshape"),
        given((1, 16, 24, 8)),
        ONE,
        layouts={r"blocks|norm": _tokens(4, 6, 2, first=1), r"patch": _tokens(4, 6, 2)},
    ),
    Entry(
        "ViT 1D",
        "here",
        "tokens of a signal",
        lambda: stand_ins.ViT(1),
        given((1, 16)),
        ONE,
        layouts={r"blocks|norm": _tokens(4, first=1)},
    ),
    Entry(
        "Swin",
        "here",
        "windows; (N, H, W, C) before the head",
        stand_ins.Swin,
        IMAGE,
        ONE,
        layouts={r"stage|norm|merge": _channels_last},
        quick=True,
    ),
    Entry(
        "ConvNeXt",
        "here",
        "the last norm on (N, H, W, C)",
        stand_ins.ConvNeXt,
        IMAGE,
        ONE,
        layouts={r"^norm|\.norm|mlp": _channels_last},
    ),
    Entry(
        "nnU-Net",
        "here",
        "instance norm, leaky ReLU in place, deep supervision in a list",
        made.Instances,
        given((1, 16, 16, 8)),
        part(0, patch(1)),
        part(0, patch(1)),
    ),
    Entry(
        "CNN and transformer",
        "here",
        "`nn.TransformerEncoder` on what convolutions give, in 1D",
        stand_ins.Hybrid,
        given((1, 32)),
        ONE,
        layouts={r"encoder": lambda y, n: y.transpose(1, 2)},
    ),
    Entry(
        "batch_first forgotten",
        "here",
        "a transformer that attends among the cases of a batch",
        made.MixedUp,
        given((1, 32)),
        ONE,
        named=(r"another case stands in the batch",),
        layouts={r"encoder": lambda y, n: y.transpose(1, 2)},
        quick=True,
    ),
    Entry(
        "tokens first",
        "here",
        "(token, case, channel), as `nn.TransformerEncoder` has it by default",
        lambda: stand_ins.Hybrid(batch_first=False),
        given((1, 32)),
        ONE,
        layouts={r"encoder": _sequence},
    ),
    Entry(
        "CNN-LSTM",
        "here",
        "slices folded into the batch, a recurrent layer over them",
        stand_ins.Slices,
        given((1, 5, 12, 12)),
        ONE,
        layouts={r"cnn": _slices},
    ),
    Entry(
        "MIL",
        "here",
        "a bag of images, folded into the batch, with attention",
        stand_ins.Bag,
        lambda: tuple(x[:, :, None] for x in images((5, 12, 12))),
        ONE,
        layouts={r"cnn": _slices},
    ),
    Entry("GRU", "here", "a recurrent layer on a signal of two channels", made.GatedRecurrent, given((2, 32)), ONE),
]


SEVERAL = [
    Entry(
        "PA and lateral",
        "here",
        "two encoders that meet late",
        stand_ins.TwoViews,
        given((1, 16, 16), (1, 12, 20)),
        ONE,
        quick=True,
    ),
    Entry("siamese", "here", "one encoder for two images", made.OneEncoder, given((1, 16, 16), (1, 16, 16)), ONE),
    Entry(
        "inputs by name",
        "here",
        "two images in a dict",
        made.OneEncoder,
        lambda: dict(zip(("before", "now"), images((1, 16, 16), (1, 16, 16)))),
        ONE,
    ),
    Entry(
        "image and table",
        "here",
        "age and sex beside an image; no reference given",
        made.ImageAndTable,
        given((1, 16, 16), (2,)),
        ONE,
        named=(r"no space",),
        quick=True,
    ),
    Entry(
        "image and table, reference",
        "here",
        "the same with a reference",
        made.ImageAndTable,
        given((1, 16, 16), (2,)),
        ONE,
        named=(r"no space",),
        reference=lambda: tuple(torch.full_like(x[:1], 0.1) for x in images((1, 16, 16), (2,))),
    ),
    Entry(
        "two scales",
        "here",
        "parallel branches of one image",
        stand_ins.TwoScales,
        IMAGE,
        ONE,
        named=(r"does not pass through the layer",),
    ),
    Entry("members in a list", "here", "a mean of three networks", stand_ins.MeanOfMembers, IMAGE, ONE),
    Entry(
        "dict output",
        "here",
        "deep supervision in a dict",
        lambda: stand_ins.DeepSupervision("dict"),
        IMAGE,
        part("out", patch(1)),
        part("out", patch(1)),
        quick=True,
    ),
    Entry(
        "tuple output",
        "here",
        "deep supervision in a tuple",
        lambda: stand_ins.DeepSupervision("tuple"),
        IMAGE,
        part(0, patch(1)),
        part(0, patch(1)),
    ),
]

HABITS = [
    Entry(
        "weight norm",
        "torch",
        "weights that are computed",
        drawn(lambda: made.Normed(torch.nn.utils.parametrizations.weight_norm)),
        IMAGE,
        ONE,
    ),
    Entry(
        "spectral norm",
        "torch",
        "weights that are computed, with buffers that training moves",
        drawn(lambda: made.Normed(torch.nn.utils.parametrizations.spectral_norm), train=True),
        IMAGE,
        ONE,
    ),
    Entry(
        "MC dropout",
        "here",
        "dropout forced on: two passes differ",
        drawn(made.Dropping),
        IMAGE,
        ONE,
        named=(r"two forwards of one input", r"draws at random", r"may not give the same output"),
        quick=True,
    ),
    Entry(
        "batch norm without statistics",
        "here",
        "cases of a batch mix",
        made.MixesCases,
        IMAGE,
        ONE,
        named=(r"another case stands in the batch",),
    ),
    Entry(
        "in place", "torch", "rectifiers that overwrite", drawn(lambda: made.convolutional(in_place=True)), IMAGE, ONE
    ),
    Entry(
        "functional", "here", "activations as functions, a layer used twice, += on a skip", made.Functional, IMAGE, ONE
    ),
    Entry("one ReLU for all", "here", "a module that is called several times", made.OneReLU, IMAGE, ONE),
    Entry(
        "checkpointed",
        "torch",
        "parts run again in the backward pass",
        lambda: made.Checkpointed(use_reentrant=False),
        IMAGE,
        ONE,
    ),
    Entry(
        "checkpointed, reentrant",
        "torch",
        "the same by its older way",
        lambda: made.Checkpointed(use_reentrant=True),
        IMAGE,
        ONE,
    ),
    Entry("exported", "torch", "a program of `torch.export`, for one case at a time", made.exported, IMAGE, ONE),
    Entry(
        "TorchScript",
        "torch",
        "a scripted program",
        made.scripted,
        IMAGE,
        ONE,
        refused={r"cam|ram(p)?$|crm|deeplift": NO_LAYERS},
    ),
    Entry(
        "int8",
        "torch",
        "linear layers by `quantize_dynamic`",
        made.quantised,
        given((1, 16, 16), dtype=torch.float32),
        ONE,
        refused={WITH_GRADIENT: NO_GRADIENT},
        tolerance=1e-2,
        quick=True,
    ),
    Entry(
        "compiled inside",
        "torch",
        "an inner part by `torch.compile`",
        lambda: made.partly_compiled(call=True),
        IMAGE,
        ONE,
    ),
    Entry(
        "compiled in place",
        "torch",
        "an inner part by its own ``compile()``",
        lambda: made.partly_compiled(call=False),
        IMAGE,
        ONE,
    ),
    Entry(
        "DataParallel",
        "torch",
        "the wrapper of several devices",
        lambda: nn.DataParallel(stand_ins.seeded(made.convolutional())),
        IMAGE,
        ONE,
    ),
    Entry("inference mode", "torch", "weights made in inference mode", made.of_inference_mode, IMAGE, ONE),
    Entry("frozen", "torch", "no parameter asks for a gradient", made.frozen, IMAGE, ONE),
    Entry(
        "squeezed",
        "here",
        "`.squeeze()` takes the batch axis of one case",
        made.Squeezed,
        IMAGE,
        lambda y: y.reshape(-1, 3)[:, 1],
        1,
        refused={r".*": "nothing says which of three numbers belongs to which case"},
        quick=True,
    ),
    Entry(
        "dead ReLU",
        "here",
        "the output is a constant",
        made.Dead,
        IMAGE,
        ONE,
        named=(
            r"0 everywhere",
            r"no gradient at any place",
            r"stays the same for another input",
            r"gradient of 0 at every place",
            r"\b0 at all of them",
        ),
        quick=True,
    ),
    Entry(
        "half precision",
        "torch",
        "float16 weights and images",
        lambda: stand_ins.seeded(made.convolutional()).half(),
        given((1, 16, 16), dtype=torch.float16),
        ONE,
        named=(r"float64",),
        tolerance=0.05,
    ),
    Entry(
        "bfloat16",
        "torch",
        "bfloat16 weights and images",
        lambda: stand_ins.seeded(made.convolutional()).bfloat16(),
        given((1, 16, 16), dtype=torch.bfloat16),
        ONE,
        named=(r"float64",),
        tolerance=0.2,
    ),
]

ENTRIES = [*SHAPES, *SEVERAL, *HABITS]
