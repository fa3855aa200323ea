"""The contract between the rooms: ops, variants, problems, the table that discovery fills, records, errors."""

from registry.error_law import Elementwise, Exact, Sum
from registry.errors import ContractError, CrucibleError, EvidenceError, RequestError, UnknownNameError
from registry.op import Argument, Direction, Op, Role
from registry.problem import Problem
from registry.table import Table, discover
from registry.variant import Variant, register

__all__ = [
    "Argument",
    "ContractError",
    "CrucibleError",
    "Direction",
    "Elementwise",
    "EvidenceError",
    "Exact",
    "Op",
    "Problem",
    "RequestError",
    "Role",
    "Sum",
    "Table",
    "UnknownNameError",
    "Variant",
    "discover",
    "register",
]
