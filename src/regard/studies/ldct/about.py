"""What the paper did, and what is done here."""

from regard.studies.study import Item

__all__ = ["ITEMS"]

ITEMS = (
    Item(
        "chest scans of 50 patients (LDCT-and-Projection-data, restricted licence)",
        "reduced",
        "to torso phantoms on a simulated scanner: 48 slices of 24 patients to train on and 24 of 12 to test on at "
        "default, 180 of 60 and 72 of 24 at reference; a reader of the archive's layout and of pairs of folders "
        "for your own scans",
    ),
    Item(
        "low dose",
        "done",
        "photon and electronic noise in the projections at 10 % of the dose, filtered back-projection; dose, "
        "kernel, bow-tie and tube modulation are settings",
    ),
    Item(
        "target of the training: the full-dose scan",
        "done",
        "with its own noise; data.target=noise-free where it is known",
    ),
    Item(
        "CNN-10",
        "done",
        "at its published widths; 2,000 steps of our own at default; starts by giving its input back, which is ours "
        "(train.identity_start)",
    ),
    Item("RED-CNN", "reduced", "to 24 channels at default and 32 at reference; 96 at paper"),
    Item(
        "WGAN-VGG and DU-GAN",
        "reduced",
        "to the sizes reference and paper; widths of DU-GAN's U-Nets are ours, as the publication's are not known here",
    ),
    Item(
        "perceptual loss of ImageNet's VGG",
        "reduced",
        "to a VGG-16 trained on our own slices to tell doses and body parts; ImageNet's weights are not here",
    ),
    Item(
        "SSIM, PSNR, VIF",
        "done",
        "and RMSE in HU, noise power spectra and a channelised Hotelling observer, all with intervals over patients",
    ),
    Item(
        "comparison with what needs no training",
        "done",
        "the low-dose scan itself and non-local means; ours, paired",
    ),
    Item(
        "conditional VAE: ResNet-50 encoder, BigGAN-128 decoder, critic",
        "reduced",
        "to 64 x 64 pixels, 64 latents, a ResNet of MONAI from scratch, a small decoder; no class embedding, "
        "self-attention, spectral norm or critic; perceptual loss of our own VGG-16 at reference and paper only; "
        "weight of the divergence a hundredth of the published, as with it the latent stays unused",
    ),
    Item(
        "conditional INN of 12 blocks",
        "reduced",
        "to 6 blocks of width 256; log-determinants exact and checked, the published omission an option",
    ),
    Item("condition: the output image", "done", "or the target's number"),
    Item(
        "condition: any layer of a network (the parent recipe)",
        "done",
        "`regard invariances --layer NAME`, training-free and with a sampler; not run in the study",
    ),
    Item("100 invariances for each of 10 patches", "reduced", "to 6 for each of 3 at default, 24 of 10 at reference"),
    Item(
        "f(x~) shown",
        "done",
        "and enforced: local detectability d' below a tolerance, the others rejected and counted, as a curve over "
        "tolerances, beside what the autoencoder itself loses",
    ),
    Item(
        "two methods to find anatomy among samples",
        "reduced",
        "to two of our own, as the paper's formulas are not public: structural distance under the tolerance, and "
        "principal directions without the noise's",
    ),
    Item("training-free search", "done", "ours; for every network"),
    Item(
        "Jacobian null space",
        "done",
        "ours: of each network at each patch, in the span of smooth directions; followed until the output shows it, "
        "beside the identity and the Gaussian filter along the same directions",
    ),
    Item(
        "controls",
        "done",
        "the identity and a Gaussian filter of equal noise reduction, at the same tolerance; ours",
    ),
    Item("lesions that vanish", "done", "the largest contrast that the output does not show, by radius; ours"),
    Item(
        "a known answer",
        "done",
        "linear functions of Gaussian coefficients, a denoiser taught to ignore rings; ours",
    ),
    Item(
        "the paper's pretrained networks, patches and numbers of invariances",
        "absent",
        "not public here; TS-DenseNet, of another author, stands in for a real network in "
        "docs/how-to/find-invariances.md",
    ),
    Item("128 x 128 patches", "absent", "the sampler takes 8, 16, 32 or 64 pixels"),
)
"""Item by item; sizes are those of `regard study show ldct`."""
