"""Model families, written as calls of ops. A training step is recorded once, and the other rooms read the recorded calls.

Dims: B batch, T time.
"""

from __future__ import annotations

from models.gpt2 import MODELS as GPT2_MODELS
from models.model import Model, Recipe
from registry.errors import UnknownNameError

__all__ = ["MODELS", "Model", "Recipe", "find"]

# A new family adds its models here.
MODELS: dict[str, Model] = {model.name: model for model in (*GPT2_MODELS,)}


def find(name: str) -> Model:
    """Return the model called `name`.

    Raises
    ------
    UnknownNameError
        The model does not exist; the message offers the nearest name.
    """
    if name not in MODELS:
        raise UnknownNameError("model", name, MODELS)
    return MODELS[name]
