"""Causal multi-head attention over packed queries, keys and values.

Dims: B = batch, T = time, H = heads, D = head size, E = H x D, W = 3 x E.

A row of `qkv` holds the queries of all heads, then their keys, then their values.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32

from registry import Direction, Op, Sum

Array = np.ndarray


def _heads(x, parts, num_heads):
    """Split ``B T parts*H*D`` into `parts` arrays of ``B H T D`` in float64."""
    batch, time, width = x.shape
    return x.astype(np.float64).reshape(batch, time, parts, num_heads, width // (parts * num_heads)).transpose(2, 0, 3, 1, 4)


def _join(x):
    """Turn ``parts B H T D`` back into ``B T parts*H*D``."""
    parts, batch, heads, time, size = x.shape
    return x.transpose(1, 3, 0, 2, 4).reshape(batch, time, parts * heads * size)


def _gather(weights, values, seen):
    """Return the sum of `values` for each row of `weights`, without values that the row does not see, even if infinite."""
    finite = np.isfinite(values).all(axis=(0, 1, 3))
    if finite.all():
        return weights @ values
    total = weights[..., finite] @ values[:, :, finite]
    for s in np.flatnonzero(~finite):
        total += np.where(seen[:, s, None], weights[..., s, None] * values[:, :, None, s], 0)
    return total


def attention(qkv: Float[Array, "B T 3*H*D"], *, num_heads: int) -> tuple[Float[Array, "B T H*D"], Float32[Array, "B H T"]]:
    """Return y = softmax(q·kᵀ / sqrt(D)) · v over past and present, and the log-sum-exp of each row of scores."""
    q, k, v = _heads(qkv, 3, num_heads)
    seen = np.tri(q.shape[2], dtype=bool)
    scores = np.where(seen, q @ k.swapaxes(2, 3) / np.sqrt(q.shape[3]), -np.inf)
    largest = scores.max(axis=3, initial=-np.inf, keepdims=True)
    e = np.exp(scores - largest)
    total = e.sum(axis=3, keepdims=True)
    y = _gather(e / total, v, seen)
    return _join(y[None]), (largest + np.log(total))[..., 0]


def attention_backward(
    dy: Float[Array, "B T H*D"],
    qkv: Float[Array, "B T 3*H*D"],
    y: Float[Array, "B T H*D"],
    lse: Float32[Array, "B H T"],
    *,
    num_heads: int,
) -> Float[Array, "B T 3*H*D"]:
    """Return the gradient of `qkv`, with the probabilities computed again from `lse`."""
    (q, k, v), (dy,), (y,) = _heads(qkv, 3, num_heads), _heads(dy, 1, num_heads), _heads(y, 1, num_heads)
    seen, scale = np.tri(q.shape[2], dtype=bool), 1 / np.sqrt(q.shape[3])
    p = np.exp(np.where(seen, q @ k.swapaxes(2, 3) * scale - lse[..., None], -np.inf))
    dp = dy @ v.swapaxes(2, 3)
    ds = np.where(seen, p * (dp - (dy * y).sum(axis=3, keepdims=True)) * scale, 0)
    dq = _gather(ds, k, seen)
    dk = _gather(ds.swapaxes(2, 3), q, seen.T)
    dv = _gather(p.swapaxes(2, 3), dy, seen.T)
    return _join(np.stack([dq, dk, dv]))


def _saved(qkv, num_heads, **_):
    y, lse = attention(qkv, num_heads=num_heads)
    return {"y": y, "lse": lse}


def _attend(torch, qkv, num_heads):
    """Return torch's own attention, called as a model calls it."""
    batch, time, width = qkv.shape
    q, k, v = qkv.view(batch, time, 3, num_heads, width // (3 * num_heads)).permute(2, 0, 3, 1, 4)
    y = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    return y.transpose(1, 2).reshape(batch, time, width // 3)


def _oracle_output(torch, qkv, num_heads):
    """Return y as torch does; where a value is not finite, by rows, since torch weighs hidden values by 0 (0 * inf is NaN)."""
    batch, time, width = qkv.shape
    if not qkv.numel() or torch.isfinite(qkv).all():
        return _attend(torch, qkv, num_heads)
    q, k, v = qkv.view(batch, time, 3, num_heads, width // (3 * num_heads)).permute(2, 0, 3, 1, 4)
    scores = [q[:, :, t : t + 1] @ k[:, :, : t + 1].transpose(2, 3) * q.shape[3] ** -0.5 for t in range(time)]
    rows = [row.softmax(dim=3) @ v[:, :, : row.shape[3]] for row in scores]
    return torch.cat(rows, dim=2).transpose(1, 2).reshape(batch, time, width // 3)


def _oracle(torch, qkv, *, num_heads):
    """Return y and the log-sum-exp, which is NaN where the softmax is: where no score is finite, or one is infinite."""
    batch, time, width = qkv.shape
    q, k, _ = qkv.view(batch, time, 3, num_heads, width // (3 * num_heads)).permute(2, 0, 3, 1, 4)
    hidden = torch.ones(time, time, dtype=torch.bool).triu(1)
    lse = (q @ k.transpose(2, 3) * q.shape[3] ** -0.5).masked_fill(hidden, -torch.inf).logsumexp(dim=3)
    return _oracle_output(torch, qkv, num_heads), lse.masked_fill(lse.isinf(), torch.nan)


def _oracle_backward(torch, dy, qkv, y, lse, *, num_heads):
    del y, lse
    qkv = qkv.requires_grad_()
    return torch.autograd.grad(_oracle_output(torch, qkv, num_heads), (qkv,), dy)


def _eager(torch, qkv, *, num_heads):
    return lambda: _attend(torch, qkv, num_heads)


def _eager_backward(torch, dy, qkv, y, lse, *, num_heads):
    del y, lse
    qkv = qkv.requires_grad_()
    y = _attend(torch, qkv, num_heads)
    return lambda: torch.autograd.grad(y, (qkv,), dy, retain_graph=True)


def _size(x):
    return np.abs(x, where=np.isfinite(x), out=np.zeros_like(x)).max(initial=1)


def _flushed(qkv, **_):
    """Probabilities below the least normal float32 may become zero: 2**-126 in units of one rounding, times what they weigh."""
    return 2.0**-102 * _size(qkv)


def _flushed_backward(dy, qkv, *_, **__):
    return _flushed(qkv) * _size(qkv) * _size(dy) * qkv.shape[2]


DOMAIN = {"B": range(4), "T": range(141), "H": range(1, 5), "D": range(1, 81)}


ATTENTION = Op(
    reference=attention,
    outputs=("y", "lse"),
    family="attention",
    direction=Direction.FORWARD,
    oracle=_oracle,
    eager=_eager,
    domain=DOMAIN,
    params={"num_heads": "H"},
    # lse adds the logarithm of a sum between 1 and T to the largest score.
    error=Sum(over="T+D", floor={"y": _flushed, "lse": lambda *_, **__: 1.0}),
    flops=lambda B, T, H, D: 2 * B * H * D * T * (T + 1) + 5 * B * H * T * (T + 1) // 2,
)

ATTENTION_BACKWARD = Op(
    reference=attention_backward,
    outputs=("dqkv",),
    family="attention",
    direction=Direction.BACKWARD,
    oracle=_oracle_backward,
    eager=_eager_backward,
    domain=DOMAIN,
    params={"num_heads": "H"},
    saved=_saved,
    error=Sum(over="T+D", floor={"dqkv": _flushed_backward}),
    flops=lambda B, T, H, D: 5 * B * H * D * T * (T + 1) + 5 * B * H * T * (T + 1) // 2,
)
