"""The rooms keep the project's words: a banned phrase fails with the words to write instead.

To hold a phrase in another room, add the room to the phrase's line in `HELD`. To allow a phrase in one file, add the file to
`ALLOWED` with its reason.
"""

import re
from pathlib import Path

import pytest

from registry.paths import ROOT
from tests.house.test_files import files

RACES = ("harness/race/", "harness/report/", "tests/harness/race/", "tests/harness/report/")
PROOF = ("harness/child.py", "harness/proof/", "harness/mutation/", "harness/cuda/", "harness/verify.py", "harness/inspect.py")
PROOF += ("tests/harness/proof/", "tests/harness/mutation/", "tests/harness/cuda/", "tests/harness/test_")
TRAINER = ("trainer/", "tests/trainer/")
CORE = ("registry/", "models/", "conftest.py", "tests/registry/", "tests/models/", *RACES, *TRAINER, *PROOF)
PROSE = ("docs/", "README.md", "CONTRIBUTING.md", "AGENTS.md")
TESTS = ("tests/harness/", "tests/trainer/", "tests/gpu/", "tests/benchmarks/")
KERNELS = ("kernels/", "tests/kernels/")
SIMULATOR = ("simulator/", "tests/simulator/", "tests/gpu/", "benchmarks/", "tests/benchmarks/")
MOST = (*CORE, *KERNELS, *PROSE, *TESTS, *SIMULATOR, "harness/", "trainer/")
TEXTS = ("*.py", "*.md", "*.cu", "*.cuh", "*.cpp", "*.hpp")

# Phrase: the words to write instead, and the rooms that keep the phrase out. A room is the beginning of a path.
HELD = {
    # Terms of this project that have a better known name.
    "answer key": ("reference cache", MOST),
    "dear gate": ("expensive check", MOST),
    "definition variant": ("reference variant", MOST),
    "is definition": ("is_reference", MOST),
    "mutation score": ("fakes_rejected; a mutation score belongs to harness.mutate", (*CORE, *KERNELS)),
    "null kernel": ("fake kernel", MOST),
    "plain definition": ("reference", MOST),
    "replay": ("statelessness for the gate, CUDA graph for launches", CORE),
    "spike": ("special value", (*CORE, *KERNELS)),
    "yardstick": ("baseline", MOST),
    # Kernels.
    "as it lie": ("in its own layout", KERNELS),
    "as they lie": ("in their own layout", KERNELS),
    "chance": ("rounding seed, stochastic rounding", ("kernels/",)),
    "definition": ("reference", ("kernels/",)),
    "folded": ("hoisted scalars", ("kernels/",)),
    "made again": ("computed again", KERNELS),
    "old1": ("beta1", KERNELS),
    "new1": ("one_minus_beta1", KERNELS),
    "shrink": ("rescale", ("kernels/",)),
    "trade": ("exchange", KERNELS),
    "wide": ("Packed128, packed_size", ("kernels/",)),
    # The CPU. A record's device keeps the value "cpu".
    "host array": ("CPU array", MOST),
    "on host": ("on_cpu", (*CORE, *KERNELS, *SIMULATOR)),
    "the host": ("the CPU", (*CORE, *KERNELS, *SIMULATOR)),
    # Metaphors and proverbs.
    "by chance": ("with stochastic rounding, or: at random", MOST),
    "dear": ("expensive", MOST),
    "lies in": ("is in", (*CORE, *KERNELS, *SIMULATOR)),
    "lives in": ("is in", MOST),
    "everybody": ("the actors: all code in the process, every reader", PROOF),
    "nobody's": ("the actor: no user, no process", MOST),
    "somebody else's": ("a user's", MOST),
    "speaks of": ("is about", (*CORE, *KERNELS, *SIMULATOR)),
    "survive the disk": ("are read back from disk", MOST),
    "toss of a coin": ("a random choice", MOST),
    "to the hand": ("to the user", MOST),
    # Participles and pronouns in place of a noun.
    "heard": ("a noun, such as message or kernels", MOST),
    "is asked": ("the actor and the verb: the harness draws, the user selects", (*CORE, *KERNELS, *SIMULATOR)),
    "those that": ("a noun: the files that, the problems that", (*CORE, *KERNELS, *SIMULATOR)),
    "told": ("a noun, such as message, reason or output", (*CORE, *KERNELS, *SIMULATOR)),
    "whatever": ("any, with a noun", (*CORE, *KERNELS, *SIMULATOR)),
    "answer": ("a noun: output, result or predicate", SIMULATOR),
    "nobody": ("the actor: no thread, no instruction, no process", SIMULATOR),
    "somebody": ("the actor: another process, a user", SIMULATOR),
    "whoever": ("the actor: the author, the user", (*CORE, *KERNELS, *SIMULATOR)),
}

# File and phrase: the reason why the file may hold the phrase.
ALLOWED = {
    ("harness/proof/cases/selection.py", "told"): "hypothesis derives the problems that it draws from this name",
    ("harness/race/contestant_gpu.py", "replay"): "CUDA's word for a launch of a captured graph",
    ("harness/race/session_gpu.py", "replay"): "CUDA's word for a launch of a captured graph",
    ("registry/problem.py", "spike"): "a word of the printed line of a problem, which stored records hold",
    ("registry/record_schema.py", "mutation score"): "a field of records that earlier versions stored",
    ("registry/record_schema.py", "yardstick"): "a field of records that earlier versions stored",
    ("tests/registry/test_record_schema.py", "mutation score"): "a field of records that earlier versions stored",
    ("tests/registry/test_record_schema.py", "yardstick"): "a field of records that earlier versions stored",
    ("tests/registry/test_problem.py", "spike"): "the word of the printed line of a problem",
}


def pattern(phrase):
    """Return the expression of a phrase: in prose, over the end of a line, in a plural and as a part of a name."""
    words = r"(?:[\s#]+|_)".join(map(re.escape, phrase.split()))
    return re.compile(rf"(?<![A-Za-z]){words}(?:e?s)?(?![A-Za-z])", re.IGNORECASE)


def lines_with(phrase, text):
    """Return the numbers of the lines in which a phrase begins."""
    return [text.count("\n", 0, match.start()) + 1 for match in pattern(phrase).finditer(text)]


def texts_of(rooms):
    """Return the texts of some rooms by path. This file, which must hold every phrase, is left out."""
    known = {str(path.relative_to(ROOT)): path for path in files(*TEXTS) if path != Path(__file__)}
    return {name: path.read_text() for name, path in known.items() if name.startswith(rooms)}


@pytest.mark.parametrize("phrase", HELD)
def test_a_room_holds_no_banned_phrase(phrase):
    replacement, rooms = HELD[phrase]
    wrong = [
        f"{name}:{line}: {phrase!r}: write {replacement}"
        for name, text in texts_of(rooms).items()
        if (name, phrase) not in ALLOWED
        for line in lines_with(phrase, text)
    ]
    assert not wrong, "\n".join(["", *wrong])


@pytest.mark.parametrize(("name", "phrase"), ALLOWED)
def test_every_allowed_file_still_needs_its_entry(name, phrase):
    assert name.startswith(HELD[phrase][1]), "no room of the phrase has this file"
    assert lines_with(phrase, (ROOT / name).read_text()), "the file no longer holds the phrase: delete the entry"


def test_every_room_has_files():
    rooms = {room for _, held in HELD.values() for room in held}
    assert [room for room in rooms if not texts_of((room,))] == []


@pytest.mark.parametrize("phrase", HELD)
def test_a_phrase_is_seen_in_prose_over_lines_and_in_names(phrase):
    words = phrase.split()
    for text in (phrase, phrase.capitalize(), f"{phrase}s", "\n    # ".join(words), f"is_{'_'.join(words)}_now"):
        assert lines_with(phrase, f"one line\nand {text}.") == [2]
    assert lines_with(phrase, f"un{phrase}") == []


@pytest.mark.parametrize("phrase", HELD)
def test_no_replacement_is_banned_itself(phrase):
    replacement, rooms = HELD[phrase]
    others = [other for other, (_, held) in HELD.items() if set(held) & set(rooms)]
    banned = [other for other in others if lines_with(other, replacement)]
    assert banned in ([], ["mutation score"])  # the score of harness.mutate keeps its name
