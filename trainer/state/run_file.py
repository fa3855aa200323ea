"""``settings.toml``: all that was requested of a run, defaults included, and the kernels that it trains with.

The file lets ``--resume`` continue a run without its command line, and lets a reader see later how a model was trained.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tomli_w

from registry.errors import RequestError
from trainer.data.token_files import write_atomically
from trainer.settings import OPTION_TYPES, OPTIONAL_TYPES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["FILE", "RunFile"]

FILE = "settings.toml"
SCHEMA = 1


@dataclass(frozen=True)
class RunFile:
    """The contents of ``settings.toml``.

    Attributes
    ----------
    settings : dict
        Value by option, with underscores, such as ``learning_rate``.
    kernels : dict of str to str
        Variant by ``op`` or ``op/label``, as ``--kernels`` accepts them.
    sources : dict of str to str
        Hash of the sources of each variant, by ``op/variant``. A resumed run compares them.
    """

    settings: Mapping[str, Any]
    kernels: Mapping[str, str]
    sources: Mapping[str, str]

    def write(self, folder: Path) -> None:
        """Write the file atomically.

        Raises
        ------
        CrucibleError
            The file cannot be written.
        """
        document = {
            "schema": SCHEMA,
            "settings": {name: value for name, value in self.settings.items() if value is not None},
            "kernels": dict(self.kernels),
            "sources": dict(self.sources),
        }
        with write_atomically(folder / FILE) as draft:
            draft.write_text(tomli_w.dumps(document))

    @classmethod
    def read(cls, folder: Path) -> RunFile:
        """Return the contents of the file in `folder`.

        Raises
        ------
        RequestError
            The file is missing or damaged, or a later version wrote it.
        """
        path = folder / FILE
        try:
            document = tomllib.loads(path.read_text())
        except OSError as error:
            raise RequestError(f"cannot resume from {str(folder)!r}: {error.strerror}: {FILE}") from error
        except ValueError as error:  # not TOML, or not UTF-8
            raise RequestError(f"{str(path)!r} is damaged: {error}") from error
        schema = document.get("schema")
        if isinstance(schema, int) and schema > SCHEMA:
            raise RequestError(
                f"{str(path)!r} was written by a later version of Crucible; this one reads up to schema {SCHEMA}"
            )
        tables: list[Any] = [document.get(name) for name in ("settings", "kernels", "sources")]
        if schema != SCHEMA or not all(isinstance(table, dict) for table in tables):
            raise RequestError(
                f"{str(path)!r} is damaged: it needs schema = {SCHEMA} and the tables settings, kernels, sources"
            )
        for name, types in {**OPTION_TYPES, **OPTIONAL_TYPES}.items():
            value = tables[0].get(name)
            absent = value is None and name in OPTIONAL_TYPES
            if not absent and (
                type(value) not in types or (type(value) is list and not all(isinstance(v, str) for v in value))
            ):
                raise RequestError(f"{str(path)!r} is damaged: {name} is {value!r}, expected {types[0].__name__}")
        if later := tables[0].keys() - OPTION_TYPES.keys() - OPTIONAL_TYPES.keys():
            raise RequestError(
                f"{str(path)!r} holds options that this version of Crucible does not know: {', '.join(sorted(later))}"
            )
        return cls(*tables)
