"""The README's board and tree, and the ladders, are what the results and the sources say."""

import re

from harness.pages import board, main, pages
from models import MODELS
from registry.fingerprint import contract_hash, source_hash
from registry.paths import ROOT
from registry.records import Evidence, Store
from registry.table import discover
from trainer.program.template import StepTemplate
from trainer.selection.kernel_request import parse_kernels


def test_generated_pages_are_up_to_date(capsys):
    assert main(["--check"]) == 0, capsys.readouterr().err


def test_a_page_that_was_edited_by_hand_is_noticed(monkeypatch, tmp_path, capsys):
    edited = tmp_path / "README.md"
    edited.write_text("edited")
    monkeypatch.setattr("harness.pages.pages", lambda **_: {edited: "generated"})
    monkeypatch.setattr("harness.pages.ROOT", tmp_path)
    assert main(["--check"]) == 1
    assert "make readme" in capsys.readouterr().err


def test_every_op_is_on_the_board_and_has_a_ladder():
    readme, shown, ladders = (pages()[ROOT / name] for name in ("README.md", "docs/board.md", "docs/ladders.md"))
    for name, op in discover().ops.items():
        assert (f"| `{name}` |" in shown) == ("float32" in op.dtypes)
        assert re.search(rf"\b{op.family}\b", readme)
        assert f"## {name}\n" in ladders


def test_the_readme_fits_a_few_screens():
    lines = pages()[ROOT / "README.md"].splitlines()
    assert len(lines) <= 120
    assert [line for line in lines if len(line) > 140] == []


def test_every_name_in_the_readme_exists():
    text = (ROOT / "README.md").read_text()
    table = discover()
    assert set(re.findall(r"--model (\S+)", text)) <= set(MODELS)
    for op, variant in re.findall(r"--op (\w+) --variant (\w+)", text):
        assert table.variant(op, variant)
    for kernels in re.findall(r"--kernels ([\w,=/]+)", text):
        calls = StepTemplate(table, MODELS["gpt2-nano"], 2, 32).calls_by_key()
        assert len(parse_kernels(kernels).resolve(table, calls)) >= kernels.count("=")
    for command in re.findall(r"python -m ([\w.]*\w)", text):
        path = ROOT.joinpath(*command.split("."))
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), command


def test_only_proofs_of_variants_as_they_are_today_are_counted(tmp_path):
    table, store = discover(), Store(tmp_path)
    variant = table.variant("residual", "numba_flat")
    proof = {"op": "residual", "contract": contract_hash(variant.op), "status": "passed", "problems": 40}
    store.add_evidence(
        Evidence(**proof, variant="numba_flat", source=source_hash(variant)),
        Evidence(**proof, variant="numba_naive", source="of another day"),
        Evidence(**proof, variant="numba_gone", source="of a variant that was removed"),
    )
    here = sum(v.device == "cpu" for known in table.variants.values() for v in known.values())
    assert f"\n1 of {here} variants proven with 40 problems on the CPU; 0 of " in board(table, store)
