"""The schema number of stored records, and the one reader of the words that earlier versions of Crucible wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from registry.enums import Device
from registry.errors import CrucibleError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SCHEMA", "UPGRADE", "NewerSchemaError", "present_form", "require_known_schema"]

SCHEMA = 2  # schema 1 has the words on the left; its first lines have no number
RENAMED = {"mutation_score": "fakes_rejected", "worst_over_budget": "worst_over_tolerance", "yardstick": "baseline"}
RENAMED_DEVICES = {"host": Device.CPU}

UPGRADE = "upgrade Crucible (git pull), or choose another folder of records with --results"


class NewerSchemaError(CrucibleError):
    """A record was written by a later version of Crucible."""


def present_form(line: Mapping[str, Any]) -> dict[str, Any]:
    """Return a parsed line, or a part of it, with the present names of its fields and of its device."""
    present = {RENAMED.get(name, name): value for name, value in line.items()}
    if present.get("device") in RENAMED_DEVICES:
        present["device"] = RENAMED_DEVICES[present["device"]]
    return present


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
        raise NewerSchemaError(
            f"schema {schema} was written by a later version of Crucible; this version reads schemas 1 to {SCHEMA}"
        )
