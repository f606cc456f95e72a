"""The process: what bad input costs, and when it does not start."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support import Server, running
from traffic import BAD, BOMB, MEMORY, SCANS, WEBP_BOMB, ask, chunks, peak_mb, png, refusal

GROWTH_MB = 150


@pytest.fixture(scope="module")
def server(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tiny_models, tmp_path_factory.mktemp("bentoml")) as server:
        assert ask(server, png(0)).status_code == 200
        yield server


def test_the_bombs_are_small() -> None:
    assert len(BOMB) < 60_000
    assert len(WEBP_BOMB) < 60_000
    assert len(SCANS) < 60_000


@MEMORY
@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_at_small_cost(server: Server, name: str) -> None:
    body, kind, status, code = BAD[name]
    before = peak_mb(server)
    answer = ask(server, body, kind)
    assert refusal(answer) == (status, code), answer.text
    assert peak_mb(server) - before < GROWTH_MB
    assert ask(server, png(2)).status_code == 200


@MEMORY
def test_an_endless_body_is_cut_off(server: Server) -> None:
    before = peak_mb(server)
    answer = ask(server, chunks(200_000_000), "image/jpeg")
    assert refusal(answer) == (413, "body_too_large")
    assert peak_mb(server) - before < GROWTH_MB


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"ATTNVGG_MODELS": "/nowhere"}, "ATTNVGG_MODELS is '/nowhere', which is no folder"),
        ({"ATTNVGG_PROVIDER": "cuda"}, "ATTNVGG_PROVIDER is 'cuda' but"),
        ({"ATTNVGG_ENGINE": "torch"}, "ATTNVGG_ENGINE is 'torch': input should be"),
        ({"ATTNVGG_DEFAULT_MODEL": "vgg"}, "ATTNVGG_DEFAULT_MODEL names 'vgg'; there is tiny"),
    ],
)
def test_what_cannot_work_does_not_start(
    tiny_models: Path, tmp_path: Path, settings: dict[str, str], says: str
) -> None:
    _assert_refuses(Server(tiny_models, tmp_path, **settings), says)


def test_a_broken_bundle_does_not_start(tiny_models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "tiny" / "1"
    folder.mkdir(parents=True)
    for file in (tiny_models / "tiny" / "1").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "model.onnx").write_bytes(b"cut off")
    _assert_refuses(Server(tmp_path / "models", tmp_path), "model.onnx has sha256")


def _assert_refuses(server: Server, says: str) -> None:
    try:
        code = server.process.wait(60)
    finally:
        server.process.kill()
        server.process.wait(30)
    log = server.log.read_text().strip()
    assert code == 1
    assert log.startswith("attnvgg: cannot start: ")
    assert says in log
    assert "\n" not in log
