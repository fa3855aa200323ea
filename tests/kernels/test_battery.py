"""The battery for every variant that this machine can run, generated from the registry: a new variant needs no new test."""

import pytest

from harness.proof.battery import prove
from registry.paths import ROOT
from registry.table import Unloadable


def test_battery(variant_under_test, worker, helpers, plan, reference_cache):
    if isinstance(variant_under_test, Unloadable):
        pytest.fail(str(variant_under_test), pytrace=False)
    proof = prove(variant_under_test, worker, plan, reference_cache, helpers=helpers)
    if proof.status == "refused":
        pytest.skip(proof.message)
    if not proof.passed:
        pytest.fail(str(proof), pytrace=False)
    # Problems that cannot tell a right kernel from a wrong one prove nothing.
    assert proof.tally.survivors == []


def test_every_variant_file_loads(table):
    ours = [u for u in table.unloadable if u.path.is_relative_to(ROOT / "kernels")]
    assert [f"{u.path.relative_to(ROOT)}: {u.reason}" for u in ours] == []
