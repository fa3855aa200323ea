"""GPT-2 as a torch user writes it, from the same weights: what the hand-written program is held against."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from registry.models import ModelShape

__all__ = ["TorchGPT2", "gradient_budget", "gradients"]

EPS = float(np.finfo(np.float32).eps)
MATRICES = ("wte", "wpe", "qkvw", "attprojw", "fcw", "fcprojw")
Arrays = dict[str, "NDArray[Any]"]


class TorchGPT2(nn.Module):
    """GPT-2 over llm.c's sixteen tensors, the head tied to the token embedding.

    Parameters
    ----------
    padded : bool
        Keep the padded rows of the vocabulary, as nanoGPT does for speed; they then take part in the softmax.
    """

    def __init__(self, model: ModelShape, tensors: Mapping[str, NDArray[Any]], *, padded: bool = False) -> None:
        super().__init__()
        self.shape = model
        self.rows = model.padded_vocabulary if padded else model.vocabulary
        for name, tensor in tensors.items():
            self.register_parameter(name, nn.Parameter(torch.tensor(tensor[: self.rows] if name == "wte" else tensor)))

    def forward(self, tokens: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean loss."""
        batch, time = tokens.shape
        c = self.shape.channels
        x = functional.embedding(tokens, self.wte) + self.wpe[:time]
        for i in range(self.shape.layers):
            normed = functional.layer_norm(x, (c,), self.ln1w[i], self.ln1b[i])
            qkv = functional.linear(normed, self.qkvw[i], self.qkvb[i]).view(batch, time, 3, self.shape.heads, -1)
            q, k, v = qkv.permute(2, 0, 3, 1, 4)
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(batch, time, c)
            x = x + functional.linear(y, self.attprojw[i], self.attprojb[i])
            normed = functional.layer_norm(x, (c,), self.ln2w[i], self.ln2b[i])
            hidden = functional.gelu(functional.linear(normed, self.fcw[i], self.fcb[i]), approximate="tanh")
            x = x + functional.linear(hidden, self.fcprojw[i], self.fcprojb[i])
        logits = functional.linear(functional.layer_norm(x, (c,), self.lnfw, self.lnfb), self.wte)
        return functional.cross_entropy(logits.view(-1, self.rows), targets.reshape(-1))

    def optimiser(self, learning_rate: float, *, fused: bool = False) -> torch.optim.AdamW:
        """Return torch's AdamW with llm.c's settings, which decays the matrices only."""
        groups = [
            {"params": [getattr(self, n) for n in MATRICES], "weight_decay": 0.1},
            {"params": [p for n, p in self.named_parameters() if n not in MATRICES], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.95), eps=1e-8, fused=fused)


def gradients(
    model: ModelShape,
    tensors: Mapping[str, NDArray[Any]],
    batch: tuple[NDArray[np.int32], NDArray[np.int32]],
    dtype: torch.dtype = torch.float64,
) -> Arrays:
    """Return every gradient of torch's model in float64, those of the vocabulary's padding zero."""
    net = TorchGPT2(model, tensors).to(dtype)
    inputs, targets = (torch.tensor(part).long() for part in batch)
    net(inputs, targets).backward()
    found = {name: p.grad.double().numpy() for name, p in net.named_parameters() if p.grad is not None}
    padding = np.zeros((model.padded_vocabulary - model.vocabulary, model.channels))
    return found | {"wte": np.concatenate([found["wte"], padding])}


def gradient_budget(
    model: ModelShape,
    tensors: Mapping[str, NDArray[Any]],
    batch: tuple[NDArray[np.int32], NDArray[np.int32]],
    exact: Arrays,
    draws: int = 6,
) -> Arrays:
    """Return how far each element of an honest float32 gradient may stand from the exact one.

    The condition is measured: the float64 model's answer to weights that are off by one rounding each. As in the error
    laws of the ops, it is multiplied by the square root of the longest sum. The mean size of a tensor's gradient stands
    for elements that are zero by cancellation, as those of the key bias are.
    """
    random = np.random.default_rng(1)
    response = {name: np.zeros(gradient.shape) for name, gradient in exact.items()}
    for _ in range(draws):
        off = {n: t.astype(np.float64) * (1 + EPS * random.choice((-1.0, 1.0), t.shape)) for n, t in tensors.items()}
        for name, gradient in gradients(model, off, batch).items():
            np.maximum(response[name], np.abs(gradient - exact[name]), out=response[name])
    gamma = 4 * np.sqrt(max(model.padded_vocabulary, 4 * model.channels, batch[0].size))
    return {
        name: gamma * (response[name] + EPS * (np.abs(gradient) + np.sqrt(np.mean(gradient**2))))
        for name, gradient in exact.items()
    }
