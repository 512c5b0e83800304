"""Class activation maps as literal loops over channels and places, in float64, from their equations.

Slow on purpose. Each takes A[k, place] and g[k, place] of one case with the places in one row, or a function that
evaluates the network's tail, and gives the coarse map [place].
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

Table = np.ndarray


def grad_cam(A: Table, g: Table) -> list[float]:
    """Selvaraju 2017, equation 1: alpha_k = 1/Z sum_ij dy/dA_k; equation 2 without its ReLU."""
    K, Z = A.shape
    out = [0.0] * Z
    for k in range(K):
        alpha = 0.0
        for p in range(Z):
            alpha += g[k, p] / Z
        for p in range(Z):
            out[p] += alpha * A[k, p]
    return out


def grad_ram(A: Table, g: Table) -> list[float]:
    """Kang 2023: abs(sum_k alpha_k A_k), before the absolute value."""
    return grad_cam(A, g)


def by_place(A: Table, g: Table) -> list[float]:
    """Draelos 2020, section 3.3, and Kang 2023 (Grad-RAMP) before the absolute value: sum_k g_k A_k."""
    K, Z = A.shape
    out = [0.0] * Z
    for p in range(Z):
        for k in range(K):
            out[p] += g[k, p] * A[k, p]
    return out


def layer_cam(A: Table, g: Table) -> list[float]:
    """Jiang 2021, equations 5 and 6: w_ij = relu(g_ij), A^ = w A; equation 7 without its ReLU."""
    K, Z = A.shape
    out = [0.0] * Z
    for p in range(Z):
        for k in range(K):
            if g[k, p] > 0:
                out[p] += g[k, p] * A[k, p]
    return out


def grad_cam_pp_published(A: Table, g: Table) -> list[float]:
    """Chattopadhay 2018, equations 19 (alpha) and 10 (weights), without exp(S); the last ReLU is left to the caller."""
    K, Z = A.shape
    out = [0.0] * Z
    for k in range(K):
        total = 0.0
        for p in range(Z):
            total += A[k, p]
        w = 0.0
        for p in range(Z):
            if g[k, p] > 0:
                w += g[k, p] ** 2 / (2 * g[k, p] ** 2 + total * g[k, p] ** 3) * g[k, p]
        for p in range(Z):
            out[p] += w * A[k, p]
    return out


def grad_cam_pp_signed(A: Table, g: Table) -> list[float]:
    """The paper's map of S less that of -S, for activations that are not negative."""
    rising, falling = grad_cam_pp_published(A, g), grad_cam_pp_published(A, -g)
    return [r - f for r, f in zip(rising, falling)]


def eigen_grad_cam(A: Table, g: Table) -> list[float]:
    """First principal component of g A over places, by power iteration; sign by agreement with sum_k g_k A_k."""
    K, Z = A.shape
    x = [[g[k, p] * A[k, p] for k in range(K)] for p in range(Z)]
    for k in range(K):
        mean = sum(x[p][k] for p in range(Z)) / Z
        for p in range(Z):
            x[p][k] -= mean
    scatter = [[sum(x[p][a] * x[p][b] for p in range(Z)) for b in range(K)] for a in range(K)]
    v = [1.0 + 0.1 * k for k in range(K)]
    for _ in range(3000):
        v = [sum(scatter[a][b] * v[b] for b in range(K)) for a in range(K)]
        length = math.sqrt(sum(e * e for e in v))
        v = [e / length for e in v]
    out = [sum(x[p][k] * v[k] for k in range(K)) for p in range(Z)]
    agreement = sum(out[p] * sum(x[p]) for p in range(Z))
    return out if agreement > 0 else [-o for o in out]


def ablation_cam(A: Table, tail: Callable[[Table], float], *, published: bool) -> list[float]:
    """Desai 2020, equation 3: w_k = (y - y_k) / y; equation 4 without its ReLU. Signed: not divided by y."""
    K, Z = A.shape
    y = tail(A)
    out = [0.0] * Z
    for k in range(K):
        without = A.copy()
        for p in range(Z):
            without[k, p] = 0.0
        w = y - tail(without)
        if published:
            w = w / y
        for p in range(Z):
            out[p] += w * A[k, p]
    return out


def weighted(A: Table, w: Sequence[float]) -> list[float]:
    """sum_k w_k A_k."""
    K, Z = A.shape
    out = [0.0] * Z
    for k in range(K):
        for p in range(Z):
            out[p] += w[k] * A[k, p]
    return out


def score_cam_weights(
    masks: Sequence[Table], x: Table, filler: Table, f: Callable[[Table], float], *, published: bool
) -> list[float]:
    """Wang 2020, equations 4 to 6 and algorithm 1, for masks already on the input's grid (channel, *space).

    Published: softmax over k of f(x * s(H_k)). Signed: f(filler + s(H_k) (x - filler)) - f(filler).
    """
    scores = []
    for H in masks:
        s = (H - H.min()) / (H.max() - H.min())
        shown = np.empty_like(x)
        for c in range(x.shape[0]):
            for place in np.ndindex(*x.shape[1:]):
                if published:
                    shown[(c, *place)] = x[(c, *place)] * s[place]
                else:
                    shown[(c, *place)] = s[place] * x[(c, *place)] + (1 - s[place]) * filler[(c, *place)]
        scores.append(f(shown))
    if not published:
        return [score - f(filler) for score in scores]
    total = sum(math.exp(score) for score in scores)
    return [math.exp(score) / total for score in scores]


def crm_double_loop(A: Table, w: Table) -> list[float]:
    """Kim 2019: sum_c (S_c - S_c(ij))^2 with M_c = sum_k w_kc A_k, S_c = sum_ij M_c, S_c(ij) = S_c less M_c(ij)."""
    K, Z = A.shape
    C = w.shape[0]
    M = [[sum(w[c, k] * A[k, p] for k in range(K)) for p in range(Z)] for c in range(C)]
    S = [sum(M[c]) for c in range(C)]
    out = [0.0] * Z
    for p in range(Z):
        for c in range(C):
            left = 0.0
            for q in range(Z):
                if q != p:
                    left += M[c][q]
            out[p] += (S[c] - left) ** 2
    return out


def crm_ablation(A: Table, outputs: Callable[[Table], Table]) -> Table:
    """Change of every output when all channels of one cell are 0: [output, place]."""
    K, Z = A.shape
    y = outputs(A)
    changes = []
    for p in range(Z):
        without = A.copy()
        for k in range(K):
            without[k, p] = 0.0
        changes.append(y - outputs(without))
    return np.stack(changes, 1)


def interpolate_axis(values: Table, n_out: int, axis: int) -> Table:
    """Linear interpolation with half-voxel centres, edges repeated, along one axis."""
    moved = np.moveaxis(values, axis, 0)
    n_in = moved.shape[0]
    out = np.empty((n_out, *moved.shape[1:]))
    for o in range(n_out):
        at = min(max((o + 0.5) * n_in / n_out - 0.5, 0.0), n_in - 1)
        low = math.floor(at)
        high = min(low + 1, n_in - 1)
        out[o] = (1 - (at - low)) * moved[low] + (at - low) * moved[high]
    return np.moveaxis(out, 0, axis)


def interpolate(values: Table, size: Sequence[int]) -> Table:
    """Linear interpolation to ``size``, an axis at a time."""
    for axis, n in enumerate(size):
        values = interpolate_axis(values, n, axis)
    return values


def spread(values: Table, size: Sequence[int]) -> Table:
    """Share each coarse cell among the fine cells under a triangle one coarse cell wide to each side."""
    for axis, n_fine in enumerate(size):
        moved = np.moveaxis(values, axis, 0)
        n_coarse = moved.shape[0]
        step = n_fine / n_coarse
        out = np.zeros((n_fine, *moved.shape[1:]))
        for c in range(n_coarse):
            centre = (c + 0.5) * step - 0.5
            shares = [max(0.0, 1 - abs(f - centre) / max(1.0, step)) for f in range(n_fine)]
            for f in range(n_fine):
                out[f] += shares[f] / sum(shares) * moved[c]
        values = np.moveaxis(out, 0, axis)
    return values


def blur(values: Table, sigma: Sequence[float]) -> Table:
    """Gaussian weights to four standard deviations, edges repeated, an axis at a time; values [channel, *space]."""
    for axis, width in enumerate(sigma, start=1):
        moved = np.moveaxis(values, axis, 0)
        radius, n = math.ceil(4 * width), moved.shape[0]
        weights = [math.exp(-(d**2) / (2 * width**2)) for d in range(-radius, radius + 1)]
        out = np.zeros_like(moved)
        for i in range(n):
            for d, weight in zip(range(-radius, radius + 1), weights):
                out[i] += weight / sum(weights) * moved[min(max(i + d, 0), n - 1)]
        values = np.moveaxis(out, 0, axis)
    return values
