# %% [markdown]
# # Notebook: a network that measures
#
# A network reads a number from a scan, here the density of a bone in CT. Where does the number come from?
# Everything is made in this notebook, in a minute: phantoms in which the label is written in a known place, and a
# small network.

# %%

import regard
from regard.demo.phantom_demo import Demo, train
from regard.phantoms.density import DensityPhantom

demo = Demo(n_train=160, n_test=10, n_epochs=20, phantom=DensityPhantom(shape=(32, 28, 12), spacing=(7.5, 7.2, 12.0)))
model = train(demo, demo.subjects("train"))
held_out = demo.subjects("test")
subject = held_out[0]
print(f"{subject.name}: {subject.density:.0f} mg/cm3")

# %% [markdown]
# The model is a network with a card, which says what it eats and what its output means. Your own is [brought in the
# same way](../how-to/bring-a-model.md).

# %%
explanation = regard.explain(model, subject.image, "integrated-gradients")
print(explanation)

# %% [markdown]
# Three planes through the extreme, the bone outlined. Orange raised the number, blue lowered it.

# %%
axes = explanation.plot(outline=subject.truth.tensor[0].numpy())
# %% [markdown]
# The map is a *contribution*: its numbers are parts of the output, in mg/cm3, and may be summed over a region. The
# sum is counted from a reference, so that it is a part of f(x) - f(reference), not of f(x).

# %%
bone = subject.truth.tensor[0].numpy() > 0
values = explanation.numpy()
print(
    f"in the bone {values[bone].sum():.0f}, elsewhere {values[~bone].sum():.0f}, of together {values.sum():.0f} mg/cm3"
)

# %% [markdown]
# Does the network use what the map shows? A phantom can be rendered again with one factor changed and all else,
# noise too, as it was. The change of the output is the truth that a map is judged by.

# %%
for factor in ("density", "calcification", "habitus"):
    number = int(subject.name.rsplit("-", 1)[1])
    ends = [demo.phantom.subject(number, seed=demo.seed, factors={factor: end}).image for end in (0.0, 1.0)]
    low, high = (regard.explain_case(model, image, []).prediction for image in ends)
    print(f"{factor}: {high - low:+.0f} mg/cm3 from least to most")

# %% [markdown]
# "Why this number and not 100?" needs another input, not another number: a scan whose prediction is near 100.

# %%
predictions = {s.name: regard.explain_case(model, s.image, []).prediction for s in held_out}
nearest = min(held_out[1:], key=lambda s: abs(predictions[s.name] - 100))
compared = regard.explain(model, subject.image, "integrated-gradients", reference=nearest.image)
print(f"f(x) {predictions[subject.name]:.0f}, f(reference) {predictions[nearest.name]:.0f} mg/cm3")
compared.table(n=3)

# %% [markdown]
# Next: [choose a method](../how-to/choose-a-method.md), [what a map means](../what-a-map-means.md), and whether a map
# is true, [weighing](../weighing.md).
