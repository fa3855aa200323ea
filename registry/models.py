"""The GPT-2 family as shapes: what workloads are named after and what the trainer builds."""

from __future__ import annotations

import re
from dataclasses import dataclass

from registry.errors import RequestError, UnknownNameError

__all__ = ["MODELS", "ModelShape", "find_model"]

GPT2_VOCABULARY, GPT2_PADDED_VOCABULARY = 50257, 50304


@dataclass(frozen=True)
class ModelShape:
    """The sizes of one GPT-2 model.

    Attributes
    ----------
    layers, channels, heads : int
        Transformer blocks, C, and H; the head size D is ``channels // heads``.
    context : int
        Longest sequence (rows of the position embedding).
    vocabulary, padded_vocabulary : int
        V token ids in use, and the rows of the token embedding (a multiple of 128).
    """

    name: str
    layers: int
    channels: int
    heads: int
    context: int = 1024
    vocabulary: int = GPT2_VOCABULARY
    padded_vocabulary: int = GPT2_PADDED_VOCABULARY

    @property
    def head_size(self) -> int:
        """Channels of one attention head."""
        return self.channels // self.heads


MODELS = {
    shape.name: shape
    for shape in (
        ModelShape("gpt2-nano", 2, 64, 2, context=64),
        ModelShape("gpt2-micro", 4, 128, 4, context=128),
        ModelShape("gpt2-124m", 12, 768, 12),
        ModelShape("gpt2-355m", 24, 1024, 16),
        ModelShape("gpt2-774m", 36, 1280, 20),
        ModelShape("gpt2-1558m", 48, 1600, 25),
        # llm.c's depth descriptors (train_gpt2.cu, gpt2_set_hyperparameters).
        ModelShape("d6", 6, 384, 6),
        ModelShape("d12", 12, 768, 12),
        ModelShape("d24", 24, 1024, 16),
        ModelShape("d36", 36, 1280, 20),
        ModelShape("d48", 48, 1600, 25),
        ModelShape("d60", 60, 1920, 30),
    )
}

_WORKLOAD = re.compile(r"^(?P<model>.+)-b(?P<batch>[1-9]\d*)-t(?P<sequence>[1-9]\d*)$")


def find_model(name: str) -> ModelShape:
    """Return the model called `name`.

    Raises
    ------
    UnknownNameError
        No such model; the nearest name is offered.
    """
    if name not in MODELS:
        raise UnknownNameError("model", name, MODELS)
    return MODELS[name]


def parse_workload(name: str) -> tuple[ModelShape, int, int]:
    """Split ``gpt2-124m-b4-t64`` into the model, the batch B and the sequence length T.

    Raises
    ------
    RequestError
        The name has another form, or T is longer than the model's context.
    """
    match = _WORKLOAD.match(name)
    if match is None:
        raise RequestError(f"unknown workload {name!r}: write MODEL-bBATCH-tSEQUENCE, such as gpt2-124m-b4-t64")
    model = find_model(match["model"])
    sequence = int(match["sequence"])
    if sequence > model.context:
        raise RequestError(f"workload {name!r}: sequence {sequence} is longer than {model.name}'s context {model.context}")
    return model, int(match["batch"]), sequence


def workload_name(model: ModelShape, batch: int, sequence: int) -> str:
    """Return the workload name of a training shape."""
    return f"{model.name}-b{batch}-t{sequence}"
