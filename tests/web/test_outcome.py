"""What the page is told of a command: the frame it was carried out with, that it waits, or why it was refused."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future

import pytest

from crwedge.core.errors import MaskError
from crwedge.runtime.web import routes_run
from crwedge.runtime.web.routes_run import outcome


def test_a_command_that_was_carried_out() -> None:
    future: Future[int] = Future()
    future.set_result(7)
    assert asyncio.run(outcome(future)).index == 7


def test_a_command_that_waits_is_not_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes_run, "_PATIENCE", 0.01)
    future: Future[int] = Future()

    async def ask() -> int | None:
        found = (await outcome(future)).index
        # Refused after the page was answered: nobody waits for the error, and nothing complains about that.
        future.set_exception(MaskError("no object 9"))
        await asyncio.sleep(0.01)
        return found

    assert asyncio.run(ask()) is None
    assert not future.cancelled()


def test_a_refused_command_and_a_run_that_has_ended() -> None:
    refused: Future[int] = Future()
    refused.set_exception(MaskError("no object 9"))
    with pytest.raises(MaskError, match="no object 9"):
        asyncio.run(outcome(refused))
    ended: Future[int] = Future()
    ended.cancel()
    with pytest.raises(MaskError, match="the run has ended; start it again"):
        asyncio.run(outcome(ended))
