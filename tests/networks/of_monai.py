"""Networks of MONAI, small, as its users build them."""

from monai.networks import nets
from monai.networks.blocks.squeeze_and_excitation import SEResNetBottleneck
from torch import Tensor, nn

from regard.core.image_target import Mean
from regard.core.target import Logit, Output, Probability

from .entry import ByHand, Entry, column, drawn, given, part, patch

NO_SPACE = "its input has no space, so that there is no layer with places"
RANDOM = (r"two forwards of one input", r"draws at random", r"same output for the same input")

UNET = (4, 8, 8)
IMAGE_2D = given((1, 16, 16))


def _tokens(*grid: int, first: int = 0) -> dict[str, ByHand]:
    """Layers of a transformer on patches: (n, first + places, channel)."""

    def places(output: Tensor, n: int) -> Tensor:
        return output[:, first:].transpose(1, 2).reshape(n, -1, *grid) if output.ndim == 3 else output

    return {r".*": places}


class AtOneTime(nn.Module):
    """A diffusion network at one time step."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x, x.new_full((len(x),), 3.0))


def _last_redrawn(network: nn.Module) -> nn.Module:
    for p in network.parameters():
        if not bool(p.any()) and p.ndim > 1:
            nn.init.normal_(p, std=0.1)
    return network


# fmt: off
ENTRIES = [
    Entry(
        "DenseNet", "monai", "class score by index",
        drawn(lambda: nets.DenseNet(2, 1, 3, init_features=8, growth_rate=4, block_config=(2, 2), bn_size=2)),
        given((1, 32, 32)), column(1), 1, quick=True,
    ),
    Entry(
        "DenseNet 3D", "monai", "one number from a volume; dropout, idle in evaluation",
        drawn(lambda: nets.DenseNet(
            3, 1, 1, init_features=8, growth_rate=4, block_config=(2, 2), bn_size=2, dropout_prob=0.2
        )),
        given((1, 16, 20, 16)), column(0),
    ),
    Entry(
        "ResNet", "monai", "handed over in training mode; probability of a class",
        drawn(lambda: nets.ResNet(
            "basic", [1, 1, 1, 1], [4, 8, 16, 32], spatial_dims=2, n_input_channels=1, num_classes=2, conv1_t_size=3
        ), train=True),
        given((1, 48, 48)), lambda y: y.softmax(1)[:, 1], Probability(1), quick=True,
    ),
    Entry(
        "ResNet 3D", "monai", "in-place rectifiers, parameter-free shortcuts",
        drawn(lambda: nets.ResNet(
            "bottleneck", [1, 1, 1, 1], [4, 4, 8, 8], n_input_channels=1, num_classes=1, conv1_t_size=3,
            shortcut_type="A",
        )),
        given((1, 16, 24, 16)), column(0),
    ),
    Entry(
        "SENet", "monai", "squeeze and excitation; 2048 channels",
        drawn(lambda: nets.SENet(
            2, 1, SEResNetBottleneck, [1, 1, 1, 1], 1, 4, dropout_prob=None, inplanes=8, downsample_kernel_size=1,
            input_3x3=False, num_classes=2,
        )),
        given((1, 32, 32)), column(1), Logit(1),
        knobs={"score-cam": {"layer": "layer1"}, "ablation-cam": {"layer": "layer1"}},
    ),
    Entry(
        "EfficientNet", "monai", "memory-efficient swish, drop connect idle in evaluation",
        drawn(lambda: nets.EfficientNet(
            ["r1_k3_s11_e1_i32_o16_se0.25", "r2_k3_s22_e6_i16_o24_se0.25"], 2, 1, 2, 0.3, 0.5, image_size=32
        )),
        given((1, 32, 32)), column(0), Output(0),
    ),
    Entry("UNet", "monai", "an image out; mean of a channel", drawn(lambda: nets.UNet(2, 1, 2, UNET, (2, 2))),
          IMAGE_2D, lambda y: y[:, 1].flatten(1).mean(1), Mean(channel=1), quick=True),
    Entry(
        "UNet 3D", "monai", "residual units, PReLU; mean of a box of the output",
        drawn(lambda: nets.UNet(3, 1, 2, UNET, (2, 2), num_res_units=1, dropout=0.1)),
        given((1, 16, 16, 8)), patch(1), patch(1),
    ),
    Entry("BasicUNet", "monai", "leaky ReLU in place, instance norm",
          drawn(lambda: nets.BasicUNet(2, 1, 2, features=(4, 4, 8, 8, 16, 4))), given((1, 32, 32)), patch(0), patch(0)),
    Entry(
        "BasicUNet++", "monai", "deep supervision: a list of four images",
        drawn(lambda: nets.BasicUNetPlusPlus(2, 1, 2, features=(4, 4, 8, 8, 16, 4), deep_supervision=True)),
        given((1, 32, 32)), part(-1, patch(1)), part(-1, patch(1)),
    ),
    Entry(
        "DynUNet", "monai", "nnU-Net as MONAI has it: heads of deep supervision that run in training only",
        drawn(lambda: nets.DynUNet(
            2, 1, 2, [3, 3, 3], [1, 2, 2], [2, 2], filters=[4, 8, 8], deep_supervision=True, deep_supr_num=1
        )),
        IMAGE_2D, patch(1), patch(1),
    ),
    Entry(
        "SegResNet", "monai", "group norm, pre-activation",
        drawn(lambda: nets.SegResNet(3, 8, 1, 2, blocks_down=(1, 1), blocks_up=(1,))),
        given((1, 8, 16, 8)), patch(1, 1, 7), patch(1, 1, 7),
    ),
    Entry(
        "SegResNetVAE", "monai", "a tuple of an image and None",
        drawn(lambda: nets.SegResNetVAE(
            (8, 16, 8), init_filters=8, in_channels=1, out_channels=2, blocks_down=(1, 1), blocks_up=(1,)
        )),
        given((1, 8, 16, 8)), part(0, patch(1, 1, 7)), part(0, patch(1, 1, 7)),
    ),
    Entry("SegResNetDS", "monai", "heads at several sizes, of which evaluation gives one",
          drawn(lambda: nets.SegResNetDS(2, 8, 1, 2, blocks_down=(1, 1), dsdepth=2)), IMAGE_2D, patch(1), patch(1)),
    Entry("VNet", "monai", "convolutions for downsampling, ELU in place",
          drawn(lambda: nets.VNet(2, 1, 2)), given((1, 16, 16)), patch(1), patch(1)),
    Entry("AttentionUnet", "monai", "attention gates on skip connections",
          drawn(lambda: nets.AttentionUnet(2, 1, 2, UNET, (2, 2))), IMAGE_2D, patch(1), patch(1)),
    Entry(
        "HighResNet", "monai", "no downsampling: as many places at each layer as in the input",
        drawn(lambda: nets.HighResNet(3, 1, 2, layer_params=(
            {"name": "conv_0", "n_features": 4, "kernel_size": 3},
            {"name": "res_1", "n_features": 4, "kernels": (3, 3), "repeat": 1},
            {"name": "res_2", "n_features": 8, "kernels": (3, 3), "repeat": 1},
            {"name": "conv_1", "n_features": 8, "kernel_size": 1},
            {"name": "conv_2", "kernel_size": 1},
        ))),
        given((1, 10, 10, 8)), patch(0, 2, 6), patch(0, 2, 6),
    ),
    Entry(
        "UNETR", "monai", "a transformer's tokens inside a U-Net",
        drawn(lambda: nets.UNETR(
            1, 2, (32, 32), feature_size=4, hidden_size=12, mlp_dim=16, num_heads=2, spatial_dims=2
        )),
        given((1, 32, 32)), patch(1), patch(1), layouts=_tokens(2, 2),
    ),
    Entry(
        "SwinUNETR", "monai", "windows of channels-last tokens inside a U-Net",
        drawn(lambda: nets.SwinUNETR(
            in_channels=1, out_channels=2, feature_size=12, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1),
            spatial_dims=2, window_size=4,
        )),
        given((1, 64, 64)), patch(1), patch(1),
    ),
    Entry(
        "ViT", "monai", "class token; a tuple of scores and hidden states",
        drawn(lambda: nets.ViT(
            1, (16, 24), (8, 8), hidden_size=12, mlp_dim=16, num_layers=2, num_heads=2, classification=True,
            num_classes=2, spatial_dims=2,
        )),
        given((1, 16, 24)), part(0, column(1)), part(0, column(1)), layouts=_tokens(2, 3, first=1), quick=True,
    ),
    Entry(
        "ViTAutoEnc", "monai", "a tuple of an image and hidden states",
        drawn(lambda: nets.ViTAutoEnc(
            1, (16, 16), (4, 4), out_channels=1, deconv_chns=4, hidden_size=12, mlp_dim=16, num_layers=2,
            num_heads=2, spatial_dims=2,
        )),
        IMAGE_2D, part(0, patch(0)), part(0, patch(0)), layouts=_tokens(4, 4),
    ),
    Entry(
        "MaskedAutoEncoderViT", "monai", "masks patches at random, in evaluation too",
        drawn(lambda: nets.MaskedAutoEncoderViT(
            1, (16, 16), (4, 4), hidden_size=12, mlp_dim=16, num_layers=2, num_heads=2, decoder_hidden_size=12,
            decoder_mlp_dim=16, decoder_num_layers=1, decoder_num_heads=2, spatial_dims=2,
        )),
        IMAGE_2D, lambda y: y[0].flatten(1).mean(1), lambda y: y[0].flatten(1).mean(1), named=RANDOM,
    ),
    Entry("Regressor", "monai", "a number from all places by one linear layer",
          drawn(lambda: nets.Regressor((1, 16, 16), (1,), (4, 8), (2, 2))), IMAGE_2D, column(0), quick=True),
    Entry("Classifier", "monai", "scores from all places of a volume",
          drawn(lambda: nets.Classifier((1, 12, 12, 8), 2, (4, 8), (2, 2))), given((1, 12, 12, 8)), column(1), 1),
    Entry("Discriminator", "monai", "ends in a sigmoid",
          drawn(lambda: nets.Discriminator((1, 16, 16), (4, 8), (2, 2))), IMAGE_2D, column(0)),
    Entry("Critic", "monai", "a convolution last; no sigmoid",
          drawn(lambda: nets.Critic((1, 16, 16), (4, 8), (2, 2))), IMAGE_2D, column(0)),
    Entry("PatchDiscriminator", "monai", "gives its own layers in a list, the answer last",
          drawn(lambda: nets.PatchDiscriminator(2, 4, 1, num_layers_d=2)), given((1, 32, 32)),
          part(-1, lambda y: y.flatten(1).mean(1)), part(-1, lambda y: y.flatten(1).mean(1))),
    Entry(
        "Generator", "monai", "from a vector to an image: the input has no space",
        drawn(lambda: nets.Generator((5,), (4, 4, 4), (4, 4, 1), (2, 2, 1))), given((5,)), patch(0), patch(0),
        named=(r"no space",), refused={r"cam|ram|crm": NO_SPACE},
    ),
    Entry("AutoEncoder", "monai", "an image through a narrow middle", drawn(lambda: nets.AutoEncoder(
        2, 1, 1, (4, 8), (2, 2)
    )), IMAGE_2D, patch(0), patch(0)),
    Entry("VarAutoEncoder", "monai", "a tuple of four; no noise in evaluation",
          drawn(lambda: nets.VarAutoEncoder(2, (1, 16, 16), 1, 4, (4, 8), (2, 2))), IMAGE_2D,
          part(0, patch(0)), part(0, patch(0))),
    Entry("AutoencoderKL", "monai", "draws its latent code anew in each pass",
          drawn(lambda: nets.AutoencoderKL(
              2, 1, 1, num_res_blocks=(1, 1), channels=(4, 4), attention_levels=(False, True), latent_channels=2,
              norm_num_groups=2,
          )), IMAGE_2D, part(0, patch(0)), part(0, patch(0)), named=RANDOM),
    Entry(
        "FullyConnectedNet", "monai", "a table's row: no space at all",
        drawn(lambda: nets.FullyConnectedNet(6, 2, (8, 8))), given((6,)), column(1), 1, named=(r"no space",),
        refused={r"cam|ram|crm": NO_SPACE}, quick=True,
    ),
    Entry(
        "AHNet", "monai", "3D convolutions made of 2D ones; pooling of several sizes",
        drawn(lambda: nets.AHNet(layers=(1, 1, 1, 1), spatial_dims=2, in_channels=1, out_channels=2, psp_block_num=0)),
        given((1, 32, 32)), patch(1), patch(1),
    ),
    Entry(
        "FlexibleUNet", "monai", "an EfficientNet as encoder",
        drawn(lambda: nets.FlexibleUNet(
            1, 2, "efficientnet-b0", pretrained=False, decoder_channels=(16, 8, 8, 8, 4)
        )),
        given((1, 32, 32)), patch(1), patch(1),
    ),
    Entry(
        "MedNeXt", "monai", "ConvNeXt blocks, deep supervision",
        drawn(lambda: nets.MedNeXt(
            2, 4, 1, 2, encoder_expansion_ratio=1, decoder_expansion_ratio=1, bottleneck_expansion_ratio=1,
            blocks_down=(1,) * 4, blocks_bottleneck=1, blocks_up=(1,) * 4, deep_supervision=True,
        )),
        given((1, 32, 32)), patch(1), patch(1),
    ),
    Entry(
        "VoxelMorph", "monai", "two images in, an image and a field out",
        drawn(lambda: nets.VoxelMorph(spatial_dims=2)), given((1, 32, 32), (1, 32, 32)), part(0, patch(0)),
        part(0, patch(0)),
    ),
    Entry(
        "DiffusionModelUNet", "monai", "self-attention among places; a last convolution of zeros, redrawn",
        drawn(lambda: AtOneTime(_last_redrawn(nets.DiffusionModelUNet(
            2, 1, 1, num_res_blocks=(1, 1), channels=(8, 8), attention_levels=(False, True), norm_num_groups=4,
            num_head_channels=4,
        )))),
        IMAGE_2D, patch(0), patch(0),
    ),
    Entry("QuickNAT", "monai", "pooling that hands on where its largest values were",
          drawn(lambda: nets.Quicknat(num_classes=2, num_channels=1, num_filters=8)), given((1, 32, 32)), patch(1),
          patch(1)),
]
# fmt: on
