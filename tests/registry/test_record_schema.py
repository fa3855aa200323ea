"""Lines of records that earlier versions wrote are read with the present names; lines of later versions are refused."""

import json

import pytest

from registry import CrucibleError
from registry.enums import Device
from registry.record_schema import SCHEMA
from registry.records import Store

# Lines as the first schema stored them.
EVIDENCE = (
    '{"contract": "c567c3df2b9c2983", "created": "2026-11-22T09:58:03+00:00", "device": "host", "gate": "", "machine": "m", '
    '"mutation_score": 1.0, "op": "adamw", "problems": 41, "profile": "dev", "reproduce": "python -m harness.verify --op adamw '
    '--variant numpy --profile dev", "seconds": 7.221, "seed": 0, "source": "c567c3df2b9c2983", "status": "passed", '
    '"variant": "numpy", "versions": {"numpy": "2.4.6"}, "worst_over_budget": 0.3128124073139598}'
)
RUN = (
    '{"commit": "0f09e82-dirty", "controls": {"a_a": 1.03}, "created": "2026-11-22T10:23:11+00:00", "device": "host", '
    '"dims": {"K": 64}, "dtype": "float32", "machine": "m", "op": "adamw", "params": {"step": 1}, "protocol": "cpu-warm", '
    '"roofline": {"floor_ms": 63.4}, "rows": [{"note": "", "samples_ms": [64.1, 70.7], "source": "fee787ae26ef426d", "status": '
    '"passed", "variant": "numba_flat", "yardstick": false}, {"note": "one call would take about 3.4 s", "samples_ms": [], '
    '"source": "c567c3df2b9c2983", "status": "slow", "variant": "numpy", "yardstick": true}], "threads": 2, "versions": {}, '
    '"workload": "gpt2-124m-b4-t64"}'
)
COMPARISON = (
    '{"compared": "512 of 512", "contract": "1", "created": "2026-12-01T10:00:00+00:00", "device": "host", "dims": {"K": 64}, '
    '"dtype": "float32", "gate": "", "machine": "m", "message": "", "op": "adamw", "params": {"step": 1}, "reproduce": "", '
    '"schema": 1, "seconds": 0.1, "source": "1", "status": "passed", "threads": 2, "variant": "numpy", "versions": {}, '
    '"worst_over_budget": 0.25}'
)
CHAMPION = (
    '{"device": "host", "dims": {"K": 64}, "dtype": "float32", "median_ms": 68.7, "op": "adamw", "protocol": "cpu-warm", '
    '"ratio": 1.1, "ratio_high": 1.14, "ratio_low": 1.07, "reason": "fastest of 3 proven variants", "runner_up": '
    '"numba_naive", "source": "9cf0f972cc1fb7c9", "threads": 2, "variant": "numba_flat", "workload": "gpt2-124m-b4-t64"}'
)
FILES = {"evidence.jsonl": EVIDENCE, "runs.jsonl": RUN, "comparisons.jsonl": COMPARISON}
READ = {"evidence.jsonl": Store.evidence, "runs.jsonl": Store.runs, "comparisons.jsonl": Store.comparisons}


@pytest.fixture
def store(tmp_path):
    """Return a store with one line of the first schema in each of its files."""
    store = Store(tmp_path, "m")
    store.folder.mkdir()
    for name, line in FILES.items():
        (store.folder / name).write_text(line + "\n")
    (store.folder / "champions.json").write_text(f"[{CHAMPION}]")
    return store


def test_lines_of_the_first_schema_are_read_with_the_present_names(store):
    [evidence], [run], [comparison] = store.evidence(), store.runs(), store.comparisons()
    assert (evidence.fakes_rejected, evidence.worst_over_tolerance, evidence.problems) == (1.0, 0.3128124073139598, 41)
    assert [(row.variant, row.baseline) for row in run.rows] == [("numba_flat", False), ("numpy", True)]
    assert comparison.worst_over_tolerance == 0.25
    [champion] = store.champions()
    assert champion.runner_up == "numba_naive"
    for record in (evidence, run, comparison, champion):
        assert (record.schema, record.device) == (SCHEMA, Device.CPU)


def test_a_record_is_stored_with_its_schema_number_and_the_present_names(store):
    [evidence] = store.evidence()
    store.add_evidence(evidence)
    first, second = map(json.loads, (store.folder / "evidence.jsonl").read_text().splitlines())
    assert first == json.loads(EVIDENCE)  # the old line is left as it was
    assert (second["schema"], second["fakes_rejected"], second["device"]) == (SCHEMA, 1.0, "cpu")
    assert not {"mutation_score", "worst_over_budget"} & second.keys()
    assert store.evidence() == [evidence, evidence]
    [champion] = store.champions()
    store.write_champions([champion])
    assert json.loads((store.folder / "champions.json").read_text())[0]["schema"] == SCHEMA
    assert store.champions() == [champion]


@pytest.mark.parametrize("name", FILES)
def test_a_line_of_a_later_schema_is_refused_with_its_place_and_the_way_out(store, name):
    path = store.folder / name
    with path.open("a") as file:
        file.write(json.dumps({"schema": SCHEMA + 1, "unknown": "fields"}) + "\n")
    with pytest.raises(CrucibleError) as refusal:
        READ[name](store)
    message = str(refusal.value)
    assert message.startswith(f"{path}:2: schema {SCHEMA + 1} was written by a later version")
    assert "upgrade Crucible" in message
    assert "\n" not in message


def test_champions_of_a_later_schema_are_refused(store):
    path = store.folder / "champions.json"
    path.write_text(json.dumps([json.loads(CHAMPION) | {"schema": SCHEMA + 1}]))
    with pytest.raises(CrucibleError, match=r"champions\.json: schema .* later version.*upgrade Crucible"):
        store.champions()


@pytest.mark.parametrize("schema", [0, -1, "2", None, True, 1.5])
def test_a_schema_that_is_no_number_is_refused(store, schema):
    path = store.folder / "evidence.jsonl"
    path.write_text(json.dumps(json.loads(EVIDENCE) | {"schema": schema}))
    with pytest.raises(CrucibleError, match=r"evidence\.jsonl:1 is no record of evidence \(schema .* is no whole number"):
        store.evidence()
