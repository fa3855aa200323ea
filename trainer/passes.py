"""GPT-2 written out by hand as calls of ops: forward, loss, backward, update. No autograd.

Dims: N rows (batch x time), C channels, H heads, T time, B batch, V padded vocabulary.

The residual stream is a chain of sums; each is made together with the layer norm that reads it (`residual_layer_norm`).
Backward, the gradient of the stream runs from sum to sum, and each layer norm adds what its branch sends back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainer.arena import Buffer, Kind, View
from trainer.calls import Call
from trainer.parameters import DECAYED, cut, parameter_count

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registry.models import ModelShape
    from registry.table import Table

__all__ = ["ADAM_EPS", "BETA1", "BETA2", "LATER", "NORM_EPS", "WEIGHT_DECAY", "Network", "Norm", "State"]

NORM_EPS = 1e-5
BETA1, BETA2, ADAM_EPS, WEIGHT_DECAY = 0.9, 0.95, 1e-8, 0.1
# Parameters of the update that change from step to step; the values are examples.
LATER = {"learning_rate": 1e-3, "grad_scale": 1.0, "step": 1, "chance": 1}


@dataclass(frozen=True)
class Norm:
    """A layer norm of the residual stream: the sum it reads, what it makes of it, and its row statistics."""

    stream: View
    y: View
    mean: View
    rstd: View


class State:
    """What lasts from step to step: parameters, gradients and moments, each one flat buffer cut into tensors.

    Where parameters and gradients are bfloat16, the update works on master weights in float32.
    """

    def __init__(self, model: ModelShape, dtype: str) -> None:
        size = (parameter_count(model),)
        kinds = {"first moments": Kind.MOMENTS, "second moments": Kind.MOMENTS}
        if dtype != "float32":
            kinds["master weights"] = Kind.MASTER
        stored = {"parameters": Kind.PARAMETERS, "gradients": Kind.GRADIENTS}
        self.dtype = dtype
        self.buffers = {name: Buffer(name, size, kind, dtype) for name, kind in stored.items()}
        self.buffers |= {name: Buffer(name, size, kind) for name, kind in kinds.items()}
        self.parameters, self.gradients, self.m, self.v, *master = (cut(model, b) for b in self.buffers.values())
        self.master = master[0] if master else None
        # The head has no bias: it stays 0.
        self.head_bias = Buffer("head bias", (model.padded_vocabulary,), Kind.BATCH, dtype)
        self.norm = Buffer("gradient norm", (1,), Kind.BATCH)

    @property
    def lasting(self) -> list[Buffer]:
        """All buffers."""
        return [*self.buffers.values(), self.head_bias, self.norm]


class Network:
    """Emits the calls of one model at one batch and sequence length; several may stand on one `State`."""

    def __init__(self, table: Table, model: ModelShape, state: State, batch: int, sequence: int) -> None:
        self.table, self.model, self.state = table, model, state
        self.batch, self.sequence, self.rows = batch, sequence, batch * sequence
        self._transient: dict[str, View] = {}
        self.tokens = Buffer("tokens", (batch, sequence), Kind.BATCH, "int32")
        self.targets = Buffer("targets", (self.rows,), Kind.BATCH, "int32")
        self.losses = Buffer("losses", (self.rows,), Kind.BATCH)
        self.logits = self._new("logits", model.padded_vocabulary)
        self.embedded = self._new("embedded", model.channels)
        last = 2 * model.layers
        self.norms = [self._norm(i) for i in range(last + 1)]
        c = model.channels
        self.qkv, self.pre, self.hidden = (self._per_layer(n, k) for n, k in (("qkv", 3 * c), ("pre", 4 * c), ("gelu", 4 * c)))
        self.attended = self._per_layer("attended", c)
        lse = (batch, model.heads, sequence)
        self.lse = [Buffer(f"lse {i}", lse).whole for i in range(model.layers)]

    @property
    def lasting(self) -> list[Buffer]:
        """Buffers of the batch, beside those of the state."""
        return [self.tokens, self.targets, self.losses]

    def _new(self, name: str, columns: int) -> View:
        """Return the transient buffer called `name`: every pass that names it means the same one."""
        if name not in self._transient:
            self._transient[name] = Buffer(name, (self.rows, columns), dtype=self.state.dtype).whole
        return self._transient[name]

    def _per_layer(self, name: str, columns: int) -> list[View]:
        return [self._new(f"{name} {i}", columns) for i in range(self.model.layers)]

    def _norm(self, number: int) -> Norm:
        """Return norm `number`: 2l is ln1 of layer l, 2l+1 its ln2, and the last one lnf. The first reads the embedding."""
        stream = self._new(f"stream {number}", self.model.channels) if number else self.embedded
        mean, rstd = (Buffer(f"{n} {number}", (self.rows,)).whole for n in ("mean", "rstd"))
        return Norm(stream, self._new(f"normed {number}", self.model.channels), mean, rstd)

    def _call(
        self, op: str, label: str = "", where: str = "", params: Mapping[str, Any] | None = None, /, **arrays: View
    ) -> Call:
        found = self.table.op(op)
        dims = found.shapes(self.model, self.batch, self.sequence)[label]
        return Call(found, label, where, dims, arrays, params or {}, self.state.dtype)

    def _norm_parameters(self, tensors: dict[str, View], number: int) -> tuple[View, View]:
        """Return gain and shift of norm `number` among parameters or gradients."""
        if number == 2 * self.model.layers:
            return tensors["lnfw"], tensors["lnfb"]
        name, layer = f"ln{number % 2 + 1}", number // 2
        return tensors[f"{name}w"].layer(layer), tensors[f"{name}b"].layer(layer)

    def _linear(self, op: str, label: str, layer: int, x: View, **outputs: View) -> Call:
        name = label or "fc"
        weight, bias = (self.state.parameters[name + part].layer(layer) for part in "wb")
        return self._call(op, label, f"layer {layer}", x=x, weight=weight, bias=bias, **outputs)

    def _add_and_norm(self, number: int, branch: View) -> Call:
        weight, bias = self._norm_parameters(self.state.parameters, number)
        before, norm = self.norms[number - 1], self.norms[number]
        where = f"layer {(number - 1) // 2}"
        outputs = {"residual": norm.stream, "y": norm.y, "mean": norm.mean, "rstd": norm.rstd}
        inputs = {"x1": before.stream, "x2": branch, "weight": weight, "bias": bias}
        return self._call("residual_layer_norm", "", where, {"eps": NORM_EPS}, **inputs, **outputs)

    def forward(self) -> list[Call]:
        """Return the calls from tokens to logits."""
        p, first = self.state.parameters, self.norms[0]
        weight, bias = self._norm_parameters(p, 0)
        calls = [
            self._call("embedding", tokens=self.tokens.whole, wte=p["wte"], wpe=p["wpe"], x=self.embedded),
            self._call(
                "layer_norm",
                "",
                "layer 0",
                {"eps": NORM_EPS},
                x=self.embedded,
                weight=weight,
                bias=bias,
                y=first.y,
                mean=first.mean,
                rstd=first.rstd,
            ),
        ]  # fmt: skip (one call, one statement)
        for i in range(self.model.layers):
            attproj, fcproj = (self._new(f"{n} {i}", self.model.channels) for n in ("attproj", "fcproj"))
            calls += [
                self._linear("matmul", "qkv", i, self.norms[2 * i].y, y=self.qkv[i]),
                self._call("attention", "", f"layer {i}", qkv=self.qkv[i], y=self.attended[i], lse=self.lse[i]),
                self._linear("matmul", "attproj", i, self.attended[i], y=attproj),
                self._add_and_norm(2 * i + 1, attproj),
                self._linear("matmul_gelu", "", i, self.norms[2 * i + 1].y, pre=self.pre[i], y=self.hidden[i]),
                self._linear("matmul", "fcproj", i, self.hidden[i], y=fcproj),
                self._add_and_norm(2 * i + 2, fcproj),
            ]
        head = self._call(
            "matmul", "head", "", x=self.norms[-1].y, weight=p["wte"], bias=self.state.head_bias.whole, y=self.logits
        )
        return [*calls, head]

    def evaluate(self) -> list[Call]:
        """Return the calls from logits to losses that leave the logits alone."""
        arrays = {"logits": self.logits, "targets": self.targets.whole, "losses": self.losses.whole}
        return [self._call("cross_entropy", "", "", {"vocab_size": self.model.vocabulary}, **arrays)]

    def backward(self, scale: float, *, accumulate: bool) -> list[Call]:
        """Return the calls from logits to losses and gradients, the logits overwritten by theirs.

        Parameters
        ----------
        scale : float
            Weight of one token's loss in the loss of the step.
        accumulate : bool
            Add to the gradients (a later micro-step) instead of writing them.
        """
        p, d, add = self.state.parameters, self.state.gradients, {"accumulate": accumulate}
        last = len(self.norms) - 1
        dlnf, dlogits = self._new("dlnf", self.model.channels), self.logits
        calls = [
            self._call(
                "cross_entropy_backward",
                "",
                "",
                {"vocab_size": self.model.vocabulary, "scale": scale},
                targets=self.targets.whole,
                losses=self.losses.whole,
                logits=dlogits,
            ),
            self._call("matmul_backward_input", "head", "", dy=dlogits, weight=p["wte"], dx=dlnf),
            self._call("matmul_backward_weight", "head", "", add, dy=dlogits, x=self.norms[-1].y, dweight=d["wte"]),
        ]  # fmt: skip (one call, one statement)
        dstream = self._new("dstream", self.model.channels)
        calls.append(self._norm_backward("layer_norm_backward", last, dlnf, dstream, add))
        for i in reversed(range(self.model.layers)):
            dstream, block = self._block_backward(i, dstream, add)
            calls += block
        calls.append(
            self._call(
                "embedding_backward",
                "",
                "",
                {"accumulate_wte": True, "accumulate_wpe": accumulate},  # the head wrote dwte
                tokens=self.tokens.whole,
                dx=dstream,
                dwte=d["wte"],
                dwpe=d["wpe"],
            )
        )  # fmt: skip (one call, one statement)
        return calls

    def _norm_backward(self, op: str, number: int, dy: View, dx: View, add: dict[str, bool], **dresidual: View) -> Call:
        weight, _ = self._norm_parameters(self.state.parameters, number)
        dweight, dbias = self._norm_parameters(self.state.gradients, number)
        norm = self.norms[number]
        stream = {"residual" if dresidual else "x": norm.stream}
        where = f"layer {number // 2}" if number < len(self.norms) - 1 else ""
        return self._call(
            op,
            "",
            where,
            add,
            dy=dy,
            **dresidual,
            **stream,
            weight=weight,
            mean=norm.mean,
            rstd=norm.rstd,
            dweight=dweight,
            dbias=dbias,
            dx=dx,
        )  # fmt: skip (one call, one statement)

    def _parameters_backward(self, label: str, layer: int, dy: View, x: View, add: dict[str, bool]) -> list[Call]:
        """Return the calls for the gradients of one linear layer's bias and weight."""
        dweight, dbias = (self.state.gradients[label + part].layer(layer) for part in "wb")
        where = f"layer {layer}"
        return [
            self._call("matmul_backward_bias", label, where, add, dy=dy, dbias=dbias),
            self._call("matmul_backward_weight", label, where, add, dy=dy, x=x, dweight=dweight),
        ]

    def _input_backward(self, label: str, layer: int, dy: View, dx: View) -> Call:
        weight = self.state.parameters[f"{label}w"].layer(layer)
        return self._call("matmul_backward_input", label, f"layer {layer}", dy=dy, weight=weight, dx=dx)

    def _block_backward(self, i: int, dafter: View, add: dict[str, bool]) -> tuple[View, list[Call]]:
        """Return the gradient of the stream before block `i`, and the calls that make it from the one behind it."""
        c, where = self.model.channels, f"layer {i}"
        names = {"dpre": 4 * c, "dln2": c, "dmiddle": c, "dattended": c, "dqkv": 3 * c, "dln1": c, "dbefore": c}
        new = {name: self._new(f"{name} {i}", columns) for name, columns in names.items()}
        ln1, ln2 = self.norms[2 * i], self.norms[2 * i + 1]
        fcprojw = self.state.parameters["fcprojw"].layer(i)
        attended = {"qkv": self.qkv[i], "y": self.attended[i], "lse": self.lse[i]}
        return new["dbefore"], [
            *self._parameters_backward("fcproj", i, dafter, self.hidden[i], add),
            self._call("matmul_gelu_backward", "", where, dy=dafter, weight=fcprojw, pre=self.pre[i], dpre=new["dpre"]),
            *self._parameters_backward("fc", i, new["dpre"], ln2.y, add),
            self._input_backward("fc", i, new["dpre"], new["dln2"]),
            self._norm_backward("residual_layer_norm_backward", 2 * i + 1, new["dln2"], new["dmiddle"], add, dresidual=dafter),
            *self._parameters_backward("attproj", i, new["dmiddle"], self.attended[i], add),
            self._input_backward("attproj", i, new["dmiddle"], new["dattended"]),
            self._call("attention_backward", "", where, dy=new["dattended"], **attended, dqkv=new["dqkv"]),
            *self._parameters_backward("qkv", i, new["dqkv"], ln1.y, add),
            self._input_backward("qkv", i, new["dqkv"], new["dln1"]),
            self._norm_backward(
                "residual_layer_norm_backward", 2 * i, new["dln1"], new["dbefore"], add, dresidual=new["dmiddle"]
            ),
        ]

    def measure(self) -> list[Call]:
        """Return the call that makes the norm of all gradients."""
        return [self._call("global_norm", grad=self.state.buffers["gradients"].whole, norm=self.state.norm.whole)]

    def update(self) -> list[Call]:
        """Return one AdamW call per tensor."""
        fixed = {"beta1": BETA1, "beta2": BETA2, "eps": ADAM_EPS}
        state = self.state
        op = self.table.op("adamw_master" if state.master else "adamw")
        calls = []
        for name, tensor in state.parameters.items():
            views = {"grad": state.gradients[name], "param": tensor, "m": state.m[name], "v": state.v[name]}
            if state.master:
                views["master"] = state.master[name]
            arrays = {key: View(view.buffer, (view.size,), view.start) for key, view in views.items()}
            params = {**fixed, "weight_decay": WEIGHT_DECAY if name in DECAYED else 0.0}
            calls.append(Call(op, "", name, {"K": tensor.size}, arrays, params, state.dtype))
        return calls
