"""Base classes of the records. A record checks its fields when it is built, so that no record contradicts itself."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

from registry.enums import Device, Status
from registry.errors import CrucibleError, nearest
from registry.fingerprint import contract_hash, source_hash
from registry.machine import machine_key, versions
from registry.record_schema import SCHEMA, present_form, require_known_schema

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registry.variant import Variant

__all__ = ["Record", "RecordPart", "VariantRecord", "now"]

KINDS = {"str": str, "int": int, "float": int | float, "bool": bool, "list": list, "dict": dict}
ENUMS = {"Device": Device, "Status": Status}
COUNTS = {"dims", "problems", "threads"}  # fields that are never negative; so are all fields of type float


def now() -> str:
    """Return the time in UTC, to the second."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


@dataclass(frozen=True, kw_only=True)
class RecordPart:
    """Base class of the records and of their parts. Reading ignores unknown fields, and new fields have defaults.

    Attributes
    ----------
    STATUSES : frozenset of Status
        The statuses that this kind allows.
    """

    STATUSES: ClassVar[frozenset[Status]] = frozenset(Status)

    def __post_init__(self) -> None:
        for one in dataclasses.fields(self):
            value, kind = getattr(self, one.name), str(one.type).partition("[")[0]
            if kind in ENUMS:
                self._make_member(one.name, value)
            elif kind in KINDS:
                is_kind = isinstance(value, KINDS[kind]) and (kind == "bool" or not isinstance(value, bool))
                self.require(one.name, f"a value of type {kind}", holds=is_kind)
            if kind == "float":
                self.require(one.name, "a finite number from 0 up", holds=math.isfinite(value) and value >= 0)
            if kind == "int" and one.name in COUNTS:
                self.require(one.name, "a whole number from 0 up", holds=value >= 0)
            if one.name == "dims":
                counts = all(isinstance(size, int) and size >= 0 for size in value.values())
                self.require(one.name, "whole numbers from 0 up", holds=counts)

    def _make_member(self, name: str, value: object) -> None:
        """Replace the word in a field, as JSON holds it, by the member of the field's enum."""
        allowed = self.STATUSES if name == "status" else frozenset(Device)
        words = sorted(allowed)
        if value not in words:
            guess = nearest(str(value), words)
            self.require(name, ", ".join(words) + (f"; did you mean {guess!r}?" if guess else ""), holds=False)
        object.__setattr__(self, name, next(member for member in allowed if member == value))

    def require(self, name: str, allowed: str, *, holds: bool) -> None:
        """Check the value of one field.

        Raises
        ------
        CrucibleError
            The condition does not hold; the message names the field, its value, and the allowed values.
        """
        if not holds:
            value = getattr(self, name)
            shown = repr(str(value)) if isinstance(value, str) else repr(value)
            raise CrucibleError(f"{self._name()}: {name} is {shown}; allowed: {allowed}")

    def _name(self) -> str:
        """Return the kind of the record, and the op and variant that it is about."""
        about = "/".join(str(getattr(self, name)) for name in ("op", "variant") if hasattr(self, name))
        return f"{type(self).__name__.lower()} {about}".strip()

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Build a part from parsed JSON. Unknown keys are ignored."""
        known = {f.name for f in dataclasses.fields(cls)}
        return cls(**{k: v for k, v in present_form(data).items() if k in known})

    def to_json(self) -> dict[str, Any]:
        """Return the part as plain data for JSON."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, kw_only=True)
class Record(RecordPart):
    """Base class of the records: each is one line of a file, or one champion of a document.

    Attributes
    ----------
    schema : int
        The schema number of the fields. A record that was read from an older line has the present fields and number.
    """

    schema: int = SCHEMA

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Build a record from a parsed line of any schema up to the present one. Unknown keys are ignored."""
        require_known_schema(data)
        return super().from_json({**cls.with_parts(data), "schema": SCHEMA})

    @classmethod
    def with_parts(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return a parsed line in which records replace the JSON of its parts, if this kind has any."""
        return dict(data)


@dataclass(frozen=True, kw_only=True)
class VariantRecord(Record):
    """Base class of the records about the sources of one variant on one machine.

    Attributes
    ----------
    source, contract : str
        Hashes of the variant's sources and of the op's contract. The record is fresh while neither changes.
    gate : str
        The gate that rejected the variant; "" if the status is ``passed``.
    worst_over_tolerance : float
        Largest error divided by its tolerance, or an upper bound; at most 1 if the status is ``passed``.
    """

    op: str
    variant: str
    source: str
    contract: str
    status: Status
    gate: str = ""
    device: Device = Device.CPU
    worst_over_tolerance: float = 0.0
    seconds: float = 0.0
    reproduce: str = ""
    machine: str = field(default_factory=machine_key)
    versions: dict[str, str] = field(default_factory=versions)
    created: str = field(default_factory=now)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.status == Status.PASSED:
            self.require("gate", "'' where the status is 'passed'", holds=not self.gate)
            within = self.worst_over_tolerance <= 1
            self.require("worst_over_tolerance", "at most 1 where the status is 'passed'", holds=within)

    def is_fresh(self, variant: Variant) -> bool:
        """Whether this is about the present sources of `variant`, on this machine with these libraries."""
        return (self.op, self.variant) == (variant.op.name, variant.name) and self.matches(
            source_hash(variant), contract_hash(variant.op)
        )

    def matches(self, source: str, contract: str) -> bool:
        """Whether this is about sources and a contract with these hashes, on this machine with these libraries."""
        return (
            self.source == source
            and self.contract == contract
            and self.machine == machine_key(self.device)
            and self.versions == versions(self.device)
        )
