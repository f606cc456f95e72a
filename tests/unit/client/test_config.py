"""Where the server is and how patiently it is asked."""

import pytest

from attnvgg_client import AsyncClient, Client, InvalidArgumentError
from attnvgg_client._config import DEFAULT_URL, resolve

SECRET = "s3cret-key"


def test_the_environment_fills_what_was_not_given() -> None:
    environment = {"ATTNVGG_URL": "http://there:1/x/", "ATTNVGG_API_KEY": f" {SECRET}\n"}
    found = resolve(None, None, 30, 2, environment)
    assert (found.url, found.api_key) == ("http://there:1/x", SECRET)
    found = resolve("http://here", "other", 30, 2, environment)
    assert (found.url, found.api_key) == ("http://here", "other")
    assert resolve(None, None, 30, 2, {}).url == DEFAULT_URL


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_the_key_is_shown_nowhere(kind: type) -> None:
    client = kind(api_key=SECRET)
    assert SECRET not in repr(client) + repr(vars(client)) + client.url


@pytest.mark.parametrize(
    "url", ["localhost:3000", "ftp://host", "http://", "http://h:port", "http://h/?key=1", 7]
)
def test_a_url_that_cannot_be_right_is_named(url: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"url is .* it must be like http://"):
        Client(url)


@pytest.mark.parametrize(
    "url",
    ["https://host", "triton+http://host:8000/prefix", "triton+https://host", "grpc://[::1]:8001"],
)
def test_every_protocol_has_its_scheme(url: str) -> None:
    assert resolve(url, None, 30, 2, {}).url == url


@pytest.mark.parametrize("url", ["grpc://host", "grpc://host:8001/path", "grpcs://host"])
def test_grpc_has_a_port_and_no_path(url: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"url is .* it must be like grpcs?://host:8001"):
        resolve(url, None, 30, 2, {})


def test_secrets_do_not_reach_the_messages() -> None:
    with pytest.raises(InvalidArgumentError, match="api_key") as refused:
        Client(f"http://user:{SECRET}@host")
    assert SECRET not in str(refused.value)
    with pytest.raises(InvalidArgumentError, match="header") as refused:
        Client(api_key=f"{SECRET}\nX-Evil: 1")
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"timeout": 0}, "timeout is 0"),
        ({"timeout": float("inf")}, "timeout is inf"),
        ({"timeout": None}, "timeout is None"),
        ({"max_retries": -1}, "max_retries is -1"),
        ({"max_retries": True}, "max_retries is True"),
    ],
)
def test_numbers_are_checked(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        Client(**arguments)  # type: ignore[arg-type]
