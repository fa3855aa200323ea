"""The schema number of stored records, and the one reader of the names that earlier versions of Crucible wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from registry.errors import CrucibleError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SCHEMA", "UPGRADE", "NewerSchemaError", "present_names", "require_known_schema"]

SCHEMA = 2  # schema 1 has the field names in `RENAMED`; its first lines have no number
RENAMED = {"mutation_score": "fakes_rejected", "worst_over_budget": "worst_over_tolerance", "yardstick": "baseline"}

UPGRADE = "upgrade Crucible (git pull), or choose another folder of records with --results"


class NewerSchemaError(CrucibleError):
    """A record was written by a later version of Crucible."""


def present_names(line: Mapping[str, Any]) -> dict[str, Any]:
    """Return a parsed line, or a part of it, with the present names of its fields."""
    return {RENAMED.get(name, name): value for name, value in line.items()}


def require_known_schema(line: Mapping[str, Any]) -> None:
    """Check the schema number of a parsed line.

    Raises
    ------
    NewerSchemaError
        The number is higher than `SCHEMA`.
    CrucibleError
        The value is no positive whole number.
    """
    schema = line.get("schema", 1)
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise CrucibleError(f"schema {schema!r} is no whole number from 1 to {SCHEMA}")
    if schema > SCHEMA:
        raise NewerSchemaError(f"schema {schema} was written by a later version, this version reads 1 to {SCHEMA}")
