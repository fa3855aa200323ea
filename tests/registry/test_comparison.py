"""Comparisons at the shapes of a training run are stored, read back, and fresh until their sources change."""

import dataclasses

import pytest

from registry.comparison import Comparison
from registry.fingerprint import contract_hash, source_hash
from registry.records import Store
from registry.table import discover

VARIANT = discover().variant("layer_norm", "numba_rows")


def record(**fields):
    """Return a comparison of `VARIANT`."""
    known = {
        "op": "layer_norm",
        "variant": VARIANT.name,
        "source": source_hash(VARIANT),
        "contract": contract_hash(VARIANT.op),
        "dims": {"N": 256, "C": 768},
        "params": {"eps": 1e-5},
        "status": "passed",
    }
    return Comparison(**{**known, **fields})


def test_a_record_is_read_back_unchanged(tmp_path):
    store = Store(tmp_path)
    store.add_comparisons(record(), record(status="failed", params={"eps": 0.1 + 0.2}))
    found = Store(tmp_path).comparisons()
    assert found == [
        record(created=found[0].created),
        record(status="failed", params={"eps": 0.1 + 0.2}, created=found[1].created),
    ]
    assert Store(tmp_path / "empty").comparisons() == []


def test_a_line_with_a_field_of_a_later_version_is_read():
    assert Comparison.from_json({**record().to_json(), "later": 1}).key == record().key


def test_the_key_differs_between_calls_and_depends_on_nothing_else():
    changes = [
        {"dims": {"N": 255, "C": 768}},
        {"params": {"eps": 1e-6}},
        {"dtype": "bfloat16"},
        {"threads": 7},
        {"variant": "numba_a"},
    ]
    keys = {record(**change).key for change in [{}, *changes]}
    assert len(keys) == len(changes) + 1
    assert record(dims={"C": 768, "N": 256}, seconds=3.0, status="failed").key == record().key


@pytest.mark.parametrize(
    "change",
    [{"source": "0" * 16}, {"contract": "0" * 16}, {"machine": "another"}, {"versions": {}}, {"variant": "numba_other"}],
    ids=lambda change: next(iter(change)),
)
def test_a_record_about_something_else_is_not_fresh(change):
    assert record().is_fresh(VARIANT)
    assert not dataclasses.replace(record(), **change).is_fresh(VARIANT)


@pytest.mark.parametrize(
    ("status", "failed"), [("passed", False), ("not_compared", False), ("failed", True), ("crashed", True), ("race", True)]
)
def test_only_a_wrong_variant_has_failed(status, failed):
    assert record(status=status).is_failed is failed
