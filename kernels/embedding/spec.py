"""Token embedding plus position embedding.

Dims: B = batch, T = time, C = channels, V = vocabulary, P = rows that pad the vocabulary, S = positions of the context after
T, R = V + P, L = T + S.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int32

from registry import Direction, Op, Sum

Array = np.ndarray


def embedding(tokens: Int32[Array, "B T"], wte: Float[Array, "V+P C"], wpe: Float[Array, "T+S C"]) -> Float[Array, "B T C"]:
    """Return x[b, t] = wte[tokens[b, t]] + wpe[t]."""
    return wte[tokens].astype(np.float64) + wpe[: tokens.shape[1]]


def embedding_backward(
    tokens: Int32[Array, "B T"],
    dx: Float[Array, "B T C"],
    dwte: Float[Array, "V+P C"],
    dwpe: Float[Array, "T+S C"],
    *,
    accumulate_wte: bool,
    accumulate_wpe: bool,
) -> tuple[Float[Array, "V+P C"], Float[Array, "T+S C"]]:
    """Return dwte and dwpe, added to their old values if the flags say so; otherwise the row of an absent token is zero.

    The two flags differ where the token embedding is also the weight of the classifier, whose gradient came first.
    """
    dwte = dwte.astype(np.float64) if accumulate_wte else np.zeros(dwte.shape)
    dwpe = dwpe.astype(np.float64) if accumulate_wpe else np.zeros(dwpe.shape)
    np.add.at(dwte, tokens, dx.astype(np.float64))
    dwpe[: tokens.shape[1]] += dx.sum(axis=0, dtype=np.float64)
    return dwte, dwpe


def _oracle(torch, tokens, wte, wpe):
    functional = torch.nn.functional
    return (functional.embedding(tokens.long(), wte) + functional.embedding(torch.arange(tokens.shape[1]), wpe),)


def _eager(torch, tokens, wte, wpe):
    tokens, positions, functional = tokens.long(), torch.arange(tokens.shape[1]), torch.nn.functional
    return lambda: functional.embedding(tokens, wte) + functional.embedding(positions, wpe)


def _oracle_backward(torch, tokens, dx, dwte, dwpe, *, accumulate_wte, accumulate_wpe):
    wte, wpe = torch.zeros_like(dwte, requires_grad=True), torch.zeros_like(dwpe, requires_grad=True)
    token_grad, position_grad = torch.autograd.grad(_oracle(torch, tokens, wte, wpe), (wte, wpe), dx)
    return token_grad + dwte if accumulate_wte else token_grad, position_grad + dwpe if accumulate_wpe else position_grad


def _eager_backward(torch, tokens, dx, dwte, dwpe, *, accumulate_wte, accumulate_wpe):
    tokens, rows, length = tokens.long().flatten(), dx.flatten(0, 1), tokens.shape[1]

    def call():
        if not accumulate_wte:
            dwte.zero_()
        dwte.index_add_(0, tokens, rows)
        if accumulate_wpe:
            dwpe[:length].add_(dx.sum(0))
        else:
            torch.sum(dx, 0, out=dwpe[:length])
            dwpe[length:].zero_()

    return call


DOMAIN = {"B": range(1, 5), "T": range(1, 33), "V": range(1, 65), "P": range(8), "S": range(9), "C": range(1, 161)}


EMBEDDING = Op(
    reference=embedding,
    outputs=("x",),
    family="embedding",
    direction=Direction.FORWARD,
    oracle=_oracle,
    eager=_eager,
    domain=DOMAIN,
    integers={"tokens": "V"},
    touched={"wte": "B*T*C", "wpe": "T*C"},
    flops=lambda B, T, C, **_: B * T * C,
)

EMBEDDING_BACKWARD = Op(
    reference=embedding_backward,
    outputs=("dwte", "dwpe"),
    family="embedding",
    direction=Direction.BACKWARD,
    oracle=_oracle_backward,
    eager=_eager_backward,
    domain=DOMAIN,
    params={"accumulate_wte": (True, False), "accumulate_wpe": (False, True)},
    integers={"tokens": "V"},
    error=Sum(over="B*T"),
    touched={"dwte": "B*T*C", "dwpe": "T*C"},
    flops=lambda B, T, C, **_: 2 * B * T * C,
)
