"""Every command prints one JSON document with ``--json``, also if it fails, and one line for a wrong option."""

import ast
import importlib
import json
import signal
import subprocess
import sys

import pytest

from harness.race.controls import ControlsError
from registry.command_parser import CommandParser
from registry.documents import DOCUMENTS
from registry.output import Output, print_output
from registry.paths import ROOT
from tests.house.document_check import document_of
from tests.house.test_files import PYTHON

# Files that are started as a process and are no command: the reason why they have no document.
PROCESSES = {
    "benchmarks.step_arm": "the process of an arm, which benchmarks.step starts",
    "harness.proof.reference.process": "the process that computes reference outputs",
    "harness.proof.sandbox.worker": "the process that runs foreign code",
    "harness.race.contestant": "the process of a contestant",
    "harness.race.contestant_gpu": "the process of a contestant on a GPU",
    "registry.pytest_option": "a step of the set-up, which make runs",
}


def is_started(path):
    """Return whether ``python -m`` runs code of a file."""
    tests = [node.test for node in ast.parse(path.read_text()).body if isinstance(node, ast.If)]
    return any(ast.unparse(test) == "__name__ == '__main__'" for test in tests)


STARTED = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for path in PYTHON
    if path.relative_to(ROOT).parts[0] != "tests" and is_started(path)
}
COMMANDS = sorted(STARTED.keys() - PROCESSES.keys())


def name_of(module):
    """Return the name under which ``python -m`` starts a module."""
    return module.removesuffix(".__main__")


def run(module, capsys, *words):
    """Run a command in this process; return its exit code and its output."""
    code = importlib.import_module(module).main(list(words))
    return code, capsys.readouterr()


def test_every_started_file_is_a_command_or_a_process_with_a_reason():
    assert PROCESSES.keys() <= STARTED.keys()
    assert {"harness.verify", "registry.__main__", "trainer.run", "benchmarks.step"} <= set(COMMANDS)
    assert {name_of(module) for module in COMMANDS} == {name.split()[0] for name in DOCUMENTS}


@pytest.mark.parametrize("module", COMMANDS)
def test_a_command_has_the_parser_that_adds_json(module):
    parser = importlib.import_module(module).parser()
    assert isinstance(parser, CommandParser), f"{module} has no --json: make its parser a registry.command_parser.CommandParser"
    assert parser.prog == f"python -m {name_of(module)}"


@pytest.mark.parametrize("module", COMMANDS)
def test_an_unknown_option_is_one_document_or_one_line(module, capsys):
    code, printed = run(module, capsys, "--jsno")
    assert (code, printed.out) == (2, "")
    assert printed.err.startswith("error: unknown option '--jsno'; did you mean '--json'? Known: ")
    assert printed.err.count("\n") == 1
    assert printed.err.endswith(f" Try: python -m {name_of(module)} --json\n")
    code, printed = run(module, capsys, "--json", "--jsno")
    error = document_of(printed.out, name_of(module), code)["error"]
    assert (code, error["kind"], error["nearest"][0]) == (2, "request", "--json")


@pytest.mark.parametrize("module", COMMANDS)
def test_a_bug_is_one_document_and_its_traceback_is_on_standard_error(module, capsys, monkeypatch):
    def bug(*_):
        sys.stdout.write("a word of a library\n")
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(CommandParser, "parse_args", bug)
    code, printed = run(module, capsys, "--json")
    error = document_of(printed.out, name_of(module), code)["error"]
    assert (code, error["kind"], error["message"]) == (3, "internal", "ZeroDivisionError: a bug")
    assert "Traceback" in printed.err
    assert "a word of a library" in printed.err


@pytest.mark.parametrize("module", COMMANDS)
def test_an_interrupt_is_one_document(module, capsys, monkeypatch):
    monkeypatch.setattr(CommandParser, "parse_args", lambda *_: signal.raise_signal(signal.SIGINT))
    outside = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores the signal
    try:
        code, printed = run(module, capsys, "--json")
    finally:
        signal.signal(signal.SIGINT, outside)
    assert code == 130
    assert document_of(printed.out, name_of(module), code)["error"]["kind"] == "interrupted"


WRONG = {
    "--profile=cii": ("unknown value of --profile 'cii'; did you mean 'ci'?", "--profile=ci"),
    "--examples=few": ("--examples 'few': give a whole number; see: ", None),
    "--examples": ("--examples: expected one argument; see: ", None),
    "--results=setup.cfg": ("--results: 'setup.cfg' is a file, not a folder of records; see: ", None),
}


@pytest.mark.parametrize("word", WRONG)
def test_a_bad_value_is_one_line_with_the_value_and_a_command(word, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "setup.cfg").write_text("")
    message, better = WRONG[word]
    for as_json in ([], ["--json"]):
        code, printed = run("harness.verify", capsys, "--op=gelu", *as_json, word)
        assert code == 2
        assert printed.err.startswith(f"error: {message}")
        assert printed.err.count("\n") == 1
    error = document_of(printed.out, "harness.verify", 2)["error"]
    fixed = f"python -m harness.verify --op=gelu --json {better}"
    assert error["command"] == (fixed if better else "python -m harness.verify --help")


def test_a_missing_option_and_a_wrong_sub_command_are_one_line(capsys):
    code, printed = run("harness.verify", capsys)
    assert (code, printed.out) == (2, "")
    assert printed.err == "error: the following arguments are required: --op; see: python -m harness.verify --help\n"
    code, printed = run("registry.__main__", capsys, "nw", "layer_norm", "numba_x", "--json")
    error = document_of(printed.out, "registry", code)["error"]
    assert (code, error["nearest"][0], error["command"]) == (2, "new", "python -m registry new layer_norm numba_x --json")


@pytest.mark.parametrize("word", ["--js", "--json"])
def test_a_shortened_option_prints_the_document_too(word, capsys):
    code, printed = run("registry.__main__", capsys, word)
    assert (code, "ops" in document_of(printed.out, "registry", 0)) == (0, True)


def test_json_may_stand_before_or_behind_a_sub_command(capsys):
    for words in (["--json", "new", "layer_norm", "mine"], ["new", "layer_norm", "mine", "--json"]):
        code, printed = run("registry.__main__", capsys, *words)
        assert (code, document_of(printed.out, "registry", 2)["error"]["kind"]) == (2, "request")


def test_missing_evidence_is_a_kind_of_its_own_with_the_command_that_makes_it(capsys, tmp_path):
    words = ["--op=gelu", "--variant=numba_naive", f"--results={tmp_path}", "--json"]
    code, printed = run("harness.bench", capsys, *words)
    error = document_of(printed.out, "harness.bench", code)["error"]
    assert (code, error["kind"]) == (2, "evidence")
    assert error["command"].startswith("python -m harness.verify --op gelu --variant numba_naive ")


def test_a_failed_check_has_the_command_that_helps(capsys, tmp_path):
    code, printed = run("harness.explain", capsys, "--op=gelu", f"--results={tmp_path}", "--json")
    error = document_of(printed.out, "harness.explain", code)["error"]
    assert (code, error["kind"]) == (1, "failed")
    assert error["command"] == f"python -m harness.bench --op gelu --device cpu --results {tmp_path} --json"


def test_a_race_on_a_busy_machine_is_to_be_repeated_by_the_same_command(capsys):
    def disturbed():
        raise ControlsError("the machine is busy")

    assert print_output("harness.bench", disturbed, ["--op", "layer_nor[m]", "--json"]) == 1
    error = document_of(capsys.readouterr().out, "harness.bench", 1)["error"]
    assert (error["kind"], error["command"]) == ("busy", "python -m harness.bench --op 'layer_nor[m]' --json")


def test_a_number_that_json_lacks_is_a_bug_and_no_document(capsys):
    assert print_output("harness.verify", lambda: Output({"ratio": float("inf")}), ["--json"]) == 3
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "internal"


def test_nothing_else_reaches_standard_output_not_even_from_c_or_a_child():
    script = """
import ctypes, subprocess, sys
from registry.output import Output, print_output
def body():
    print("from Python")
    ctypes.CDLL(None).puts(b"from C")
    subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
    return Output({"races": []})
sys.exit(print_output("harness.bench", body, ["--json"]))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert json.loads(done.stdout) == {"races": [], "schema": 1, "command": "harness.bench", "exit_code": 0}
    assert all(line in done.stderr for line in ("from Python", "from C", "from a child"))
