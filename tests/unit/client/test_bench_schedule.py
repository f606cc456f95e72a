"""When requests are due: as many as asked for, as random as real ones, always the same."""

import itertools
import statistics
from typing import Any

import pytest

from attnvgg_client import InvalidArgumentError
from attnvgg_client._bench_schedule import Load, due_times


def load(**changes: Any) -> Load:
    return Load(**({"rate": 100.0, "callers": 8, "seconds": 20.0, "warmup": 2.0} | changes))


@pytest.mark.parametrize("arrivals", ["poisson", "even"])
def test_the_rate_is_kept_exactly_on_average_in_order_and_within_the_window(arrivals: Any) -> None:
    times = due_times(load(arrivals=arrivals))
    assert len([moment for moment in times if moment < 0]) == 200
    assert len([moment for moment in times if 0 <= moment < 20]) == 2000
    assert list(times) == sorted(times)
    assert times[0] >= -2


def test_poisson_arrivals_have_exponential_gaps() -> None:
    times = list(due_times(load(seconds=200.0, warmup=0.0)))
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    # Of an exponential distribution the mean is the standard deviation, and e**-1 exceed it.
    assert statistics.mean(gaps) == pytest.approx(0.01, rel=0.01)
    assert statistics.stdev(gaps) == pytest.approx(0.01, rel=0.05)
    assert sum(gap > 0.01 for gap in gaps) / len(gaps) == pytest.approx(0.368, abs=0.02)


def test_even_arrivals_have_equal_gaps() -> None:
    times = due_times(load(arrivals="even", rate=4.0, seconds=1.0, warmup=0.5))
    assert list(times) == [-0.5, -0.25, 0.0, 0.25, 0.5, 0.75]


def test_the_seed_decides() -> None:
    assert due_times(load()) == due_times(load())
    assert due_times(load()) != due_times(load(seed=1))


def test_requests_may_end_it_earlier_and_time_too() -> None:
    assert (load(requests=50).window, load(requests=50).expected) == (0.5, 250)
    assert load(requests=5000).window == 20
    assert load(rate=None, requests=50).window == 20


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rate": 0.1, "seconds": 2.0}, "--rate 0.1 for 2 s is 0 requests"),
        ({"rate": 1000.0, "seconds": 1001.0}, "is 1,001,000 requests; 1 to 1,000,000"),
    ],
)
def test_a_load_of_nothing_or_too_much_is_refused(changes: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        load(**changes, warmup=0.0)


def test_names() -> None:
    names = [load(rate=2.5).name, load(rate=None).name, load(rate=None, callers=1).name]
    assert names == ["2.5/s", "8 callers", "1 caller"]
