"""Log lines: one a request, in both forms, and none that a client could forge."""

import json
import logging
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnvgg_serving import logs
from attnvgg_serving.logs import JsonLines, Record, TextLines


def entry(message: str = "request", name: str = logs.requests.name, **fields: object) -> str:
    record = logging.LogRecord(name, logging.INFO, "", 0, message, (), None)
    record.created = 1_700_000_000.5
    record.fields = fields
    return TextLines().format(record)


def test_a_request_is_one_line_of_what_is_known() -> None:
    known = Record("r-1", "POST", "/v1/predict", status=200, model="tiny", ms=1.25, key="alice")
    assert entry(**known.fields()) == (
        "time=2023-11-14T22:13:20.500Z level=info request_id=r-1 method=POST route=/v1/predict "
        "status=200 model=tiny bytes_in=0 bytes_out=0 ms=1.25 key=alice"
    )


@given(st.text())
def test_no_value_ends_a_line_or_adds_a_field(value: str) -> None:
    line = entry(path=value, status=404)
    assert len(line.splitlines()) == 1
    assert line.isprintable()
    assert [word.split("=")[0] for word in shlex.split(line)][-2:] == ["path", "status"]


@given(st.text())
def test_json_gives_every_value_back(value: str) -> None:
    record = logging.LogRecord(logs.requests.name, logging.INFO, "", 0, "request", (), None)
    record.fields = {"path": value}
    line = JsonLines().format(record)
    assert len(line.splitlines()) == 1
    assert json.loads(line)["path"] == value


def failed(message: str, formatter: logging.Formatter) -> str:
    try:
        raise ValueError(message)
    except ValueError as error:
        info = (type(error), error, error.__traceback__)
    record = logging.LogRecord("attnvgg_serving.x", logging.ERROR, "", 0, "it failed", (), info)
    record.fields = {"request_id": "r-1"}
    return formatter.format(record)


def test_a_traceback_stands_behind_a_bar_with_the_requests_id() -> None:
    first, *others = failed("one\ntime=now level=info\r\x1b[2Jx", TextLines()).split("\n")
    assert 'level=error logger=attnvgg_serving.x message="it failed" request_id=r-1' in first
    assert others
    assert all(line.startswith("    | ") for line in others)
    assert others[-1] == "    | time=now level=info\\r\\x1b[2Jx"


def test_a_traceback_is_a_field_of_json() -> None:
    line = json.loads(failed("why", JsonLines()))
    assert (line["request_id"], line["level"]) == ("r-1", "error")
    assert line["traceback"].endswith("ValueError: why")


def test_a_very_long_value_is_cut() -> None:
    assert len(entry(path="\n" * 100_000)) < 5000


@pytest.fixture
def _logger() -> object:
    logger = logging.getLogger(logs.ROOT)
    before = logger.handlers, logger.propagate, logger.level
    yield
    logger.handlers, logger.propagate, logger.level = before


@pytest.mark.usefixtures("_logger")
def test_lines_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup("json")
    logs.write(Record("r-1", "GET", "/v1/models", status=200))
    logs.write(Record("r-2", "GET", "/v1/models", status=503, code="overloaded"))
    out, err = capsys.readouterr()
    assert out == ""
    lines = [json.loads(line) for line in err.splitlines()]
    assert [(line["request_id"], line["level"]) for line in lines] == [
        ("r-1", "info"),
        ("r-2", "warning"),
    ]
