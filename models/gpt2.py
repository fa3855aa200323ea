"""GPT-2 as calls of ops: forward pass, loss and backward pass, written by hand, without autograd.

The op `residual_layer_norm` computes each sum of the residual stream together with the layer norm that reads the sum. In the
backward pass the gradient of the stream goes from sum to sum, and each layer norm adds the gradient of its branch.

Source: A. Radford et al., Language Models are Unsupervised Multitask Learners (2019).
Shapes, as suffixes of names: B batch, T time, N = B*T rows, C channels, F = 4*C, H heads, D = C/H, V vocabulary with padding.
In the dims of tensors and calls, V is the vocabulary in use and P its padding.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

from models.builder import ACCUMULATE
from models.model import Model, Recipe
from models.tensors import Init, Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from models.builder import Builder
    from models.state import State
    from models.tensors import View

__all__ = ["GPT2", "MODELS", "NORM_EPS", "TENSORS"]

VOCABULARY, PADDED_VOCABULARY = 50257, 50304
NORM_EPS = 1e-5

# The sixteen tensors of llm.c, with its order and names. V+P: the vocabulary, and rows that pad it to a multiple of 128.
TENSORS = (
    Tensor("wte", "V+P C", Init.NORMAL, decays=True, rows="V"),
    Tensor("wpe", "S C", Init.NORMAL, decays=True),
    Tensor("ln1w", "L C", Init.ONES),
    Tensor("ln1b", "L C", Init.ZEROS),
    Tensor("qkvw", "L 3*C C", Init.NORMAL, decays=True),
    Tensor("qkvb", "L 3*C", Init.ZEROS),
    Tensor("attprojw", "L C C", Init.RESIDUAL, decays=True),
    Tensor("attprojb", "L C", Init.ZEROS),
    Tensor("ln2w", "L C", Init.ONES),
    Tensor("ln2b", "L C", Init.ZEROS),
    Tensor("fcw", "L 4*C C", Init.NORMAL, decays=True),
    Tensor("fcb", "L 4*C", Init.ZEROS),
    Tensor("fcprojw", "L C 4*C", Init.RESIDUAL, decays=True),
    Tensor("fcprojb", "L C", Init.ZEROS),
    Tensor("lnfw", "C", Init.ONES),
    Tensor("lnfb", "C", Init.ZEROS),
)


class Norm(NamedTuple):
    """A layer norm of the residual stream: its parameters, its input, its output, and its row statistics."""

    name: str
    layer: int | None
    stream_NC: View
    y_NC: View
    mean_N: View
    rstd_N: View


class Block(NamedTuple):
    """The arrays of a transformer block that its backward pass reads."""

    ln1: Norm
    qkv_BTx3C: View
    attended_BTC: View
    lse_BHT: View
    ln2: Norm
    pre_NF: View
    hidden_NF: View


class Saved(NamedTuple):
    """The arrays that the forward pass saves for the backward pass."""

    blocks: list[Block]
    lnf: Norm
    logits: View


@dataclass(frozen=True, kw_only=True)
class GPT2(Model):
    """One model of the GPT-2 family.

    Attributes
    ----------
    layers, channels, heads : int
        The number of transformer blocks, of channels C, and of attention heads H.
    """

    layers: int
    channels: int
    heads: int
    context: int = 1024
    vocabulary: int = VOCABULARY
    padded_vocabulary: int = PADDED_VOCABULARY

    @property
    def head_size(self) -> int:
        """Channels of one attention head, D."""
        return self.channels // self.heads

    @property
    def sizes(self) -> Mapping[str, int]:
        """Values of the dims of the tensors."""
        padding = self.padded_vocabulary - self.vocabulary
        return {"L": self.layers, "C": self.channels, "S": self.context, "V": self.vocabulary, "P": padding}

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The sixteen tensors of llm.c."""
        return TENSORS

    @property
    def zeros(self) -> Mapping[str, tuple[int, ...]]:
        """Zeros in place of a bias of the head: GPT-2 has no such bias."""
        return {"head bias": (self.padded_vocabulary,)}

    def small(self) -> Self:
        """Return a model of two layers with the same head size."""
        channels, recipe = 2 * self.head_size, Recipe(batch=2, sequence=64)
        small = dataclasses.replace(self, name="small", layers=2, heads=2, channels=channels, recipe=recipe)
        return dataclasses.replace(small, context=64, vocabulary=120, padded_vocabulary=128)

    def forward(self, build: Builder, state: State, tokens_BT: View) -> Saved:
        """Record the calls from token ids to logits."""
        p = state.parameters
        batch, time = tokens_BT.shape
        rows, channels = batch * time, self.channels
        (x_BTC,) = build.call("embedding", tokens=tokens_BT, wte=p["wte"], wpe=p["wpe"], V=self.vocabulary)
        ln1 = self._first_norm(build, state, x_BTC.reshape(rows, channels))
        blocks = []
        for i in range(self.layers):
            (qkv_Nx3C,) = self._linear(build, state, "qkv", i, ln1.y_NC)
            qkv_BTx3C = qkv_Nx3C.reshape(batch, time, 3 * channels)
            attended_BTC, lse_BHT = build.call("attention", "", f"layer {i}", qkv=qkv_BTx3C, num_heads=self.heads)
            (attproj_NC,) = self._linear(build, state, "attproj", i, attended_BTC.reshape(rows, channels))
            ln2 = self._add_and_norm(build, state, ln1, attproj_NC, i, "ln2", i)
            pre_NF, hidden_NF = self._linear(build, state, "fc", i, ln2.y_NC)
            (fcproj_NC,) = self._linear(build, state, "fcproj", i, hidden_NF)
            blocks.append(Block(ln1, qkv_BTx3C, attended_BTC, lse_BHT, ln2, pre_NF, hidden_NF))
            name, layer = ("ln1", i + 1) if i + 1 < self.layers else ("lnf", None)
            ln1 = self._add_and_norm(build, state, ln2, fcproj_NC, i, name, layer)
        (logits_NV,) = build.call("matmul", "head", x=ln1.y_NC, weight=p["wte"], bias=state.zeros["head bias"])
        return Saved(blocks, ln1, logits_NV)

    def loss(self, build: Builder, saved: Saved, targets_N: View, losses_N: View) -> None:
        """Record the call from logits to the loss of each row."""
        build.call("cross_entropy", logits=saved.logits, targets=targets_N, losses=losses_N, vocab_size=self.vocabulary)

    def backward(
        self, build: Builder, state: State, saved: Saved, tokens_BT: View, targets_N: View, losses_N: View, scale: float
    ) -> None:
        """Record the calls from logits to losses and gradients; the logits are overwritten by their gradients."""
        p, d, dlogits_NV = state.parameters, state.gradients, saved.logits
        vocabulary = {"vocab_size": self.vocabulary, "scale": scale}
        build.call("cross_entropy_backward", targets=targets_N, losses=losses_N, logits=dlogits_NV, **vocabulary)
        (dlnf_NC,) = build.call("matmul_backward_input", "head", dy=dlogits_NV, weight=p["wte"])
        head = {"dy": dlogits_NV, "x": saved.lnf.y_NC, "dweight": d["wte"]}
        build.call("matmul_backward_weight", "head", **head, accumulate=ACCUMULATE)
        dstream_NC = self._norm_backward(build, state, saved.lnf, dlnf_NC)
        for i in reversed(range(self.layers)):
            dstream_NC = self._block_backward(build, state, i, saved.blocks[i], dstream_NC)
        dx_BTC = dstream_NC.reshape(*tokens_BT.shape, self.channels)
        # The backward pass of the head has written dwte: the embedding always adds to it.
        flags = {"accumulate_wte": True, "accumulate_wpe": ACCUMULATE, "V": self.vocabulary}
        build.call("embedding_backward", tokens=tokens_BT, dx=dx_BTC, dwte=d["wte"], dwpe=d["wpe"], **flags)

    def _linear(self, build: Builder, state: State, name: str, layer: int, x: View) -> tuple[View, ...]:
        """Record linear layer `name`. Layer ``fc`` includes its GELU, and also returns the argument of the GELU."""
        op, label = ("matmul_gelu", "") if name == "fc" else ("matmul", name)
        weight, bias = (state.parameters[name + part].layer(layer) for part in "wb")
        return build.call(op, label, f"layer {layer}", x=x, weight=weight, bias=bias)

    def _first_norm(self, build: Builder, state: State, x_NC: View) -> Norm:
        weight, bias = _of_norm(state.parameters, "ln1", 0)
        y_NC, mean_N, rstd_N = build.call("layer_norm", "", "layer 0", x=x_NC, weight=weight, bias=bias, eps=NORM_EPS)
        return Norm("ln1", 0, x_NC, y_NC, mean_N, rstd_N)

    def _add_and_norm(
        self, build: Builder, state: State, before: Norm, branch_NC: View, block: int, name: str, layer: int | None
    ) -> Norm:
        """Record the sum of the stream and a branch of `block`, with the layer norm that reads the sum."""
        weight, bias = _of_norm(state.parameters, name, layer)
        inputs = {"x1": before.stream_NC, "x2": branch_NC, "weight": weight, "bias": bias}
        sum_NC, y_NC, mean_N, rstd_N = build.call("residual_layer_norm", "", f"layer {block}", **inputs, eps=NORM_EPS)
        return Norm(name, layer, sum_NC, y_NC, mean_N, rstd_N)

    def _norm_backward(self, build: Builder, state: State, norm: Norm, dy_NC: View, dresidual_NC: View | None = None) -> View:
        """Record the gradient of a layer norm and, with `dresidual_NC`, of its sum; return the gradient of the stream."""
        weight, _ = _of_norm(state.parameters, norm.name, norm.layer)
        dweight, dbias = _of_norm(state.gradients, norm.name, norm.layer)
        gradients = {"dweight": dweight, "dbias": dbias, "accumulate": ACCUMULATE}
        statistics = {"weight": weight, "mean": norm.mean_N, "rstd": norm.rstd_N}
        where = "" if norm.layer is None else f"layer {norm.layer}"
        if dresidual_NC is None:
            (dx_NC,) = build.call("layer_norm_backward", "", where, dy=dy_NC, x=norm.stream_NC, **statistics, **gradients)
        else:
            stream = {"dresidual": dresidual_NC, "residual": norm.stream_NC}
            (dx_NC,) = build.call("residual_layer_norm_backward", "", where, dy=dy_NC, **stream, **statistics, **gradients)
        return dx_NC

    def _parameters_backward(self, build: Builder, state: State, name: str, layer: int, dy: View, x: View) -> None:
        """Record the gradients of the bias and the weight of linear layer `name`."""
        dweight, dbias = (state.gradients[name + part].layer(layer) for part in "wb")
        where = f"layer {layer}"
        build.call("matmul_backward_bias", name, where, dy=dy, dbias=dbias, accumulate=ACCUMULATE)
        build.call("matmul_backward_weight", name, where, dy=dy, x=x, dweight=dweight, accumulate=ACCUMULATE)

    def _input_backward(self, build: Builder, state: State, name: str, layer: int, dy: View) -> View:
        """Record the gradient of the input of linear layer `name`."""
        weight = state.parameters[f"{name}w"].layer(layer)
        (dx,) = build.call("matmul_backward_input", name, f"layer {layer}", dy=dy, weight=weight)
        return dx

    def _block_backward(self, build: Builder, state: State, i: int, saved: Block, dstream_NC: View) -> View:
        """Record the backward pass of block `i`: from the gradient of its output to the gradient of its input."""
        where, (rows, channels) = f"layer {i}", dstream_NC.shape
        attended_NC = saved.attended_BTC.reshape(rows, channels)
        self._parameters_backward(build, state, "fcproj", i, dstream_NC, saved.hidden_NF)
        fcprojw = state.parameters["fcprojw"].layer(i)
        (dpre_NF,) = build.call("matmul_gelu_backward", "", where, dy=dstream_NC, weight=fcprojw, pre=saved.pre_NF)
        self._parameters_backward(build, state, "fc", i, dpre_NF, saved.ln2.y_NC)
        dln2_NC = self._input_backward(build, state, "fc", i, dpre_NF)
        dmiddle_NC = self._norm_backward(build, state, saved.ln2, dln2_NC, dstream_NC)
        self._parameters_backward(build, state, "attproj", i, dmiddle_NC, attended_NC)
        dattended_NC = self._input_backward(build, state, "attproj", i, dmiddle_NC)
        forward = {"qkv": saved.qkv_BTx3C, "y": saved.attended_BTC, "lse": saved.lse_BHT, "num_heads": self.heads}
        dy_BTC = dattended_NC.reshape(*saved.attended_BTC.shape)
        (dqkv_BTx3C,) = build.call("attention_backward", "", where, dy=dy_BTC, **forward)
        dqkv_Nx3C = dqkv_BTx3C.reshape(rows, 3 * channels)
        self._parameters_backward(build, state, "qkv", i, dqkv_Nx3C, saved.ln1.y_NC)
        dln1_NC = self._input_backward(build, state, "qkv", i, dqkv_Nx3C)
        return self._norm_backward(build, state, saved.ln1, dln1_NC, dmiddle_NC)


def _of_norm(tensors: Mapping[str, View], name: str, layer: int | None) -> tuple[View, View]:
    """Return weight and bias of a layer norm, from parameters or gradients; `layer` is None for ``lnf``."""
    weight, bias = tensors[f"{name}w"], tensors[f"{name}b"]
    return (weight, bias) if layer is None else (weight.layer(layer), bias.layer(layer))


def _model(name: str, layers: int, channels: int, heads: int, recipe: Recipe, context: int = 1024) -> GPT2:
    return GPT2(name=name, layers=layers, channels=channels, heads=heads, context=context, recipe=recipe)


# Peak rates of the large models: T. Brown et al., Language Models are Few-Shot Learners (2020), table 2.1.
# The names d6 to d60 are llm.c's depth descriptors (train_gpt2.cu, gpt2_set_hyperparameters).
MODELS = (
    _model("gpt2-nano", 2, 64, 2, Recipe(batch=8, steps=300, learning_rate=3e-3), context=64),
    _model("gpt2-micro", 4, 128, 4, Recipe(steps=1600, learning_rate=6e-3), context=128),
    _model("gpt2-124m", 12, 768, 12, Recipe(learning_rate=6e-4)),
    _model("gpt2-355m", 24, 1024, 16, Recipe(learning_rate=3e-4)),
    _model("gpt2-774m", 36, 1280, 20, Recipe(steps=10, learning_rate=2.5e-4)),
    _model("gpt2-1558m", 48, 1600, 25, Recipe(steps=10, learning_rate=2e-4)),
    _model("d6", 6, 384, 6, Recipe(steps=40, learning_rate=1e-3)),
    _model("d12", 12, 768, 12, Recipe(learning_rate=6e-4)),
    _model("d24", 24, 1024, 16, Recipe(learning_rate=3e-4)),
    _model("d36", 36, 1280, 20, Recipe(steps=10, learning_rate=2.5e-4)),
    _model("d48", 48, 1600, 25, Recipe(steps=10, learning_rate=2e-4)),
    _model("d60", 60, 1920, 30, Recipe(batch=1, steps=10, learning_rate=2e-4)),
)
