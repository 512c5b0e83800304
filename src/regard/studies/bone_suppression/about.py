"""What the paper did, and what is done here."""

from regard.studies.study import Item

__all__ = ["ITEMS"]

ITEMS = (
    Item("247 radiographs of JSRT with bone-suppressed twins", "reduced", "to radiograph phantoms whose soft tissue is "
         "known exactly; a folder in JSRT's layout with twins runs through --data"),
    Item("augmentation to 4,500 pairs", "done", "rotation, shifts, mirroring, zoom, median, maximum and minimum "
         "filters and unsharp masking of both images of a pair, drawn anew in each epoch; the paper does not state "
         "the ranges of zoom and unsharp masking, which are ours (5 %, 0.8)"),
    Item("256 x 256, bottom and top 1 % saturated, [0, 1]", "done", "truth by the radiograph's own line, so that a "
         "pair differs by bone alone"),
    Item("AE-BS, ConvNet-BS, RL-BS, ResNet-BS", "reduced", "built layer by layer with the published counts; at "
         "default AE-BS as published and a ResNet-BS of 4 blocks and 16 channels (for 16 and 64); at reference all "
         "four, ConvNet-BS and RL-BS at a quarter of their widths, ResNet-BS of 8 blocks and 32 channels; as published "
         "at paper"),
    Item("126 filters in the code's ConvNet-BS", "absent", "a typing error; 128 as in the text"),
    Item("loss 0.84 (1 - MS-SSIM) + 0.16 MAE", "done", "five scales; ConvNet-BS with its L1 penalty"),
    Item("training on whole images, batch 8, up to 200 epochs, early stopping", "reduced", "to random squares of 176 "
         "pixels (the least that five scales take), batch 4, and a fixed number of epochs of which the best by "
         "validation loss is kept; 200 epochs of whole images at paper, without early stopping"),
    Item("Adam 0.001, plateau schedule", "done", "factor 0.5, patience 10, at least 0.00001"),
    Item("10 % validation, drawn after augmentation", "done", "drawn by chest before augmentation: the paper's "
         "validation pairs are varied copies of its training pairs"),
    Item("MAE, PSNR, SSIM, MS-SSIM, histogram similarity", "done", "on unseen chests, outputs clipped to [0, 1], with "
         "intervals over chests, beside the radiograph itself, a blur, the mean bone image and a fitted filter; PSNR "
         "of each image, where the paper averages the mean square over a batch"),
    Item("bone suppression ratio, findings kept", "done", "ours: the paper has neither"),
    Item("test on the NIH-CC-DES dual-energy set", "absent", "not public; two real dual-energy pairs are measured with "
         "two published autoencoders in the documentation"),
    Item("the published ResNet-BS weights", "absent", "their repository has no licence"),
    Item("explanation of the suppressor", "done", "ours: which input made a region of the output (LAM, integrated "
         "gradients, gradient, occlusion), what was taken away that is not bone, and evidence for the maps"),
)  # fmt: skip
"""Item by item; sizes are those of `regard study show bone-suppression`."""
