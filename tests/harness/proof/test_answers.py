"""Answer keys that are shared, and made ahead of the calls that they are for."""

import itertools

import pytest

from harness.proof import answers as module
from harness.proof.answers import Answers
from harness.proof.strategies import basics
from registry.table import discover

OP = discover().op("layer_norm")


@pytest.fixture
def counted(monkeypatch):
    """Count the answer keys that are made."""
    made = []
    honest = module.refer

    def refer(op, problem, values):
        made.append(problem)
        return honest(op, problem, values)

    monkeypatch.setattr(module, "refer", refer)
    return made


def few():
    """Return four problems."""
    return list(itertools.islice(basics(OP), 4))


def test_each_key_is_made_once_whoever_asks_first(counted):
    answers, problems = Answers(), few()
    with answers.made_ahead(OP, [(problem, True) for problem in problems]):
        found = [answers.of(OP, problem) for problem in problems]
        others = [answers.redrawn(answer) for answer in found]
    assert [a.problem for a in found] == problems
    assert [answers.redrawn(a) for a in found] == others
    for answer in found:
        answers.changed(answer)
    assert len(counted) == 3 * len(problems)


def test_no_key_is_made_ahead_once_the_answers_are_no_longer_asked_for(counted):
    answers = Answers()
    with pytest.raises(KeyboardInterrupt), answers.made_ahead(OP, ((p, False) for p in itertools.cycle(few()))):
        raise KeyboardInterrupt
    before = len(counted)
    answers.of(OP, few()[0])
    assert len(counted) - before <= 1


def test_what_goes_wrong_ahead_is_told_where_the_key_is_asked_for(monkeypatch):
    def refer(*asked):
        raise ArithmeticError(str(asked[1]))

    monkeypatch.setattr(module, "refer", refer)
    answers = Answers()
    problem = few()[0]
    with answers.made_ahead(OP, [(problem, True)]), pytest.raises(ArithmeticError):
        answers.of(OP, problem)
