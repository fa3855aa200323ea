"""A record that contradicts itself cannot be built: the message names the field, its value and the allowed values."""

import dataclasses
import math

import pytest

from registry import CrucibleError
from registry.comparison import Comparison
from registry.enums import Device, Status
from registry.records import Champion, Evidence, Row, Run, Store
from simulator.interface.findings import KINDS

ABOUT = {"op": "gelu", "variant": "numba_tanh", "source": "1", "contract": "2"}
ROW = Row(variant="numba_tanh", source="1", status="passed", samples_ms=[1.0])
RACE = {"op": "gelu", "workload": "w", "dims": {"N": 1}, "threads": 2}
VALID = {
    "evidence": Evidence(**ABOUT, status="passed", problems=40),
    "comparison": Comparison(**ABOUT, status="passed", dims={"N": 1}, params={}),
    "row": ROW,
    "run": Run(**RACE, params={}, protocol="cpu-warm", rows=[ROW], controls={}, roofline={}),
    "champion": Champion(**RACE, variant="numba_tanh", source="1", median_ms=1.0),
}

CONTRADICTIONS = [
    ("evidence", {"status": "pased"}, "status is 'pased'; allowed: .*; did you mean 'passed'"),
    ("evidence", {"status": "slow"}, "status is 'slow'; allowed: .*passed"),
    ("evidence", {"status": "source_changed"}, "status is 'source_changed'; allowed: "),
    ("evidence", {"device": "gpu"}, "device is 'gpu'; allowed: cpu, cuda, sim"),
    ("evidence", {"device": "host"}, "device is 'host'; allowed: cpu, cuda, sim"),
    ("evidence", {"gate": "values"}, "gate is 'values'; allowed: '' where the status is 'passed'"),
    ("evidence", {"worst_over_tolerance": 1.5}, "worst_over_tolerance is 1.5; allowed: at most 1 where"),
    ("evidence", {"worst_over_tolerance": math.nan}, "worst_over_tolerance is nan; allowed: a finite number from 0 up"),
    ("evidence", {"problems": 3}, "problems is 3; allowed: 18 or more where the status is 'passed' and the profile is 'dev'"),
    ("evidence", {"problems": "40"}, "problems is '40'; allowed: a value of type int"),
    ("evidence", {"fakes_rejected": 1.2}, "fakes_rejected is 1.2; allowed: a share from 0 to 1"),
    ("evidence", {"seconds": -1.0}, "seconds is -1.0; allowed: a finite number from 0 up"),
    ("evidence", {"created": None}, "created is None; allowed: a value of type str"),
    ("comparison", {"message": "y is wrong"}, "message is 'y is wrong'; allowed: '' where the status is 'passed'"),
    ("comparison", {"status": "partial"}, "status is 'partial'; allowed: "),
    ("comparison", {"threads": 0}, "threads is 0; allowed: 1 or more"),
    ("comparison", {"dims": {"N": -1}}, "dims is {'N': -1}; allowed: whole numbers from 0 up"),
    ("row", {"status": "failed"}, "status is 'failed'; allowed: 'passed' where there are times"),
    ("row", {"status": "not_compared"}, "status is 'not_compared'; allowed: "),
    ("row", {"samples_ms": [1.0, math.inf]}, "samples_ms is .*; allowed: finite numbers from 0 up"),
    ("row", {"baseline": 1}, "baseline is 1; allowed: a value of type bool"),
    ("run", {"rows": [ROW, ROW]}, "rows is .*; allowed: one row for each variant"),
    ("run", {"protocol": "cuda-cold"}, "protocol is 'cuda-cold'; allowed: cpu-... on device cpu"),
    ("run", {"device": "sim"}, "device is 'sim'; allowed: cpu, cuda; a simulated GPU has no time"),
    ("run", {"threads": 0}, "threads is 0; allowed: 1 or more"),
    ("champion", {"runner_up": "numba_tanh"}, "runner_up is 'numba_tanh'; allowed: another variant"),
    ("champion", {"ratio": 2.0}, "ratio is 2.0; allowed: from ratio_low, 1.0, to ratio_high, 1.0"),
    ("champion", {"device": "cuda"}, "protocol is 'cpu-warm'; allowed: cuda-... on device cuda"),
]


@pytest.mark.parametrize(("kind", "change", "message"), CONTRADICTIONS, ids=[f"{k}-{c}" for k, c, _ in CONTRADICTIONS])
def test_a_record_that_contradicts_itself_cannot_be_built(kind, change, message):
    with pytest.raises(CrucibleError, match=f"^{kind} .*: {message}") as refusal:
        dataclasses.replace(VALID[kind], **change)
    assert "\n" not in str(refusal.value)


def test_a_stored_line_that_contradicts_itself_is_named(tmp_path):
    store = Store(tmp_path)
    store.add_evidence(VALID["evidence"])
    path = store.folder / "evidence.jsonl"
    path.write_text(path.read_text() + path.read_text().replace('"gate": ""', '"gate": "values"'))
    with pytest.raises(CrucibleError, match=r"evidence\.jsonl:2 is no record of evidence .*gate is 'values'.*mend or delete"):
        store.evidence()


@pytest.mark.parametrize("kind", VALID)
def test_words_of_json_become_members_of_the_enums_and_are_written_as_words(kind):
    record = VALID[kind]
    again = type(record).from_json(record.to_json())
    assert again == record
    if hasattr(again, "device"):
        assert again.device is Device.CPU
    if hasattr(again, "status"):
        assert again.status is Status.PASSED


def test_a_pass_with_fewer_problems_than_its_profile_requires_is_read_as_partial():
    line = VALID["evidence"].to_json()
    assert Evidence.from_json(line | {"problems": 17}).status is Status.PARTIAL
    assert Evidence.from_json(line | {"problems": 18}).status is Status.PASSED
    assert Evidence.from_json(line | {"problems": 18, "profile": "ci"}).status is Status.PARTIAL


@pytest.mark.parametrize("kind", KINDS)
def test_each_finding_of_the_simulator_can_be_the_status_of_a_proof_and_of_a_comparison(kind):
    for record in (VALID["evidence"], VALID["comparison"]):
        assert dataclasses.replace(record, status=kind, gate="simulation").status is Status(kind)
