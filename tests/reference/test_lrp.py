"""Layer-wise relevance propagation again, as literal sums over R in float64 from the papers' equations."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from regard.core.explainer import AbstractExplainer, Attribution, Query
from regard.core.inputs import Inputs
from regard.core.recording import intact
from regard.explainers.propagation.lrp import LRP

from .transformer import EDGE, GRID, HEADS, WIDTH, SmallTransformer


def exact(explainer: AbstractExplainer, x: np.ndarray) -> Attribution:
    """What the method computes before its map is handed out as float32."""
    with intact(explainer.network) as network:
        return explainer._attribute(Query(network, Inputs.of(torch.from_numpy(x)[None])))


def sign(z: float) -> float:
    return -1.0 if z < 0 else 1.0


def rms(z: np.ndarray) -> float:
    return math.sqrt((z**2).mean())


def divided(x: np.ndarray, w: np.ndarray, b: np.ndarray, r: np.ndarray, rule: str, eps: float, gamma: float):
    """R of the inputs of one linear layer z = w x + b: Bach 2015 eq. 58 (epsilon), z+, Montavon 2019 (gamma)."""
    z = w @ x + b
    parts, biases = np.zeros(w.shape), np.zeros(len(z))
    for j in range(len(z)):
        for i in range(len(x)):
            c = w[j, i] * x[i]
            if rule == "zplus":
                parts[j, i] = max(c, 0)
            elif rule == "gamma":
                parts[j, i] = c + gamma * (max(c, 0) if z[j] > 0 else min(c, 0))
            else:
                parts[j, i] = c
        if rule == "gamma":
            biases[j] = b[j] + gamma * (max(b[j], 0) if z[j] > 0 else min(b[j], 0))
        elif rule != "zplus":
            biases[j] = b[j]
    sums = parts.sum(1) + biases
    small = 0.0 if rule == "0" else eps * rms(sums)
    back = np.zeros(len(x))
    for i in range(len(x)):
        for j in range(len(z)):
            below = sums[j] + small * sign(sums[j])
            back[i] += parts[j, i] / below * r[j] if below else 0
    return back


@pytest.mark.parametrize("rule", ["epsilon", "gamma", "zplus", "0"])
@pytest.mark.parametrize("phi", ["relu", "tanh"])
def test_a_convolution_an_activation_and_a_linear_layer(rule: str, phi: str) -> None:
    rng = np.random.default_rng(0)
    size, places = (3, 4), list(itertools.product(range(3), range(4)))
    network = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), nn.ReLU() if phi == "relu" else nn.Tanh(), nn.Flatten(), nn.Linear(36, 1)
    )
    for parameter in network.parameters():
        parameter.data = torch.from_numpy(rng.normal(size=parameter.shape))
    kernel, bias = network[0].weight.detach().numpy(), network[0].bias.detach().numpy()
    x = rng.normal(size=(2, *size))
    matrix = np.zeros((3 * 12, 2 * 12))
    for c, d in itertools.product(range(3), range(2)):
        for n, (i, j) in enumerate(places):
            for m, (k, l) in enumerate(places):
                if abs(k - i) <= 1 and abs(l - j) <= 1:
                    matrix[c * 12 + n, d * 12 + m] = kernel[c, d, k - i + 1, l - j + 1]
    b = np.repeat(bias, 12)
    hidden = matrix @ x.ravel() + b
    hidden = np.maximum(hidden, 0) if phi == "relu" else np.tanh(hidden)
    head, shift = network[3].weight.detach().numpy(), network[3].bias.detach().numpy()
    value = head @ hidden + shift
    settings = {"rule": rule, "eps": 0.02, "gamma": 0.5}
    r = divided(hidden, head, shift, value, **settings)
    expected = divided(x.ravel(), matrix, b, r, **settings).reshape(x.shape)
    found = exact(LRP(network, rule=rule, epsilon=0.02, gamma=0.5), x)
    np.testing.assert_allclose(found.relevance[0][0].numpy(), expected, rtol=0, atol=1e-10)
    assert found.notes["absorbed"] == pytest.approx(value[0] - expected.sum(), abs=1e-5)


def each(x: np.ndarray, w: np.ndarray, b: np.ndarray, r: np.ndarray, eps: float) -> np.ndarray:
    """R of tokens (token, width) through one linear layer, epsilon a share of the size of all its outputs."""
    z = np.array([w @ one + b for one in x])
    small, back = eps * rms(z), np.zeros(x.shape)
    for t in range(len(x)):
        for i in range(x.shape[1]):
            for j in range(len(w)):
                back[t, i] += w[j, i] * x[t, i] / (z[t, j] + small * sign(z[t, j])) * r[t, j]
    return back


def of_product(a: np.ndarray, b: np.ndarray, r: np.ndarray, eps: float) -> tuple[np.ndarray, np.ndarray]:
    """R of the factors of O = a b, for each head: Achtibat 2024 eq. 15."""
    product = np.array([one @ other for one, other in zip(a, b, strict=True)])
    small, to_a, to_b = eps * rms(2 * product), np.zeros(a.shape), np.zeros(b.shape)
    for h, i, p in np.ndindex(product.shape):
        below = 2 * product[h, i, p] + small * sign(product[h, i, p])
        for j in range(a.shape[2]):
            share = a[h, i, j] * b[h, j, p] / below * r[h, i, p]
            to_a[h, i, j] += share
            to_b[h, j, p] += share
    return to_a, to_b


@pytest.mark.parametrize("eps", [0.0, 0.03])
@pytest.mark.parametrize("attention", ["module", "batch-first"])
def test_a_transformer(eps: float, attention: str) -> None:
    network, x = SmallTransformer(attention), np.random.default_rng(1).normal(size=(4, 6))
    p = {name: t.detach().numpy() for name, t in network.named_parameters()}
    patches = np.array(
        [
            x[i * EDGE : (i + 1) * EDGE, j * EDGE : (j + 1) * EDGE].ravel()
            for i, j in itertools.product(*map(range, GRID))
        ]
    )
    kernel = p["embed.weight"].reshape(WIDTH, -1)
    embedded = patches @ kernel.T + p["embed.bias"]
    start = np.concatenate([p["token"][0], embedded])
    t, kept, width = start + p["position"][0], [], WIDTH // HEADS

    def heads(tokens: np.ndarray) -> np.ndarray:
        return tokens.reshape(len(tokens), HEADS, width).transpose(1, 0, 2)

    for block in range(2):
        w, b = p[f"attentions.{block}.in_proj_weight"], p[f"attentions.{block}.in_proj_bias"]
        ws, bs = np.split(w, 3), np.split(b, 3)
        q, k, v = (heads(t @ one.T + other) for one, other in zip(ws, bs, strict=True))
        raw = np.array([one @ other.T for one, other in zip(q, k, strict=True)])
        logits = raw / math.sqrt(width)
        soft = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        mixed = np.array([one @ other for one, other in zip(soft, v, strict=True)])
        joined = mixed.transpose(1, 0, 2).reshape(len(t), WIDTH)
        out = joined @ p[f"attentions.{block}.out_proj.weight"].T + p[f"attentions.{block}.out_proj.bias"]
        middle = t + out
        before = middle @ p[f"wide.{block}.weight"].T + p[f"wide.{block}.bias"]
        hidden = np.maximum(before, 0)
        after = hidden @ p[f"narrow.{block}.weight"].T + p[f"narrow.{block}.bias"]
        kept.append((t, ws, bs, q, k, v, logits, soft, joined, out, middle, hidden, after))
        t = middle + after
    value = p["head.weight"][0] @ t[0] + p["head.bias"][0]
    r = np.zeros(t.shape)
    r[0] = each(t[:1], p["head.weight"], p["head.bias"], np.array([[value]]), eps)[0]
    for block in (1, 0):
        before, ws, bs, q, k, v, logits, soft, joined, out, middle, hidden, after = kept[block]
        total = middle + after
        r_after, r_middle = after / total * r, middle / total * r
        r_hidden = each(hidden, p[f"narrow.{block}.weight"], p[f"narrow.{block}.bias"], r_after, eps)
        r_middle = r_middle + each(middle, p[f"wide.{block}.weight"], p[f"wide.{block}.bias"], r_hidden, eps)
        total = before + out
        r_out, r = out / total * r_middle, before / total * r_middle
        name = f"attentions.{block}.out_proj"
        r_joined = each(joined, p[f"{name}.weight"], p[f"{name}.bias"], r_out, eps)
        r_soft, r_v = of_product(soft, v, heads(r_joined), eps)
        r_logits = np.zeros(logits.shape)
        for h, i in itertools.product(range(HEADS), range(len(before))):
            for j in range(len(before)):
                r_logits[h, i, j] = logits[h, i, j] * (r_soft[h, i, j] - soft[h, i, j] * r_soft[h, i].sum())
        r_q, r_k = of_product(q, k.transpose(0, 2, 1), r_logits, eps)
        for part, w, b in zip((r_q, r_k.transpose(0, 2, 1), r_v), ws, bs, strict=True):
            r = r + each(before, w, b, part.transpose(1, 0, 2).reshape(before.shape), eps)
    r = (start / (start + p["position"][0]) * r)[1:]
    r_patches = each(patches, kernel, p["embed.bias"], r, eps)
    expected = np.zeros(x.shape)
    for n, (i, j) in enumerate(itertools.product(*map(range, GRID))):
        expected[i * EDGE : (i + 1) * EDGE, j * EDGE : (j + 1) * EDGE] = r_patches[n].reshape(EDGE, EDGE)
    found = exact(LRP(network, epsilon=eps), x[None])
    np.testing.assert_allclose(found.relevance[0][0, 0].numpy(), expected, rtol=0, atol=1e-10)
    assert float(found.value) == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("norm", ["layer", "group", "instance", "rms", "by-hand"])
def test_a_norm_passes_relevance_on_whole(norm: str) -> None:
    """y = (x - mean) / root * weight + shift with the root constant: R_i = x_i dy/dx_i, Achtibat 2024 prop. 3.4."""
    rng = np.random.default_rng(3)
    x, weight, shift, head = (rng.normal(size=s) for s in ((4, 5), (4, 5), (4, 5), 20))
    eps, centred = 1e-2, norm != "rms"
    if norm in ("group", "instance"):
        weight, shift = (np.repeat(v[:, :1], 5, 1) for v in (weight, shift))
    groups = {"layer": [(0, 4)], "rms": [(0, 4)], "by-hand": [(0, 4)], "group": [(0, 2), (2, 4)]}
    groups = groups.get(norm, [(n, n + 1) for n in range(4)])
    expected = np.zeros(x.shape)
    for a, b in groups:
        part, back = x[a:b], head.reshape(4, 5)[a:b] * weight[a:b]
        mean = part.mean() if centred else 0.0
        root = math.sqrt(((part - mean) ** 2).mean() + eps)
        for i in np.ndindex(part.shape):
            moved = back[i] - (back.mean() if centred else 0.0)
            expected[a:b][i] = part[i] * moved / root
    layers = {
        "layer": nn.LayerNorm([4, 5], eps=eps),
        "rms": nn.RMSNorm([4, 5], eps=eps),
        "group": nn.GroupNorm(2, 4, eps=eps),
        "instance": nn.InstanceNorm1d(4, eps=eps, affine=True),
    }
    layer = layers.get(norm)
    if layer is not None:
        columns = slice(0, 1) if norm in ("group", "instance") else slice(None)
        layer.weight.data = torch.from_numpy(weight[:, columns]).reshape(layer.weight.shape).clone()
        if norm != "rms":
            layer.bias.data = torch.from_numpy(shift[:, columns]).reshape(layer.bias.shape).clone()

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, t: torch.Tensor) -> torch.Tensor:
            if self.layer is None:
                centre = t - t.mean((1, 2), keepdim=True)
                t = centre / torch.sqrt(centre.pow(2).mean((1, 2), keepdim=True) + eps) * torch.from_numpy(weight)
            else:
                t = self.layer(t)
            return t.flatten(1) @ torch.from_numpy(head)

    found = exact(LRP(Network(), epsilon=0.0), x)
    np.testing.assert_allclose(found.relevance[0][0].numpy(), expected, rtol=0, atol=1e-10)
