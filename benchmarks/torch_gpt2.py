"""GPT-2 as a torch user writes it, with given weights. Tests and benchmarks compare the trainer's program with this model."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from models.gpt2 import TENSORS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from models.gpt2 import GPT2

__all__ = ["TorchGPT2", "gradient_tolerance", "gradients"]

PER_LAYER = frozenset(tensor.name for tensor in TENSORS if tensor.per_layer)
EPS = float(np.finfo(np.float32).eps)
Arrays = dict[str, "NDArray[Any]"]


causal_attention = partial(functional.scaled_dot_product_attention, is_causal=True)
tanh_gelu = partial(functional.gelu, approximate="tanh")


class Block(nn.Module):
    """One transformer block, with llm.c's names for its parameters."""

    def __init__(self, heads: int, tensors: Mapping[str, NDArray[Any]]) -> None:
        super().__init__()
        self.heads = heads
        for name, tensor in tensors.items():
            self.register_parameter(name, nn.Parameter(torch.tensor(tensor)))

    def linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """Apply the linear layer called `name`."""
        return functional.linear(x, self.get_parameter(f"{name}w"), self.get_parameter(f"{name}b"))

    def norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """Apply the layer norm called `name`."""
        return functional.layer_norm(x, x.shape[-1:], self.get_parameter(f"{name}w"), self.get_parameter(f"{name}b"))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the residual stream after the block."""
        batch, time, c = x.shape
        q, k, v = self.linear("qkv", self.norm("ln1", x)).view(batch, time, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        x = x + self.linear("attproj", causal_attention(q, k, v).transpose(1, 2).reshape(batch, time, c))
        hidden = tanh_gelu(self.linear("fc", self.norm("ln2", x)))
        return x + self.linear("fcproj", hidden)


class TorchGPT2(nn.Module):
    """GPT-2 with the values of llm.c's sixteen tensors. The head shares its weights with the token embedding.

    The token embedding has no padding rows, so the softmax covers only the vocabulary in use.
    """

    def __init__(self, model: GPT2, tensors: Mapping[str, NDArray[Any]]) -> None:
        super().__init__()
        self.wte, self.wpe = (
            nn.Parameter(torch.tensor(tensors["wte"][: model.vocabulary])),
            nn.Parameter(torch.tensor(tensors["wpe"])),
        )
        self.lnfw, self.lnfb = (nn.Parameter(torch.tensor(tensors[name])) for name in ("lnfw", "lnfb"))
        layers = ({name: tensors[name][i] for name in tensors if name in PER_LAYER} for i in range(model.layers))
        self.blocks = nn.ModuleList(Block(model.heads, layer) for layer in layers)

    def forward(self, tokens: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean loss."""
        x = functional.embedding(tokens, self.wte) + self.wpe[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        logits = functional.linear(functional.layer_norm(x, x.shape[-1:], self.lnfw, self.lnfb), self.wte)
        return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def optimiser(self, learning_rate: float, *, fused: bool = False) -> torch.optim.AdamW:
        """Return torch's AdamW with llm.c's settings. Only matrices have weight decay."""
        groups = [
            {"params": [p for p in self.parameters() if p.ndim > 1], "weight_decay": 0.1},
            {"params": [p for p in self.parameters() if p.ndim == 1], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.95), eps=1e-8, fused=fused)

    def tensor_gradients(self) -> Arrays:
        """Return the gradients as llm.c's tensors, in float64."""
        parts_of: dict[str, list[NDArray[Any]]] = {}
        for name, p in self.named_parameters():
            if p.grad is not None:
                parts_of.setdefault(name.rpartition(".")[2], []).append(p.grad.double().numpy())
        return {name: np.stack(parts) if name in PER_LAYER else parts[0] for name, parts in parts_of.items()}


def gradients(
    model: GPT2,
    tensors: Mapping[str, NDArray[Any]],
    batch: tuple[NDArray[np.int32], NDArray[np.int32]],
    dtype: torch.dtype = torch.float64,
) -> Arrays:
    """Return every gradient of torch's model in float64. The gradients of the vocabulary's padding are zero."""
    net = TorchGPT2(model, tensors).to(dtype)
    inputs, targets = (torch.tensor(part).long() for part in batch)
    net(inputs, targets).backward()
    computed = net.tensor_gradients()
    padding = np.zeros((model.padded_vocabulary - model.vocabulary, model.channels))
    return computed | {"wte": np.concatenate([computed["wte"], padding])}


def gradient_tolerance(
    model: GPT2,
    tensors: Mapping[str, NDArray[Any]],
    batch: tuple[NDArray[np.int32], NDArray[np.int32]],
    exact: Arrays,
    draws: int = 6,
) -> Arrays:
    """Return the tolerance of each element of a float32 gradient: its largest allowed distance from the exact gradient.

    The function measures the condition of each element: the change of the float64 gradient after a random rounding error in
    every weight. As in the error laws of the ops, the condition is multiplied by the square root of the longest sum. The root
    mean square of a tensor's gradient is added for elements that are zero by cancellation, such as the key bias.
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
