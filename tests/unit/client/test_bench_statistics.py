"""Records -> figures, against distributions that are known."""

import time
from typing import Any

import numpy as np
import pytest

from attnvgg_client import Model
from attnvgg_client import _bench_remarks as remarks
from attnvgg_client import _bench_table as table
from attnvgg_client._bench_schedule import Load
from attnvgg_client._bench_statistics import Row, percentile, quantiles, summarise
from attnvgg_client._bench_tally import Outcome, Tally

LOAD = Load(rate=100.0, callers=8, seconds=10.0, warmup=1.0)
TINY, OTHER = (Model("tiny", version, version * 64, "cpu") for version in "12")


def tally(latencies: Any, model: Model | None = TINY, sent: float = 0.0, **changes: Any) -> Tally:
    """Answers to requests due from second 100 on, 10 ms apart; each was sent so much later."""
    made = Tally(start=100.0, end=110.0)
    for place, latency in enumerate(latencies):
        due = 100 + place / 100
        made.begin(due)
        made.due.append(due)
        made.sent.append(due + sent)
        made.done.append(due + latency)
        made.lateness.append(sent)
        made.arrived.append(due + latency)
        made.arrived_pictures.append(1)
        if model is not None:
            made.models[model] += 1
        made.server_ms["total"] = made.server_ms.get("total", 0.0) + 4.0
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def row(*arguments: Any, load: Load = LOAD, **changes: Any) -> Row:
    return summarise(load, tally(*arguments, **changes))


def test_percentiles_of_1_to_10000_are_their_ranks() -> None:
    values = np.random.default_rng(0).permutation(np.arange(1.0, 10_001))
    found = [percentile(values, p) for p in (50, 90, 95, 99, 99.9)]
    assert found == [5000, 9000, 9500, 9900, 9990]
    everything = quantiles(values, np.linspace(0, 1, 1001))
    assert (len(everything), everything[0], everything[500], everything[-1]) == (1001, 1, 5000, 1e4)


def test_a_quantile_is_a_value_that_was_measured() -> None:
    assert quantiles(np.array([3.0, 1.0]), np.array([0.0, 0.5, 0.51, 1.0])) == [1, 1, 3, 3]
    assert quantiles(np.array([]), np.array([0.5])) == []


def test_an_exponential_distribution() -> None:
    values = np.random.default_rng(0).exponential(0.02, 20_000)
    found = row(values, sent=0.001).latency_ms()
    for p in (50, 90, 95, 99):
        assert found[f"p{p}"] == pytest.approx(-20 * np.log(1 - p / 100), rel=0.05)
    assert found["mean"] == pytest.approx(20, rel=0.03)
    assert found["max"] == pytest.approx(values.max() * 1e3)


@pytest.mark.parametrize(("p", "enough"), [(50, 10), (90, 50), (95, 100), (99, 500), (99.9, 5000)])
def test_a_percentile_is_given_only_if_five_latencies_lie_beyond(p: float, enough: int) -> None:
    values = np.arange(float(enough))
    assert percentile(values, p) is not None
    assert sum(values > percentile(values, p)) == 5
    assert percentile(values[:-1], p) is None


def test_throughput_counts_what_came_within_the_window_whenever_it_was_asked() -> None:
    made = tally([0.5] * 1000)
    made.arrived.append(100.01)  # asked in the warm-up
    made.arrived_pictures.append(3)
    found = summarise(LOAD, made)
    # The requests of the last half second were answered after the window.
    assert found.requests_per_s == pytest.approx((950 + 1) / 10)
    assert found.pictures_per_s == pytest.approx((950 + 3) / 10)
    assert (found.requests, found.answered, found.failed) == (1000, 1000, 0)


def test_latency_counts_from_due_and_service_from_sent() -> None:
    found = row([0.030] * 600, sent=0.020)
    assert found.latency_ms()["p50"] == pytest.approx(30)
    assert found.service_ms == pytest.approx(10)
    assert found.elsewhere_ms == pytest.approx(6)
    assert found.server_ms == {"total": pytest.approx(4)}
    assert found.late == 1.0


def test_a_late_generator_is_said_and_a_punctual_one_is_not() -> None:
    made = tally([0.030] * 600)
    for place in range(30):
        made.lateness[place] = 0.25
    found = summarise(LOAD, made)
    assert found.late == pytest.approx(0.05)
    (said,) = remarks.warnings([found])
    assert "fell behind: 5.0% of the requests were sent more than 10 ms late" in said
    assert "worst 250 ms" in said
    assert remarks.warnings([row([0.030] * 600, sent=0.002)]) == []


def test_a_busy_generator_is_said() -> None:
    (said,) = remarks.warnings([row([0.01] * 600, cpu=9.5)])
    assert "used 0.95 cores" in said
    assert remarks.warnings([row([0.01] * 600, cpu=2.0)]) == []


def test_nothing_is_averaged_over_two_models() -> None:
    made = tally([0.01] * 6000)
    made.models[OTHER] = 3
    found = summarise(LOAD, made)
    assert set(found.latency_ms().values()) == {None}
    assert (found.quantiles_ms(), found.elsewhere_ms) == ([], None)
    (said,) = remarks.warnings([found])
    assert "the model changed while it ran (tiny/1 (sha256 111111111111) on cpu, tiny/2" in said
    line = table.body(found, 1)
    assert line.split()[-7:] == ["-"] * 7
    rows = [row([0.01] * 6000), row([0.01] * 6000, OTHER)]
    assert "the rows are of different models" in remarks.warnings(rows)[0]


def test_failures_have_no_latency_and_are_named() -> None:
    made = tally([0.01] * 600)
    for _ in range(2):
        made.begin(105.0)
        made.add(105.0, 105.0, Outcome("overloaded", "the queue is full"))
    made.begin(99.0)
    made.add(99.0, 99.0, Outcome("overloaded", "in the warm-up"))
    found = summarise(LOAD, made)
    assert (found.requests, found.answered, found.failed) == (602, 600, 2)
    assert remarks.failures([found]) == ["100/s: 2 failed, overloaded: the queue is full"]
    assert "those of the answered requests" in remarks.warnings([found])[0]


def test_nothing_at_all_is_no_crash() -> None:
    for end in (100.0, 110.0):
        found = row([], end=end)
        assert set(found.latency_ms().values()) == {None}
        assert (found.requests_per_s, found.cpu, found.late) == (0, 0, 0)
        assert table.body(found, 2)
        assert table.where([found])


def test_the_columns_stand_below_their_names() -> None:
    for batch in (1, 4):
        head, line = table.head(batch), table.body(row([0.0123] * 6000), batch)
        assert len(head) == len(line)
        for name in ("answered", "failed", "answers/s", "p50", "p99.9", "max"):
            assert line[head.index(name) + len(name) - 1] != " "
    _, head, line = table.where([row([0.0123] * 6000)])
    assert len(head) == len(line)


def test_the_window_takes_the_time_of_this_process() -> None:
    made = Tally(start=time.perf_counter())
    made.open_window()
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    made.close_window()
    assert 0.05 <= made.cpu < 0.2
    cpu = made.cpu
    made.close_window()
    assert made.cpu == cpu
