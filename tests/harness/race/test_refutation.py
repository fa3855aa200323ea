"""A variant that is right on the battery's problems and wrong at the raced shape loses its proof for every reader."""

import json
import shlex

import pytest

from harness import bench, explain, verify
from harness.race import champions, controls
from harness.race.board import boards_for
from harness.race.outcome import Outcome
from harness.race.refutation import refutation
from registry.errors import EvidenceError
from registry.records import RACE, Store
from registry.table import discover

BORDER = 1 << 18  # elements; the battery's problems of this op have fewer
SHAPE = "N=1024 C=320"
VARIANT = '''"""Right below a border, wrong beyond it.

Idea: pass the battery.
Source: this test.
"""

import numpy as np
from kernels.residual.spec import RESIDUAL
from registry import register


@register(RESIDUAL)
def numpy_border(x1, x2, y):
    np.add(x1, x2, out=y)
    if y.size > {border}:
        {beyond}
'''


@pytest.fixture
def quiet(monkeypatch):
    """Accept any value of the controls: the test does not depend on a quiet machine."""
    monkeypatch.setattr(controls, "BANDS", {"a_a": (0.0, float("inf")), "twice": (0.0, float("inf"))})


def planted(folder, beyond="y[...] = x1"):
    """Write the variant to `folder`, with `beyond` as its code for large problems."""
    (folder / "numpy_border.py").write_text(VARIANT.format(border=BORDER, beyond=beyond))
    return discover(folder).variant("residual", "numpy_border")


def command(folder, results, *words):
    return ["--op", "residua[l]", "--variant", "numpy_border", "--kernels-path", str(folder), "--results", str(results), *words]


@pytest.mark.usefixtures("quiet")
def test_a_wrong_answer_in_a_race_revokes_the_proof_until_the_source_changes(tmp_path, capsys):
    folder, results = tmp_path / "kernels", tmp_path / "results"
    folder.mkdir()
    variant = planted(folder)
    prove = command(folder, results, "--examples", "6")
    assert verify.main(prove) == 0, capsys.readouterr()
    assert Store(results).require_proof(variant).status == "passed"
    capsys.readouterr()

    race = command(folder, results, "--dims", SHAPE, "--budget", "1s", "--threads", "1")
    assert bench.main(race) == 1
    errors = capsys.readouterr().err
    assert "error: residual/numpy_border wrong" in errors
    assert "refuted it (wrong: a timed call's y is wrong in" in errors
    assert "so its proof is revoked until its source changes; see: python -m harness.verify --op residual" in errors

    record = Store(results).proof(variant)
    assert (record.gate, record.status, record.source) == (RACE, "wrong", Store(results).evidence()[0].source)
    problem = shlex.split(record.reproduce)[-1]
    assert problem.startswith("N=1024 C=320 ")
    assert verify.main([*command(folder, results)[:-2], "--problem", problem, "--json"]) == 1
    [reproduced] = json.loads(capsys.readouterr().out)["results"]
    assert reproduced["status"] == "failed"

    assert verify.main([*prove, "--json"]) == 1  # the proof repeats the problem of the race
    [result] = json.loads(capsys.readouterr().out)["results"]
    assert result["status"] == "failed"
    assert problem in result["reproduce"]
    with pytest.raises(EvidenceError, match="revoked until its source changes"):
        Store(results).require_proof(variant)
    assert bench.main(race) == 2
    assert "its proof is revoked" in capsys.readouterr().err
    assert champions.derive(Store(results), discover(folder)) == []
    assert explain.main(["--op", "residua[l]", "--kernels-path", str(folder), "--results", str(results)]) == 1
    capsys.readouterr()


@pytest.mark.usefixtures("quiet")
def test_a_changed_source_may_be_proven_again(tmp_path, capsys):
    folder, results = tmp_path / "kernels", tmp_path / "results"
    folder.mkdir()
    wrong = planted(folder)
    [board] = boards_for([wrong.op], "", SHAPE, "float32", tmp_path)
    store = Store(results)
    store.add_evidence(refutation(wrong, board, "wrong", "y is wrong", "cpu"))
    assert store.proof(wrong).revokes
    other = tmp_path / "mended"
    other.mkdir()
    mended = planted(other, "pass")
    assert verify.main(command(other, results, "--examples", "6")) == 0, capsys.readouterr()
    assert Store(results).require_proof(mended).status == "passed"
    assert Store(results).proof(wrong).revokes


@pytest.mark.parametrize(
    ("status", "note", "refuted"),
    [
        ("wrong", "y is wrong", True),
        ("crashed", "its process was ended by SIGSEGV", True),
        ("failed", "ValueError: no", True),
        ("failed", "MemoryError: 8 GiB", False),
        ("failed", "OutOfMemoryError: 8 GiB", False),
        ("crashed", "its process was ended by SIGKILL", False),
        ("hung", "no answer", False),
        ("refused", "NotImplementedError", False),
        ("unchecked", "torch has no answer", False),
        ("implausible", "too fast", False),
        ("passed", "", False),
    ],
)
def test_a_variant_is_refuted_by_what_it_did_and_not_by_circumstances(status, note, refuted, tmp_path):
    variant = discover().variant("residual", "numba_flat")
    [board] = boards_for([variant.op], "", SHAPE, "float32", tmp_path)
    found = refutation(variant, board, status, note, "cpu", [tmp_path / "my kernels"])
    assert (found is not None) is refuted
    if found:
        assert (found.status, found.note, found.revokes) == (status, note, True)
        words = shlex.split(found.reproduce)
        assert words[words.index("--kernels-path") + 1] == f"{tmp_path}/my kernels"
        assert words[words.index("--problem") + 1].startswith("N=1024 C=320 ")


@pytest.mark.parametrize("stored", [True, False])
def test_a_refutation_is_stored_at_once_unless_no_record_is_wanted(stored, tmp_path):
    table, store = discover(), Store(tmp_path)
    [board] = boards_for([table.op("residual")], "", SHAPE, "float32", tmp_path)
    outcome = Outcome(table, store if stored else None, "cpu", [])
    outcome.refute(board, [("torch", "failed", "no"), ("numba_flat", "wrong", "y is wrong"), ("numba_naive", "passed", "")])
    assert [e.variant for e in outcome.refuted] == ["numba_flat"]
    assert store.evidence() == (outcome.refuted if stored else [])
