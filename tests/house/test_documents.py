"""Real documents agree with their declarations, and the declarations say what each field means.

The tests of most commands compare the documents there, by `document_of`; this file has the rest, and checks that no document
is left out.
"""

import re
from typing import Annotated, get_args, get_origin, get_type_hints

import pytest

from benchmarks import equality_124m
from harness import pages
from harness.report.json_page import document_tables
from registry import __main__ as registry
from registry import scaffold
from registry.documents import DOCUMENTS
from registry.paths import ROOT
from tests.house.document_check import differences, document_of
from tests.house.test_files import files


def test_a_test_compares_each_document():
    tests = "".join(path.read_text() for path in files("tests/*.py"))
    compared = set(re.findall(r'document_of\([^\n]*?"([\w. -]+)", \w+\)', tests))
    assert DOCUMENTS.keys() - compared == set()


def test_the_listing_shows_the_contract_of_an_op_and_files_that_do_not_load(capsys, tmp_path):
    (tmp_path / "layer_norm").mkdir()
    (tmp_path / "layer_norm" / "numba_typo.py").write_text("def (")
    assert registry.main(["--op", "layer_norm", "--json", f"--kernels-path={tmp_path}"]) == 0
    document = document_of(capsys.readouterr().out, "registry", 0)
    op = document["ops"][0]
    arguments = [(a["name"], a["role"], a["dims"], a["dtype"]) for a in op["arguments"]]
    assert arguments[0] == ("x", "input", "N C", "float")
    assert arguments[-1] == ("rstd", "output", "N", "float32")
    assert (op["params"].keys(), op["spec"]) == ({"eps"}, str(ROOT / "kernels" / "layer_norm" / "spec.py"))
    assert [(f["op"], f["variant"]) for f in document["unloadable"]] == [("layer_norm", "numba_typo")]


def test_new_files_and_the_next_commands(capsys, tmp_path, monkeypatch):
    assert registry.main(["new", "layer_norm", "cuda_mine", f"--into={tmp_path}", "--json"]) == 0
    document = document_of(capsys.readouterr().out, "registry new", 0)
    assert document["files"] == [str(tmp_path / f"cuda_mine.{suffix}") for suffix in ("py", "cu")]
    first, second, third = document["next"]
    assert first == f"pytest --op layer_norm --variant cuda_mine --kernels-path={tmp_path}"
    assert (second.split()[2], third.split()[2]) == ("harness.verify", "harness.inspect")
    monkeypatch.setattr(scaffold, "ROOT", tmp_path)
    assert registry.main(["new-op", "swish", "--json"]) == 0
    document = document_of(capsys.readouterr().out, "registry new-op", 0)
    assert document["files"][1] == str(tmp_path / "kernels" / "swish" / "spec.py")


def test_pages(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    monkeypatch.setattr(pages, "pages", lambda **_: {tmp_path / "a.md": "new", tmp_path / "b.md": "old"})
    monkeypatch.setattr(pages, "shown_store", lambda **_: None)
    monkeypatch.setattr(pages, "step_sum", lambda *_: None)
    (tmp_path / "b.md").write_text("old")
    assert pages.main(["--json"]) == 0
    found = document_of(capsys.readouterr().out, "harness.pages", 0)["pages"]
    assert found == [{"path": "a.md", "changed": True}, {"path": "b.md", "changed": False}]
    (tmp_path / "a.md").write_text("edited")
    assert pages.main(["--check", "--json"]) == 1
    assert document_of(capsys.readouterr().out, "harness.pages", 1)["error"]["command"] == "make readme"


def test_equality(capsys, tmp_path):
    words = ["--model=gpt2-nano", "--kernels=numpy", "--steps=1", f"--results={tmp_path}", "--json"]
    assert equality_124m.main(words) == 0
    document = document_of(capsys.readouterr().out, "benchmarks.equality_124m", 0)
    assert len(document["losses"]) == len(document["torch_losses"]) == 1
    assert max(document["gradients"].values()) <= 1


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_field_says_what_it_means(name):
    hints = get_type_hints(DOCUMENTS[name], include_extras=True)
    assert [field for field, hint in hints.items() if get_origin(hint) is not Annotated or not get_args(hint)[-1]] == []


def test_the_page_shows_every_document_and_links_every_object():
    page = document_tables()
    assert [name for name in DOCUMENTS if f"`python -m {name}`" not in page] == []
    headings = set(re.findall(r"^### (\w+)$", page, flags=re.MULTILINE))
    assert {name for name, _ in re.findall(r"\[(\w+)\]\(#(\w+)\)", page)} == headings


def test_a_difference_is_found_in_every_kind_of_field():
    good = {"races": [], "not_raced": ["gelu"], "refused": [], "revoked": [], "seconds": {"start": 1}, "stored": None}
    assert differences(good, DOCUMENTS["harness.bench"]) == []
    for field, value in {"races": [{}], "not_raced": [1], "seconds": {"start": "1"}, "stored": 3, "refused": {}}.items():
        assert differences({**good, field: value}, DOCUMENTS["harness.bench"]), field
    assert differences({**good, "more": 1}, DOCUMENTS["harness.bench"]) == ["document: 'more' is not declared"]
    assert differences({}, DOCUMENTS["registry new"]) != []
