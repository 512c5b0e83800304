"""What the paper did, and what is done here."""

from regard.studies.study import Item

__all__ = ["ITEMS"]

ITEMS = (
    Item("input: one axial CT slice through L1", "done", "three slices of 5 mm per torso phantom, or the user's own"),
    Item(
        "label: areal density of L1 by DXA",
        "done",
        "mineral over projected area of the phantom's whole L1, posterior elements included, with the "
        "densitometer's noise, in the published histogram",
    ),
    Item(
        "2,239 training and 457 test images of patients",
        "reduced",
        "to phantoms, as the data are private: 360 and 120 slices of 120 and 40 torsos at default, "
        "1,200 and 300 at reference, 2,238 and 456 at paper",
    ),
    Item("window of -500 to 1300 HU", "done", "clipped, then the training set's minimum and maximum to 0 and 1, kept "
         "in the card (the paper scaled the test set by its own)"),
    Item("crop of 256 x 256 around the vertebra", "reduced", "to 96 x 96 pixels of 2 mm below the size paper"),
    Item("cases 1, 2 and 3", "done", "pixels with a probability of bone below 0.2 set to -500 HU"),
    Item(
        "segmentation U-Net with a ResNet101v2 encoder",
        "reduced",
        "to an encoder of plain convolution blocks with a quarter of the channels below paper; at paper a ResNet101v2 "
        "without pre-training (whether the paper's had any is not known); its loss is Dice plus every pixel's "
        "cross-entropy (the paper's is not stated, its files are called dice)",
    ),
    Item("classical segmentation", "done", "threshold, region growing, active contour in the same table; ours, the "
         "paper has none"),
    Item("regression network of 22 layers", "done", "layer by layer, 1,614,273 trainable values at 256 x 256; fewer "
         "in its dense layer for smaller images"),
    Item("weighted Huber loss", "done", "its weight derived from the histogram of the training labels"),
    Item("Adam, batches of 15, augmentation", "done", "as published"),
    Item("rate of 0.001, kept", "reduced", "to 0.003 that falls along a cosine below paper, which reaches in 15 epochs "
         "what 0.001 reaches in 30; as published at paper"),
    Item("150 epochs, ten networks per case", "reduced", "to 10 epochs and 2 networks at default, 20 and 5 at "
         "reference; as published at paper"),
    Item("split into training and validation", "done", "by patient, where the paper split by image; validation images "
         "are never augmented"),
    Item("plateau schedule whose lowest rate is the starting rate", "done", "at paper; as an option elsewhere "
         "(train.schedule=plateau, train.min_rate=0.001)"),
    Item("Pearson r, MAPE, classes at T < -1", "done", "and MAE, RMSE, limits of agreement, calibration slope, "
         "prediction intervals; all intervals over patients"),
    Item("Grad-CAM, Grad-RAM, Grad-RAMP at the last convolution", "done", "before its batch norm and ReLU, signed and "
         "published forms, single network and ensemble; CRM, integrated gradients, SmoothGrad, occlusion and an "
         "earlier layer beside them"),
    Item("pictures judged by eye", "done", "measured instead: against what the network depends on, against the label, "
         "by deletion, beside controls"),
    Item("volumetric trabecular density as a second target", "done", "ours, the paper has none: one network on the "
         "middle slices, in mg/cm3"),
    Item("the paper's own images, weights and figures of cases 2 and 3", "absent", "not public"),
    Item("maps on the scan's own grid for user's volumes", "reduced", "to the grid of the slice that the network saw, "
         "with its place in the scan's millimetres"),
    Item("cases 2 and 3 as one model on a raw scan", "absent", "their cards take masked slices; the study masks"),
)  # fmt: skip
"""Item by item; sizes are those of `regard study show bmd`."""
