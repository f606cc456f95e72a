"""The warning of a server that others reach without a key."""

import logging
import socket
from pathlib import Path

import pytest

from attnvgg_serving import exposure
from attnvgg_serving.settings import Settings


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_the_address_is_that_of_the_inherited_socket(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as server:
        server.bind((address, 0))
        arguments = ["worker.py", "--fd", str(server.fileno()), "--backlog", "1"]
        assert exposure.listening(arguments) == address
        assert server.fileno() > 0  # it is still open
        server.getsockname()


@pytest.mark.parametrize("arguments", [[], ["--fd"], ["--fd", "x"], ["--fd", "99999"]])
def test_without_such_a_socket_nothing_is_known(arguments: list[str]) -> None:
    assert exposure.listening(arguments) is None


@pytest.mark.parametrize(
    ("address", "keys", "warned"),
    [
        ("0.0.0.0", None, True),
        ("::", None, True),
        ("192.0.2.1", None, True),
        ("127.0.0.1", None, False),
        ("::1", None, False),
        ("0.0.0.0", Path("keys"), False),
        (None, None, False),
    ],
)
def test_who_is_warned(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    address: str | None,
    keys: Path | None,
    warned: bool,
) -> None:
    monkeypatch.setattr(exposure, "listening", lambda arguments: address)
    with caplog.at_level(logging.WARNING):
        exposure.warn(Settings(api_keys=keys))
    assert ("needs no key" in caplog.text) is warned
