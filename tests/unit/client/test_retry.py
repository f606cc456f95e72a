"""The flow of one call, carried out by hand: what is sent, how long is slept, what comes out."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from attnvgg_client import APIConnectionError, DeadlineError, OverloadedError, UnavailableError
from attnvgg_client import _calls as core
from attnvgg_client import _retry as retry
from attnvgg_client._config import Config
from attnvgg_client._http import Reply, Send, Sleep
from attnvgg_client._requests import get

OK = Reply(200, {}, b"{}")
BROKEN = APIConnectionError("broken pipe")


def error(status: int, code: str = "", **headers: str) -> Reply:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    body = f'{{"error": {{"code": "{code}", "message": "m"}}}}' if code else "<html>"
    return Reply(status, names, body.encode())


def carry_out(outcomes: list[Any], max_retries: int = 2, seconds: float = 60.0) -> Any:
    """(requests sent, sleeps, result or error), without sending or sleeping."""
    config = Config("http://server", None, 60, max_retries)
    flow = core.call(config, get(config, "/x"), retry.Deadline(seconds))
    sent, slept = [], []
    try:
        effect = next(flow)
        while True:
            outcome = None
            if isinstance(effect, Sleep):
                slept.append(effect.seconds)
            else:
                assert isinstance(effect, Send)
                sent.append(effect)
                outcome = outcomes[len(sent) - 1]
            throw = isinstance(outcome, Exception)
            effect = flow.throw(outcome) if throw else flow.send(outcome)
    except StopIteration as end:
        return sent, slept, end.value
    except Exception as problem:
        return sent, slept, problem


@pytest.mark.parametrize(
    "first", [BROKEN, error(429, "rate_limited"), error(503, "overloaded"), error(502), error(504)]
)
def test_what_may_pass_is_tried_again_under_the_same_id(first: Any) -> None:
    sent, slept, result = carry_out([first, first, OK])
    assert result is OK
    assert len(sent) == 3
    assert len({send.request.headers["X-Request-ID"] for send in sent}) == 1
    assert slept[0] < slept[1] * 2.1
    assert all(0 < seconds < 0.05 for seconds in slept)


@pytest.mark.parametrize(
    ("status", "code"), [(500, "internal"), (504, "deadline_exceeded"), (400, "x"), (301, "")]
)
def test_what_will_not_pass_is_not_tried_again(status: int, code: str) -> None:
    sent, slept, result = carry_out([error(status, code)])
    assert (len(sent), slept, result.status) == (1, [], status)


def test_the_last_error_is_raised_when_the_retries_are_used_up() -> None:
    sent, _, result = carry_out([error(503, "overloaded", retry_after="0.0")] * 3)
    assert isinstance(result, OverloadedError)
    assert len(sent) == 3
    sent, _, result = carry_out([BROKEN], max_retries=0)
    assert isinstance(result, APIConnectionError)
    assert str(result) == "http://server cannot be reached: broken pipe"
    assert result.request_id == sent[0].request.headers["X-Request-ID"]


def test_retry_after_is_obeyed_in_seconds_and_as_a_date() -> None:
    pauses = {carry_out([error(503, "overloaded", retry_after="7"), OK])[1][0] for _ in range(9)}
    assert all(7 <= seconds <= 7.7 for seconds in pauses)
    assert len(pauses) == 9, "clients that were told so together would return together"
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=9), usegmt=True)
    _, slept, _ = carry_out([error(429, "rate_limited", retry_after=moment), OK])
    assert 7 < slept[0] <= 9.9


@pytest.mark.parametrize("value", ["", "soon", "-5", "1e9", "Wed, 99 Foo 2020 00:00:00 GMT"])
def test_a_senseless_retry_after_is_ignored(value: str) -> None:
    assert retry.retry_after(error(503, retry_after=value)) is None


def test_the_deadline_wins_over_retry_after() -> None:
    sent, slept, result = carry_out(
        [error(503, "engine_unavailable", retry_after="3600"), OK], seconds=5.0
    )
    assert isinstance(result, UnavailableError)
    assert (len(sent), slept, result.retry_after) == (1, [], 3600.0)


def test_the_server_is_told_how_much_time_is_left() -> None:
    sent, _, _ = carry_out([BROKEN, OK], seconds=5.0)
    told = [int(send.request.headers["X-Timeout-Ms"]) for send in sent]
    assert 4000 < told[1] <= told[0] <= 5000
    assert all(send.seconds <= 5.0 for send in sent)
    sent, _, result = carry_out([], seconds=0.0)
    assert isinstance(result, DeadlineError)
    assert sent == []


def test_pauses_grow_within_bounds_and_are_never_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.25)
    for attempt, longest in [(0, 0.25), (3, 2.0), (5, 8.0), (50_000, 8.0)]:
        waits = {retry.backoff(attempt) for _ in range(20)}
        assert len(waits) > 1
        assert all(longest / 2 <= wait <= longest for wait in waits)
