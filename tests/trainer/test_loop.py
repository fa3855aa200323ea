"""The training loop: the loss falls, Ctrl-C stops it, and an error names the first call with a non-finite value."""

import signal

import numpy as np
import pytest

from tests.trainer.tiny import TINY, B, T, break_call, build
from trainer.data.dataset import Dataset
from trainer.loop import DivergedError, fit
from trainer.settings import Settings
from trainer.signals import interruptible


class Quiet:
    """A watcher that keeps the losses and may call a function after each step."""

    def __init__(self, act=None):
        self.losses, self.validations, self.act = [], [], act

    def stepped(self, update):
        """Keep the loss of an update."""
        assert update.seconds > 0
        self.losses.append((update.step, update.loss))
        if self.act:
            self.act(update.step)

    def validated(self, step, loss):
        """Keep a validation loss."""
        self.validations.append((step, loss))


def settings(**fields):
    """Return settings for the tiny model."""
    return Settings(**{"model": TINY, "batch": B, "sequence": T, "steps": 6, "learning_rate": 3e-3, **fields})


@pytest.fixture
def data():
    """Return tokens in which each is the previous one plus one, modulo 17."""
    tokens = (np.arange(4000) % 17).astype(np.uint16)
    return Dataset("pattern", tokens[:3000], tokens[3000:], 2.83)


def run(data, watcher=None, program=None, **fields):
    """Train the tiny model."""
    chosen = settings(**fields)
    with interruptible(lambda _: None) as interrupt:
        return fit(program or build(micro_steps=chosen.micro_steps), data, chosen, watcher or Quiet(), interrupt)


def test_the_model_learns_a_simple_pattern(data):
    history = run(data, steps=25, learning_rate=1e-2)
    assert history.steps == 25
    assert history.val_loss[0] > 4
    assert history.val_loss[-1] < data.unigram_entropy


def test_the_loss_is_validated_before_during_and_after(data):
    history = run(data, steps=10, evaluations=3)
    assert history.val_steps == [0, 5, 10]
    assert len(history.train_loss) == len(history.step_seconds) == 10


def test_the_watcher_receives_every_update_and_validation(data):
    watcher = Quiet()
    history = run(data, watcher, steps=4, evaluations=2)
    assert watcher.losses == list(enumerate(history.train_loss, start=1))
    assert watcher.validations == list(zip(history.val_steps, history.val_loss, strict=True))


def test_the_same_seed_gives_the_same_losses(data):
    assert run(data).train_loss == run(data).train_loss


def test_an_update_of_two_micro_steps_has_their_mean_loss(data):
    once = run(data, total_batch=2 * B * T, steps=3)
    halves = run(data, steps=6, learning_rate=1e-30)
    assert once.train_loss[0] == pytest.approx(np.mean(halves.train_loss[:2]), rel=1e-6)


def test_ctrl_c_finishes_the_step_and_stops(data):
    history = run(data, Quiet(lambda step: step == 3 and signal.raise_signal(signal.SIGINT)), steps=6)
    assert history.interrupted
    assert history.steps == 3


def test_a_second_ctrl_c_stops_at_once(data):
    def twice(_):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(data, Quiet(twice))


def test_ctrl_c_in_the_last_step_is_no_interruption(data):
    history = run(data, Quiet(lambda step: step == 6 and signal.raise_signal(signal.SIGINT)), steps=6)
    assert not history.interrupted
    assert history.val_steps[-1] == 6


def test_the_previous_signal_handler_is_restored(data):
    before = signal.getsignal(signal.SIGINT)
    run(data, steps=1)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the references warn of the provoked overflow
def test_a_loss_that_is_not_a_number_stops_with_the_step_and_the_culprit(data):
    program = build()

    def spoil(step):
        if step == 2:
            program.parameters["fcb"][1, 5] = np.nan

    with pytest.raises(DivergedError) as caught:
        run(data, Quiet(spoil), program, evaluations=2)
    assert str(caught.value) == ("step 3: the loss is nan; adamw (fcb) in the step before first left a non-finite value")
    assert caught.value.exit_code == 1


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the references warn of the provoked overflow
def test_gradients_that_overflow_stop_it_before_the_update(data):
    program = build()
    break_call(program, "matmul_backward_bias/fc (layer 0)")
    before = program.parameters["wte"].copy()
    with pytest.raises(
        DivergedError, match=r"step 1: the norm of the gradients is inf; matmul_backward_bias/fc \(layer 0\) first"
    ):
        run(data, program=program)
    np.testing.assert_array_equal(program.parameters["wte"], before)
