"""Every command that the pages tell a reader to type works: a small form of it runs in a process of its own.

A command of a page runs with options that make it small (`CHANGES`) and must end with exit code 0, with 1 where the page
shows that it finds something wrong, or with 2 where the page shows its error. A command that needs a GPU or a network is
marked on the page, listed in `NOT_RUN`, and must be accepted by the parser of its module.
"""

import importlib
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest

from models import find
from registry.errors import BAD_REQUEST, DONE, FAILED
from registry.paths import ROOT
from registry.table import discover
from tests.harness.race_beside_others import RACE_BESIDE_OTHERS
from tests.house.command_rules import CHANGES, NOT_RUN, OUT, RESULTS, TESTED_ELSEWHERE, TEXT, VARIANTS
from tests.house.pages import DRY, Command, commands_of, documented
from tests.house.reader import TEXT as READERS_TEXT
from tests.house.reader import write_own_variants, write_records, write_tutorial_variants

LIMIT_S = 240
TUTORIAL = "docs/tutorial.md"
MODULES = {"pytest": "pytest", "torchrun": "torch.distributed.run", "pip": "pip", "ruff": "ruff", "mypy": "mypy"}


def bare(text):
    """Return a command's text with the program as a reader in the virtual environment types it."""
    return text.strip().removeprefix(".venv/bin/").replace("python -m pytest", "pytest").replace("python -m pip", "pip")


def reason_not_to_run(command):
    """Return why no test of this file runs a command: what it needs, or the test that runs it; "" for all others."""
    for pattern, reason in (NOT_RUN | TESTED_ELSEWHERE).items():
        if re.search(pattern, bare(command.text)):
            return reason
    return ""


def small(command):
    """Return the words of a command's small form."""
    words = Command("", 0, bare(command.text)).words
    for change in CHANGES:
        if not re.search(change.pattern, bare(command.text)):
            continue
        words = [change.stand_ins.get(word, word) for word in words]
        for option, value in change.options.items():
            if option in words:
                words[words.index(option) + 1] = value
            else:
                words += [f"{option}={value}"] if option.startswith("--") else [option, value]
        words += change.words
    return words


def filled(word, files):
    """Return a word, alone or behind ``--option=``, with the file that it stands for."""
    option, equals, value = word.rpartition("=")
    return f"{option}{equals}{files.get(value, value)}"


COMMANDS = [c for c in documented() if not c.is_mention]
MENTIONS = [c for c in documented() if c.is_mention]
RUN = {(" ".join(small(c)), c.fails, c.page == TUTORIAL): c for c in reversed(COMMANDS) if not reason_not_to_run(c)}
ONLY_PARSED = {bare(c.text): c for c in [*COMMANDS, *MENTIONS] if reason_not_to_run(c) or c.is_mention}


def label(command):
    """Return a test's id: the place of the command. Its words would match ``pytest -k`` of a reader's variant."""
    return f"{command.page}:{command.line}"


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """Make what a reader of the pages has."""
    folder = tmp_path_factory.mktemp("reader")
    write_own_variants(folder / "own")
    write_tutorial_variants(folder / "sound", sound=True)
    write_tutorial_variants(folder / "flawed", sound=False)
    write_records(folder / "results", folder / "sound")
    (folder / "my.txt").write_text(READERS_TEXT)
    return folder


def started(words):
    """Return how a command is started from the project's root: with this interpreter, and a race with controls of any value."""
    program, *rest = words
    if program == "make":
        return [*words, *DRY]  # what its recipe runs is among the other commands
    if program == "python":
        program, *rest = rest[1:]
    if program == "harness.bench":
        return [sys.executable, "-c", RACE_BESIDE_OTHERS, *rest]
    if program == "lint-imports":
        return [sys.executable, "-c", "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"]
    return [sys.executable, "-m", MODULES.get(program, program), *rest]


def run(command):
    """Run a command in a process group of its own; return its exit code and all that it printed."""
    ours = ("PYTEST_", "MAKE", "MFLAGS", "COV_")  # of the pytest and the make that this test runs under
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            printed, _ = process.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            pytest.fail(f"no end after {LIMIT_S} s: {' '.join(command)}\n{process.communicate()[0]}")
    return process.returncode, printed


@pytest.mark.parametrize("key", RUN, ids=lambda key: label(RUN[key]))
def test_a_documented_command_runs(key, reader, tmp_path):
    command = RUN[key]
    variants = "own" if command.page != TUTORIAL else "flawed" if command.fails else "sound"
    shutil.copytree(reader / "results", tmp_path / "results")
    files = {RESULTS: tmp_path / "results", OUT: tmp_path / "out", VARIANTS: reader / variants, TEXT: reader / "my.txt"}
    words = [filled(word, files) for word in small(command)]
    code, printed = run(started(words))
    expected = FAILED if command.fails else BAD_REQUEST if command.is_refused else DONE
    assert code == expected, f"{command.place}: {command.text}\nas {' '.join(words)}\n{printed}"
    if command.is_refused:
        assert command.output.strip() in printed, f"{command.place} shows another error than\n{printed}"
    if command.fails:
        gate = re.search(r"\w+/\w+ .*? at gate '\w+'", command.output)[0]
        assert gate in printed, f"{command.place} shows {gate!r}\n{printed}"
    if "harness.inspect" in command.text:  # what it counts is the same on every machine
        shown = [line.strip().removesuffix("...)").rstrip(", ") for line in command.output.splitlines()]
        assert [line for line in shown if line not in printed] == [], f"{command.place} shows something else than\n{printed}"


def parsed(command):
    """Give a command's words to the parser of its module; return the options, or None for a program without one of ours."""
    words = Command("", 0, bare(command.text)).words
    if words[0] == "torchrun":
        words = words[words.index("-m") :]
    if words[0] in {"pip", "make"}:
        return None
    name = words[words.index("-m") + 1]
    module = importlib.import_module(f"{name}.__main__" if name == "registry" else name)
    return module.parser().parse_args(words[words.index("-m") + 2 :])


@pytest.mark.parametrize("text", ONLY_PARSED, ids=lambda text: label(ONLY_PARSED[text]))
def test_the_options_of_a_command_that_is_not_run_exist(text):
    command = ONLY_PARSED[text]
    try:
        options = vars(parsed(command) or object)
    except SystemExit:
        pytest.fail(f"{command.place}: its module does not accept: {command.text}")
    if options.get("op"):
        table = discover()
        table.select(table.select_ops(options["op"]), options.get("variant"))
    if options.get("model"):
        find(options["model"])


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.in_block], ids=label)
def test_a_command_is_marked_if_it_needs_what_not_everybody_has(command):
    needs = reason_not_to_run(command)
    if needs in TESTED_ELSEWHERE.values():
        return
    is_right = needs.split()[-1] in command.mark if needs else not command.mark
    assert is_right, f"{command.place}: marked {command.mark!r}; write '# {needs}'" if needs else f"{command.place}: not needed"


def test_every_rule_is_needed_by_a_page():
    texts = [bare(c.text) for c in COMMANDS]
    patterns = [change.pattern for change in CHANGES] + [*NOT_RUN, *TESTED_ELSEWHERE]
    assert [p for p in patterns if not any(re.search(p, text) for text in texts)] == []
    assert [test for test in TESTED_ELSEWHERE.values() if not (ROOT / test).exists()] == []


def test_every_program_is_known():
    known = {"python", "make", "lint-imports", *MODULES}
    assert [c.place for c in COMMANDS if Command("", 0, bare(c.text)).words[0] not in known] == []


def test_the_collector_finds_commands_in_blocks_sentences_and_output():
    page = """
Sentence with `pytest -k mine`, `make` alone, and `harness.verify --op gelu`; over
two lines: `python -m
registry`. Not a command: `python`, ``--op``.

```console
$ make train   # a comment
$ pytest --op "a # b"      # needs a GPU
not a command
```

    $ python -m harness.verify --op gelu && make test

    gelu/numba_mine failed at gate 'values': y
      reproduce: python -m harness.verify --problem "N=1"

    torchrun -m trainer.run   # needs 8 GPUs

```python
make = 3
pytest.main()
```
<!-- tree: generated by `make readme` -->
    python -m never
<!-- end tree -->
"""
    found = [(c.line, c.text, c.mark, c.fails, c.is_mention) for c in commands_of("page", page)]
    assert found == [
        (2, "pytest -k mine", "", False, False),
        (2, "python -m harness.verify --op gelu", "", False, True),
        (3, "python -m registry", "", False, False),
        (7, "make train", "", False, False),
        (8, 'pytest --op "a # b"', "needs a GPU", False, False),
        (12, "python -m harness.verify --op gelu", "", True, False),
        (12, "make test", "", True, False),
        (15, 'python -m harness.verify --problem "N=1"', "", True, False),
        (17, "torchrun -m trainer.run", "needs 8 GPUs", False, False),
    ]


def test_a_small_form_keeps_the_commands_own_options():
    command = Command("README.md", 1, "python -m trainer.run --kernels best --model gpt2-124m --steps 10")
    expected = ["python", "-m", "trainer.run", "--kernels", "best", "--model", "gpt2-nano", "--steps", "1"]
    assert small(command) == [*expected, f"--results={RESULTS}", f"--out={OUT}", "--sequence=8", "--threads=1"]
