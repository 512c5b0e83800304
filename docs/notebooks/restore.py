# %% [markdown]
# # Notebook: a network that restores
#
# A denoiser gives an image. What is explained is a number: here the mean of the restored image over a region. Which
# places of the noisy image does it come from?

# %%
import torch
from matplotlib import pyplot as plt

import regard
from regard.bench.network import train
from regard.bench.plan import BenchPlan

plan = BenchPlan("notebook", phantoms=("denoising",), n_train=96, n_test=16, n_epochs=12)
trained = train(plan, "denoising", 0)
network = trained.network
subject = plan.phantom("denoising").subject(0, seed=plan.test_seed)
noisy, clean = subject.image[0], subject.target[0]
with torch.no_grad():
    restored = network(subject.image[None])[0, 0]

figure, axes = plt.subplots(1, 3, figsize=(8, 2.8))
for axis, image, name in zip(axes, (noisy, restored, clean), ("noisy", "restored", "truth")):
    axis.imshow(image, cmap="gray", vmin=float(clean.min()), vmax=float(clean.max()))
    axis.set_title(name)
    axis.axis("off")

# %% [markdown]
# The target is the mean over the ball. Nothing is summed silently: of an output image a target has to be named
# ([all targets](../how-to/choose-a-target.md)). An array is taken as it is, rows down.

# %%
from regard.core.image_target import Mean

ball = subject.structure > 0.5
target = Mean(ball.float(), name="ball")
maps = {
    name: regard.explain(network, noisy, name, target=target)
    for name in ("gradient", "integrated-gradients", "occlusion:window=6,stride=3")
}
for name, explanation in maps.items():
    print(f"{name}: {explanation.quantity} [{explanation.unit}]")

# %%
axes = maps["gradient"].plot(outline=ball.numpy())
# %% [markdown]
# How far does the network look? The share of the map's size that lies in the ball, and within three voxels of it. A
# mean over the ball that were made of the ball alone would have all of it inside.

# %%
near = torch.nn.functional.max_pool2d(ball.float()[None, None], 7, 1, 3)[0, 0] > 0
for name, explanation in maps.items():
    size = torch.as_tensor(explanation.numpy()[:, :, 0]).abs()
    print(
        f"{name}: {size[ball].sum() / size.sum():.2f} in the ball, {size[near].sum() / size.sum():.2f} with its border"
    )

# %% [markdown]
# A restored value that stays when its place is hidden was not read there. Here the ball is replaced by the mean of
# the image:

# %%
hidden = torch.where(ball, noisy.mean(), noisy)
with torch.no_grad():
    left = network(hidden[None, None])[0, 0]
means = [float(image[ball].mean()) for image in (restored, left, clean)]
print("mean over the ball: {:.2f}, with the ball hidden {:.2f}, truth {:.2f}".format(*means))

# %% [markdown]
# What such a network does *not* see, other inputs with the same output, is [found here](../how-to/find-invariances.md).
