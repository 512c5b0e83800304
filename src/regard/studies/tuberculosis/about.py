"""What the paper did, and what is done here."""

from regard.studies.study import Item

__all__ = ["ITEMS"]

ITEMS = (
    Item("radiographs of Shenzhen (662) and Montgomery (138)", "reduced", "to phantoms, 96 patients at default and 240 "
         "at reference, as real ones may not be handed on; both collections are read by --data where a user has them"),
    Item("tuberculosis-consistent findings", "done", "apical opacity, cavity, miliary nodules, effusion, one a patient "
         "at a drawn strength, half of them behind ribs or clavicles; their places are known"),
    Item("bottom and top 1 % saturated, [0, 1]", "done", "a pair by the one display that the radiograph fixes"),
    Item("256 x 256 pixels", "reduced", "to 128 x 128 below paper"),
    Item("bone suppression by ResNet-BS", "done", "with --from RUN of bone-suppression; without, bones are left out by "
         "the phantom's own truth, a perfect suppressor, and every table says so"),
    Item("VGG-16 cut at block5_conv3, mean over space, dropout 0.5, two outputs", "reduced", "to a quarter of its "
         "channels and dropout 0.3 below paper; one grey channel, which equals three equal ones"),
    Item("weights trained on ImageNet", "absent", "cannot be had here; train.weights takes a file with torchvision's "
         "names; otherwise random ones, scaled so that each convolution's channels have mean 0 and deviation 1"),
    Item("first normal or abnormal (RSNA and paediatric radiographs)", "reduced", "to other phantoms: pairs of one "
         "chest without and with a finding, below paper as squares around it before whole images, as few whole "
         "images teach a random start nothing; the same kinds of finding, where the paper's was pneumonia"),
    Item("rotation 5 degrees, shift 0.2, mirroring", "reduced", "to a shift of 0.05 below paper, where 0.2 cuts apices "
         "off"),
    Item("SGD 0.001, Nesterov 0.9, decay 1e-6, batch 16", "reduced", "to Adam below paper, in bfloat16, as networks "
         "from a random start do not leave it at that rate in so few epochs; as published at paper"),
    Item("32 epochs, early stopping after 5", "reduced", "to 48 epochs of pre-training and 16 of each fold at default; "
         "all epochs are run, and the best on the inner validation patients is kept"),
    Item("balanced class weights", "done", "from the patients that are learnt from; the paper's code took those of "
         "the pre-training set"),
    Item("four folds by patient", "reduced", "to two at default"),
    Item("checkpoints chosen on the test fold", "done", "otherwise: on an inner validation split by patient, as the "
         "test fold must not choose"),
    Item("accuracy, AUC, sensitivity, specificity, precision, F, MCC, kappa", "done", "exact intervals with one "
         "image a patient, else over patients"),
    Item("plain against suppressed, p < 0.05 by a test not named", "done", "paired on the same patients: per-fold "
         "differences with DeLong inside a fold, permutation within folds, McNemar"),
    Item("t-SNE of the 512 pooled features", "done", "as a picture, of held-out cases of one fold; separation is "
         "measured in all features, as distances in a t-SNE mean little"),
    Item("CRM of the best network, jet overlay", "done", "signed, with the part that raises and the part that lowers; "
         "the published form beside it"),
    Item("ensemble of CRMs", "absent", "one network is explained, as verdicts are about one"),
    Item("boxes by connected components, mAP", "done", "against boxes around the phantoms' findings; well patients "
         "count"),
    Item("Grad-CAM and LIME of the group's other papers", "done", "and Grad-CAM++, LayerCAM, integrated gradients; "
         "Score-CAM and occlusion from reference on"),
    Item("the classifier explained alone", "done", "and through the suppressor, on the radiograph's own pixels"),
    Item("maps judged by eye", "done", "measured: against what the network depends on, against the findings, by "
         "deletion, beside controls"),
    Item("shortcuts", "done", "not in the paper: a letter that follows the label with a dose"),
    Item("view (PA or AP) as a second shortcut", "absent", "half of the phantoms are AP, unrelated to the label"),
    Item("the paper's tables", "absent", "published as pictures or not known"),
)  # fmt: skip
"""Item by item; sizes are those of `regard study show tuberculosis`."""
