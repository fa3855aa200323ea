"""Save and load a model: ``model.safetensors`` with llm.c's sixteen tensors and metadata of the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from registry.errors import RequestError
from trainer.data.token_files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from models.model import Model

__all__ = ["FILE", "load", "save", "saved_in"]

FILE = "model.safetensors"
FORMAT = "1"


def saved_in(folder: Path) -> list[Path]:
    """Return the model files in `folder`, also the files of other programs."""
    return sorted(folder.glob(f"*{Path(FILE).suffix}"))


def save(folder: Path, model: Model, tensors: Mapping[str, NDArray[np.float32]], metadata: Mapping[str, Any]) -> Path:
    """Write ``model.safetensors`` into `folder` atomically and return its path.

    Parameters
    ----------
    tensors : mapping of str to array
        Contiguous arrays, which are written without a copy.
    metadata : mapping
        Data for JSON. `load` returns it.

    Raises
    ------
    CrucibleError
        The file cannot be written. An older file stays unchanged.
    """
    path = folder / FILE
    about = {"format": FORMAT, "model": json.dumps(model.describe()), "metadata": json.dumps(dict(metadata))}
    for name, tensor in tensors.items():
        if not tensor.flags.c_contiguous:
            raise ValueError(f"tensor {name!r} is not contiguous")
    with write_atomically(path) as draft:
        try:
            save_file(dict(tensors), draft, about)
        except SafetensorError as error:
            raise OSError(str(error)) from error
    return path


def load(folder: Path, tensors: Mapping[str, NDArray[np.float32]]) -> dict[str, Any]:
    """Fill `tensors` in place from ``folder/model.safetensors`` and return the metadata.

    No tensor changes unless all names, shapes and dtypes agree.

    Raises
    ------
    RequestError
        The file does not exist, is not a safetensors file, or holds another model.
    """
    path = folder / FILE
    if not path.is_file():
        raise RequestError(f"there is no model {str(path)!r}")
    try:
        with safe_open(path, framework="numpy") as file:
            about = file.metadata() or {}
            _check(path, about, {name: file.get_slice(name) for name in file.keys()}, tensors)  # noqa: SIM118 (safe_open is not a mapping)
            for name, tensor in tensors.items():
                tensor[...] = file.get_tensor(name)
    except SafetensorError as error:
        raise RequestError(f"{str(path)!r} is damaged or not a safetensors file: {error}") from error
    except OSError as error:
        raise RequestError(f"cannot read {str(path)!r}: {error.strerror or error}") from error
    return dict(json.loads(about.get("metadata", "{}")))


def _check(path: Path, about: Mapping[str, str], stored: Mapping[str, Any], tensors: Mapping[str, NDArray[np.float32]]) -> None:
    model = json.loads(about.get("model", "{}")).get("name", "a model of another program")
    for kind, names in (("lacks", tensors.keys() - stored.keys()), ("also has", stored.keys() - tensors.keys())):
        if names:
            raise RequestError(f"{str(path)!r} holds {model}: it {kind} the tensors {', '.join(sorted(names))}")
    for name, tensor in tensors.items():
        shape, dtype = tuple(stored[name].get_shape()), stored[name].get_dtype()
        if shape != tensor.shape:
            raise RequestError(f"{str(path)!r} holds {model}: {name} has shape {shape}, this model's is {tensor.shape}")
        if dtype != "F32":
            raise RequestError(f"{str(path)!r} holds {model}: {name} is stored as {dtype}, expected F32")
