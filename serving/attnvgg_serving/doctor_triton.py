"""The doctor's question to Triton: is it there, and does it serve what the models folder has?"""

from collections.abc import Iterator
from typing import Any

from attnvgg_serving.machine import Finding, failure, ok
from attnvgg_serving.settings import Settings
from attnvgg_serving.survey import Survey


def check_triton(found: Settings) -> Iterator[Finding]:
    """Who answers at ATTNVGG_TRITON_URL; nothing where another engine is asked for."""
    if found.engine != "triton":
        return
    try:
        import tritonclient.grpc as blocking

        from attnvgg_serving.engines import triton, triton_wire
    except ImportError:  # check_packages says it
        yield failure("triton", "it cannot be asked without tritonclient")
        return
    url = found.triton_url or ""
    client = blocking.InferenceServerClient(url, channel_args=triton_wire.CHANNEL)
    try:
        server = client.get_server_metadata(client_timeout=triton.ASK_SECONDS)
        index = client.get_model_repository_index(client_timeout=triton.ASK_SECONDS).models
    except blocking.InferenceServerException as error:
        why = triton_wire.line(error)
        yield failure(
            "triton",
            f"nobody answers at {url}: {why}; start Triton, or correct ATTNVGG_TRITON_URL",
        )
        return
    finally:
        client.close()
    yield from _compare(found, f"{server.name} {server.version} at {url}", index)


def _compare(found: Settings, who: str, index: Any) -> Iterator[Finding]:
    serves = {(model.name, model.version) for model in index if model.state == "READY"}
    why = {(model.name, model.version): model.reason for model in index}
    listed = ", ".join("/".join(key) for key in sorted(serves)) or "nothing"
    yield ok("triton", f"{who} serves {listed}")
    wanted = Survey(found.models).look() if found.models.is_dir() else {}
    for key in sorted(set(wanted) - serves):
        reason = " ".join(why.get(key, "").split())
        yield failure(
            "triton",
            f"it does not serve {'/'.join(key)}"
            + (f" ({reason})" if reason else "")
            + "; write its repository with `attnvgg-export triton`",
        )
