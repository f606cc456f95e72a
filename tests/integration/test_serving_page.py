"""The page and its files over a socket: types, copies that still hold, and nothing else."""

import http.client
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from attnvgg_serving.http import page

pytestmark = pytest.mark.network

WEB = page.FOLDER
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    "": "text/plain; charset=utf-8",
}
FILES = sorted(path.relative_to(WEB).as_posix() for path in WEB.rglob("*") if path.is_file())
ADDRESSES = [f"/web/{name}" for name in FILES if name != page.INDEX]


@pytest.fixture(scope="module")
def client(gateway: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway) as client:
        yield client


def raw(gateway: str, method: str, path: str) -> http.client.HTTPResponse:
    """As it is written: httpx would tidy the path up."""
    connection = http.client.HTTPConnection(urlsplit(gateway).netloc, timeout=60)
    connection.request(method, path)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


@pytest.mark.parametrize("path", ["/", *ADDRESSES])
def test_every_file_is_given_as_it_is(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    file = WEB / (path.removeprefix("/web/") if path != "/" else page.INDEX)
    assert answer.content == file.read_bytes()
    assert answer.headers["content-type"] == TYPES[file.suffix]
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/", "/web/page.js"])
def test_a_copy_that_still_holds_is_not_sent_again(client: httpx.Client, path: str) -> None:
    first = client.get(path)
    etag = first.headers["etag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = client.get(path, headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b""), known
        assert again.headers["etag"] == etag
        assert again.headers["cache-control"] == "no-cache"
    for other in ('"other"', etag.strip('"'), ""):
        assert client.get(path, headers={"If-None-Match": other}).status_code == 200, other


def test_the_tag_is_of_the_content_and_not_of_the_machine(
    client: httpx.Client, tmp_path: Path
) -> None:
    """Two servers behind one address agree, and a file of another day with the same bytes too."""
    (tmp_path / "page.js").write_bytes((WEB / "page.js").read_bytes())
    (tmp_path / "icon.svg").write_bytes((WEB / "page.js").read_bytes()[:-1] + b"?")
    found = page.files(tmp_path)
    etag = client.get("/web/page.js").headers["etag"]
    assert (found["page.js"].etag, found["icon.svg"].etag == etag) == (etag, False)


@pytest.mark.parametrize("path", ["/", "/web/page.js", "/web/icon.svg"])
def test_head_tells_the_length_and_sends_nothing(client: httpx.Client, path: str) -> None:
    got, headed = client.get(path), client.head(path)
    assert (headed.status_code, headed.content) == (200, b"")
    for name in ("content-length", "content-type", "etag"):
        assert headed.headers[name] == got.headers[name]


@pytest.mark.parametrize(
    "path",
    [
        "/web",
        "/web/",
        "/web/index.html",  # it is at /
        "/web/samples",
        "/web/../http/page.py",
        "/web/%2e%2e/http/page.py",
        "/web/..%2fhttp%2fpage.py",
        "/web/..%5chttp%5cpage.py",
        "/web//page.js",
        "/web/./page.js",
        "/web/page.js/",
        "/web/page.js%00",
        "/web//etc/passwd",
        "/web/%2fetc%2fpasswd",
        "/web/page.js.map",
        "/web/src/main.tsx",
    ],
)
def test_there_is_nothing_else(gateway: str, path: str) -> None:
    answer = raw(gateway, "GET", path)
    assert answer.status == 404
    assert answer.getheader("content-type") == "application/json"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("path", ["/", "/web/page.js"])
def test_it_can_only_be_read(gateway: str, path: str, method: str) -> None:
    answer = raw(gateway, method, path)
    assert answer.status == 405
    assert set((answer.getheader("allow") or "").split(", ")) == {"GET", "HEAD"}


def test_the_page_is_told_to_trust_nobody(client: httpx.Client) -> None:
    headers = client.get("/").headers
    policy = dict(
        rule.strip().partition(" ")[::2] for rule in headers["content-security-policy"].split(";")
    )
    assert policy.pop("default-src") == "'none'"
    for nobody in ("base-uri", "form-action", "frame-ancestors", "trusted-types"):
        assert policy.pop(nobody) == "'none'"
    assert policy.pop("require-trusted-types-for") == "'script'"
    assert policy.pop("img-src") == "'self' blob:"
    assert policy == dict.fromkeys(["script-src", "style-src", "connect-src"], "'self'")
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["referrer-policy"] == "no-referrer"
    assert "camera=()" in headers["permissions-policy"]
