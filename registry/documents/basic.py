"""The fields of every document, errors, and the documents about files: variants, new files and pages."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypedDict

__all__ = [
    "ArgumentFields",
    "Common",
    "ErrorFields",
    "Failed",
    "ListedOp",
    "ListedVariant",
    "Listing",
    "PageFields",
    "Pages",
    "Scaffolded",
    "UnloadableFields",
]


class Common(TypedDict):
    """The fields of every document, added by `registry.output`."""

    schema: Annotated[int, "the version of all documents: 1. A field that is removed or changes its meaning makes it 2"]
    command: Annotated[str, "the module of the command, such as `harness.verify`"]
    exit_code: Annotated[int, "the exit code of the command"]


class ErrorFields(TypedDict):
    """The error that ended a command."""

    kind: Annotated[Literal["request", "evidence", "failed", "busy", "interrupted", "internal"], "see the table of kinds"]
    message: Annotated[str, "one line: the value, the allowed values and the nearest name"]
    nearest: Annotated[list[str], "known names close to an unknown name, the closest first"]
    command: Annotated[
        str | None, "a command to paste: the corrected command, one that makes missing records, or the same one for later"
    ]


class Failed(TypedDict):
    """The document of a command that ended with an error."""

    error: Annotated[ErrorFields, "the error"]


class ArgumentFields(TypedDict):
    """One array of an op, in the order in which a variant receives them."""

    name: Annotated[str, "the name of the parameter"]
    role: Annotated[str, "`input`, `output` (write all of it) or `inout` (add to it, or overwrite it in place)"]
    dims: Annotated[str, "the names of its dims, such as `N C`; `` for a scalar"]
    dtype: Annotated[str, "`float` for the dtype of the problem, else the fixed dtype"]


class ListedVariant(TypedDict):
    """One variant of an op, or one file that could not be loaded."""

    variant: Annotated[str, "the name"]
    backend: Annotated[str, "the first word of the name: `numpy`, `numba` or `cuda`"]
    device: Annotated[str, "`cpu` or `cuda`; `` if the file could not be loaded"]
    path: Annotated[str, "the file"]
    available: Annotated[bool, "whether the file could be loaded"]
    reason: Annotated[str, "the reason why it could not be loaded"]
    source: Annotated[str, "the hash of its sources; `` if the file could not be loaded"]


class ListedOp(TypedDict):
    """One op, its contract and its variants."""

    op: Annotated[str, "the name"]
    summary: Annotated[str, "the outputs, by the docstring of the reference"]
    family: Annotated[str, "its family: the folder in `kernels/`"]
    direction: Annotated[str, "`forward`, `backward` or `update`"]
    spec: Annotated[str, "the file of the contract, with the numpy reference"]
    arguments: Annotated[list[ArgumentFields], "the arrays that a variant receives by position"]
    params: Annotated[dict[str, Any], "the parameters that a variant receives by keyword: the values of the battery, or a dim"]
    dtypes: Annotated[list[str], "the dtypes of the problems"]
    variants: Annotated[list[ListedVariant], "its variants"]


class UnloadableFields(TypedDict):
    """One file that could not be loaded."""

    path: Annotated[str, "the file"]
    op: Annotated[str, "its op; `` if unknown"]
    variant: Annotated[str, "the name of the variant, or of the file"]
    reason: Annotated[str, "the reason, in one line"]


class Listing(TypedDict):
    """The ops, their contracts and their variants."""

    ops: Annotated[list[ListedOp], "the selected ops"]
    unloadable: Annotated[list[UnloadableFields], "the files that could not be loaded"]


class Scaffolded(TypedDict):
    """The files that were written, and the commands to type next."""

    files: Annotated[list[str], "the written files"]
    next: Annotated[list[str], "the next commands, in order"]


class PageFields(TypedDict):
    """One generated page."""

    path: Annotated[str, "the file"]
    changed: Annotated[bool, "whether the generated text differed from the file"]


class Pages(TypedDict):
    """The generated pages, and whether the board adds up to a measured step."""

    pages: Annotated[list[PageFields], "one entry for each page"]
    sum: Annotated[str, "the sum of the races of a step beside the measured step, in words"]
