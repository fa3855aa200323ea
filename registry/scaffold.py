"""``python -m registry new OP NAME`` and ``new-op NAME`` write the files of a new variant or a new op, without a body.

The test of a new variant fails with a sentence that names the arrays to write.
"""

from __future__ import annotations

import inspect
import keyword
import re
import shlex
import sys
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry.dtypes import DTYPES
from registry.errors import RequestError, UnknownNameError
from registry.op import Op, Role
from registry.paths import ROOT
from registry.variant import BACKENDS

if TYPE_CHECKING:
    from pathlib import Path

    from registry.table import Table

__all__ = ["Scaffold", "new_op", "new_variant"]

LINE = 120  # characters of a line of the legend
LONGEST = 80  # characters of a name: it is part of file names and of columns
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
BUILDS_ON = {"numba": "numba_naive", "cuda": "cuda_naive", "numpy": "numpy"}

VARIANT = '''"""One sentence that says how this variant computes the op.

Builds on: {below}.
Idea: the one idea that this file teaches.
Source: the paper, book or repository that the idea is from.
{legend}
"""

from kernels.{family}.spec import {constant}
from registry import register

# Shapes: {shapes}.
# A suffix names the dims of an array where a function receives it: x_NC.


@register({constant}{options})
def {name}({arguments}):
    raise NotImplementedError("{name} of {op} has no body yet: {task} in {path}")
'''

NUMBA = '''"""One sentence that says how this variant computes the op.

Builds on: {below}.
Idea: the one idea that this file teaches.
Source: the paper, book or repository that the idea is from.
{legend}
"""

from kernels.{family}.spec import {constant}
from kernels.simd import jit
from registry import register

# Shapes: {shapes}.
# A suffix names the dims of an array where a function receives it: x_NC.


@jit
def _{name}({positional}):
    raise NotImplementedError("{name} of {op} has no body yet: {task} in {path}")


@register({constant}{options})
def {name}({arguments}):
    _{name}({positional})
'''

CUDA_PYTHON = '''"""One sentence that says how this variant computes the op.

Builds on: {below}.
Idea: the one idea that this file teaches.
Source: the paper, book or repository that the idea is from.
{legend}
"""

from kernels.cuda import ceil_div
from kernels.{family}.spec import {constant}
from registry import register
from registry.cuda import CudaKernel, launch
{dtypes_import}
# Shapes: {shapes}.
# A suffix names the dims of an array where a function receives it: x_NC.

THREADS = 256
_KERNEL = CudaKernel(__file__, "{kernel}")


@register({constant}{options})
def {name}({arguments}):
    if {first}.size:
        launch(_KERNEL, ceil_div({first}.size, THREADS), THREADS, ({launched}, {first}.size))
'''

CUDA_SOURCE = """{legend_comment}
// Shapes: {shapes}
#include "crucible.cuh"

// floatX is float or bf16. The body is missing: {task}.
extern "C" __global__ void {kernel}({parameters}, long long size) {{
  const long long i = thread_index();
  if (i >= size) return;
}}
"""

SPEC = '''"""One sentence that says what the op computes, with its paper.

Dims: N = rows, C = channels.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from registry import Direction, Elementwise, Op

Array = np.ndarray


def {name}(x: Float[Array, "N C"]) -> Float[Array, "N C"]:
    """Return y, in float64 and obvious on sight."""
    raise NotImplementedError("the reference of {name} has no body yet: write it in kernels/{name}/spec.py")


def _oracle(torch, x):
    """Return y as torch computes it, independently of the reference."""
    raise NotImplementedError("the torch oracle of {name} has no body yet: write it in kernels/{name}/spec.py")


{constant} = Op(
    reference={name},
    outputs=("y",),
    family="{name}",
    direction=Direction.FORWARD,
    oracle=_oracle,
    domain={{"N": range(71), "C": range(1, 301)}},  # the sizes that the battery draws
    error=Elementwise(),  # or Sum(over="C") where C terms are added: docs/numerics.md
    examples={{"rows-4096": {{"N": 256, "C": 4096}}}},  # sizes worth racing, for an op that no model calls
    flops=lambda N, C: N * C,
)
'''


@dataclass(frozen=True)
class Scaffold:
    """The written files, and the next commands.

    Attributes
    ----------
    files : tuple of Path
    commands : tuple of str
        Commands to paste, in order.
    """

    files: tuple[Path, ...]
    commands: tuple[str, ...]


def _checked(name: str, kind: str) -> str:
    if keyword.iskeyword(name) or not NAME.fullmatch(name) or len(name) > LONGEST:
        raise RequestError(f"{kind} {name!r}: write lower-case words joined by '_', such as numba_two_rows")
    return name


def _constant(op: Op) -> str:
    """Return the name under which the spec exports the op."""
    module = sys.modules[op.reference.__module__]
    return next(name for name, value in vars(module).items() if value is op)


def _legend(op: Op) -> str:
    """Return the legend of dims in the docstring of the op's spec, or one to fill in."""
    paragraphs = inspect.cleandoc(sys.modules[op.reference.__module__].__doc__ or "").split("\n\n")
    known = next((" ".join(text.split()) for text in paragraphs if text.startswith("Dims: ")), "")
    return known or f"Dims: {', '.join(f'{dim} = the meaning of {dim}' for dim in op.domain)}."


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def _write(contents: dict[Path, str]) -> tuple[Path, ...]:
    """Write all files, unless one of them exists.

    Raises
    ------
    RequestError
        A file exists, or cannot be written.
    """
    if existing := [path for path in contents if path.exists()]:
        raise RequestError(f"{_shown(existing[0])} exists and is left unchanged; choose another name or delete the file first")
    for path, text in contents.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        except OSError as error:
            raise RequestError(f"cannot write {_shown(path)}: {error.strerror}") from error
    return tuple(contents)


def _cpp(op: Op, dtypes: dict[str, str]) -> str:
    """Return the parameters of a CUDA kernel that takes every array of the op."""
    words = []
    for argument in op.arguments:
        const = "const " if argument.role is Role.INPUT else ""
        words.append(f"{const}{dtypes.get(argument.dtype, 'floatX')}* {argument.name}")
    return ", ".join(words)


def _options(op: Op, backend: str) -> str:
    """Return the option of `register` for the dtypes of the op; float32 alone needs no option."""
    if op.dtypes == DTYPES:
        return ", dtypes=DTYPES" if backend == "cuda" else ""
    return "" if op.dtypes == ("float32",) else f", dtypes={op.dtypes!r}".replace("'", '"')


def new_variant(table: Table, op: str, name: str, folder: Path | None = None) -> Scaffold:
    """Write the file of a new variant, and for CUDA its source file.

    Parameters
    ----------
    table : Table
    op : str
        Name of the op.
    name : str
        ``<backend>_<idea>``.
    folder : Path, optional
        A folder of variants outside the project. Default: the op's folder under ``kernels/``.

    Raises
    ------
    RequestError
        The name has a wrong form, the variant exists, or a file cannot be written.
    UnknownNameError
        The op or the backend does not exist; the message offers the nearest name.
    """
    contract, backend = table.op(op), _checked(name, "variant").partition("_")[0]
    if backend not in BACKENDS or backend == name:
        raise UnknownNameError("backend at the start of a variant's name", name, [f"{known}_{name}" for known in BACKENDS])
    if name in table.variants[op]:
        raise RequestError(f"variant {name!r} of {op} exists: {table.variant(op, name).path}; choose another name")
    suffix = contract.name.removeprefix(contract.family).removeprefix("_")
    home = folder if folder is not None else ROOT / "kernels" / contract.family / suffix
    path = home / f"{name}.py"
    arrays = [a.name for a in contract.arguments]
    outputs = [a.name for a in contract.arguments if a.role is not Role.INPUT]
    words = {
        "name": name, "op": op, "family": contract.family, "constant": _constant(contract), "path": _shown(path),
        "below": BUILDS_ON[backend] if BUILDS_ON[backend] in table.variants[op] else "numpy",
        "shapes": ", ".join(f"{a.name} ({a.dims.replace(' ', ', ')})" for a in contract.arguments),
        "arguments": ", ".join([*arrays, "*", *contract.params] if contract.params else arrays),
        "positional": ", ".join([*arrays, *contract.params]),
        "task": f"write {', '.join(outputs)}", "first": outputs[0], "kernel": f"{op}_{name.removeprefix('cuda_')}",
        "launched": ", ".join(arrays), "options": _options(contract, backend),
        "dtypes_import": "from registry.dtypes import DTYPES\n" if contract.dtypes == DTYPES else "",
        "legend": textwrap.fill(_legend(contract), LINE, subsequent_indent="    "),
        "legend_comment": textwrap.fill(_legend(contract), LINE, initial_indent="// ", subsequent_indent="// "),
        "parameters": _cpp(contract, {"int32": "int", "float32": "float"}),
    }  # fmt: skip
    contents = {path: {"numba": NUMBA, "cuda": CUDA_PYTHON}.get(backend, VARIANT).format(**words)}
    if backend == "cuda":
        words["task"] += ", and pass the parameters " + ", ".join(contract.params) if contract.params else ""
        contents[path.with_suffix(".cu")] = CUDA_SOURCE.format(**words)
    selected = ["--op", op, "--variant", name, *([] if folder is None else [f"--kernels-path={folder}"])]
    steps = [["pytest", *selected], ["python", "-m", "harness.verify", *selected]]
    if backend == "cuda":
        steps.append(["python", "-m", "harness.inspect", *selected])
    else:
        steps.append(["python", "-m", "harness.bench", *selected])
    return Scaffold(_write(contents), tuple(map(shlex.join, steps)))


def new_op(table: Table, name: str) -> Scaffold:
    """Write the folder of a new family: its ``__init__.py`` and its spec.

    Raises
    ------
    RequestError
        The name has a wrong form, an op has the name already, or a file cannot be written.
    """
    if _checked(name, "op") in table.ops:
        raise RequestError(f"op {name!r} exists; add a variant with: python -m registry new {name} numba_mine")
    folder = ROOT / "kernels" / name
    words = {"name": name, "constant": name.upper()}
    init = f'"""{name.replace("_", " ").capitalize()}."""\n'
    files = _write({folder / "__init__.py": init, folder / "spec.py": SPEC.format(**words)})
    return Scaffold(files, (f"python -m registry new {name} numba_naive", f"pytest --op {name}"))
