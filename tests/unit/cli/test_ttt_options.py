"""What `--ttt` says at the end."""

from __future__ import annotations

import pytest

from crwedge.adapt.settings import TestTimeSettings
from crwedge.adapt.trainer import TestTimeTrainer
from crwedge.cli.ttt_options import finish


@pytest.mark.parametrize(
    ("undone", "stopped", "message"),
    [
        (0, "", "ended before a first window was learnt from"),
        (2, "", "all 2 windows were undone"),
        (0, "PyTorch went away", "changed nothing: PyTorch went away"),
    ],
)
def test_training_that_did_nothing_says_why(undone: int, stopped: str, message: str, said: list[str]) -> None:
    trainer = TestTimeTrainer(TestTimeSettings())
    trainer.stats.undone, trainer.stats.stopped = undone, stopped
    assert finish(trainer, None)["updates"] == 0
    assert message in said[1]


def test_training_that_did_something_says_no_more(said: list[str]) -> None:
    trainer = TestTimeTrainer(TestTimeSettings())
    trainer.stats.updates = trainer.stats.windows = 1
    finish(trainer, None)
    assert len(said) == 1
