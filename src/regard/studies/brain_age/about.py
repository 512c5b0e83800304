"""What the paper did, and what is done here."""

from regard.studies.study import Item

__all__ = ["ITEMS"]

ITEMS = (
    Item(
        "13,750 T1 volumes of UK Biobank",
        "reduced",
        "to phantoms of real anatomy, as the data may not be passed on: 240, 24 and 40 subjects to train, correct and "
        "test on at default, 400, 48 and 1,000 at reference, 13,750 in all at paper",
    ),
    Item("registration to a template", "reduced", "the phantom's true affine; the true deformation as an option "
         "(data.space=warped), with the logarithm of its Jacobian as a second channel"),
    Item("voxels of 1 mm", "reduced", "rendered at 1 mm and averaged to 4 mm below paper"),
    Item("a prediction model, a CNN", "done", "SFCN (plain regression, and soft bins of age); at reference also a 3D "
         "ResNet-18 as MONAI builds it, with a quarter of its channels below paper; MAE and r uncorrected"),
    Item("a noise model that adds as much noise as the prediction bears", "reduced",
         "to a U-Net of 4 to 16 channels below paper; settings are not published: ours; s_min is 0"),
    Item("maps of each subject averaged into one of the population", "done", "mean, spread and t over subjects, "
         "a table of regions with intervals and tests against null maps"),
    Item("hippocampus and ventricles judged by eye", "done", "measured: regions against what was planted, and against "
         "what the network truly depends on"),
    Item("the predecessor: a network for each patch, its error as a map", "reduced",
         "to one small network for each of a grid of patches of 32 mm, at reference only; averaged and regressed"),
    Item("the parent method: U-Noise for segmentation", "reduced",
         "from the pancreas on CT to the ventricles on axial slices of the phantoms, 3 mm at reference, in 3 equal "
         "channels; its three noise models; from 100 epochs of about 4,000 slices to 10 of 240; the network that it "
         "explains from 34 million parameters to 537,425; no augmentation but mirroring, the last epoch in place of "
         "the best, no start from a trained network, and s_min 0 beside the published 1; at reference and paper, not "
         "with a user's table, which has no outlines"),
    Item("the same map image by image, without a noise model", "done", "ours: direct optimisation, beside the learned "
         "one; how far the learned one is an atlas"),
    Item("correction of the age gap", "done", "ours: for the gap only; the code refuses to give r of it"),
    Item("the paper's images, weights, error and maps", "absent", "not public; no error of the paper is confirmed"),
)  # fmt: skip
"""Item by item; sizes are those of `regard study show brain-age`."""
