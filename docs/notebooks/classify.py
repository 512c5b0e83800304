# %% [markdown]
# # Notebook: a network that classifies
#
# A network tells two classes apart. Three methods give three maps. Which of them are true to the network? That is
# measured, with controls that know nothing of it.

# %%
import regard
from regard import runs
from regard.bench.network import train
from regard.bench.plan import BenchPlan
from regard.models.card import write_card

plan = BenchPlan("notebook", phantoms=("linear-classes",), n_train=192, n_test=32, n_epochs=15)
trained = train(plan, "linear-classes", 0)
subjects = [plan.phantom("linear-classes").subject(n, seed=plan.test_seed) for n in range(12)]
print(f"area under the ROC curve on {plan.n_test} test images: {trained.fit['auc']:.2f}")

# %% [markdown]
# A folder of scans and a folder with the network and its card, as you would have them.

# %%
from pathlib import Path

import nibabel
from safetensors.torch import save_file

Path("scans").mkdir()
for subject in subjects:
    volume = subject.volume
    nibabel.save(nibabel.Nifti1Image(volume.tensor[0].numpy(), volume.affine), f"scans/{subject.name}.nii.gz")

Path("model").mkdir()
save_file(trained.network.state_dict(), "model/weights.safetensors")
card = regard.ModelCard(
    name="two-classes",
    zoo="small-regressor",
    kwargs={"spatial_dims": 2, "head": "flatten", "cells": 4},
    weights="weights.safetensors",
    inputs=[{"orientation": "LP"}],
    output={"kind": "classification", "names": ["bright"], "activation": "sigmoid"},
)
write_card(card, Path("model/card.yaml"))

# %%
explained = runs.explain(
    runs.ExplainRequest(
        model="model",
        paths=sorted(Path("scans").glob("*.nii.gz")),
        methods=["gradient", "integrated-gradients", "grad-cam"],
        output="run",
    )
)
explained.table()[["case", "map", "prediction", "unit"]].head(6)

# %%
weighed = runs.weigh(runs.WeighRequest(folder="run", quick=True))
for name, said in weighed.verdicts.items():
    print(name, said["verdict"], *said["reasons"], sep="\n    ")

# %% [markdown]
# *Supported* says that the map is better than its controls and reaches a stated share of what is attainable on the
# network itself; *undetermined* says that this was not enough to tell. How often the word is wrong is
# [measured](../weighing.md). The same run has a report: `run/report.html`, or `regard view run`.
#
# Which method to begin with: [choose a method](../how-to/choose-a-method.md).
