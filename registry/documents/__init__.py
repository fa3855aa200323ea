"""The documents that commands print with ``--json``: their fields, and the meaning of each field.

``python -m harness.pages`` writes docs/json.md from these declarations. A test compares real documents of every command with
them. Every document also has the fields of `Common`.
"""

from __future__ import annotations

from registry.documents.basic import Common, Failed, Listing, Pages, Scaffolded
from registry.documents.proofs import ComparedCalls, Inspected, Mutated, Proofs
from registry.documents.races import Checked, Compared, Explained, GpuChecked, Leaderboard, Races
from registry.documents.training import Equality, Planned, StepTimes, Trained

__all__ = ["DOCUMENTS", "Common", "Failed"]

# By command, with the option or sub-command that changes the document.
DOCUMENTS: dict[str, type] = {
    "registry": Listing,
    "registry new": Scaffolded,
    "registry new-op": Scaffolded,
    "harness.verify": Proofs,
    "harness.bench": Races,
    "harness.bench --compare": Compared,
    "harness.leaderboard": Leaderboard,
    "harness.leaderboard --check": Checked,
    "harness.explain": Explained,
    "harness.inspect": Inspected,
    "harness.mutate": Mutated,
    "harness.check_shapes": ComparedCalls,
    "harness.gpu_check": GpuChecked,
    "harness.pages": Pages,
    "trainer.run": Trained,
    "trainer.run --plan": Planned,
    "benchmarks.step": StepTimes,
    "benchmarks.equality_124m": Equality,
}
