"""What the package shows to the outside, and what it costs to import."""

import ast
import inspect
import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import attnvgg_client
from attnvgg_client import AsyncClient, Client, _errors


def test_all_is_sorted_and_true() -> None:
    assert attnvgg_client.__all__ == sorted(attnvgg_client.__all__)
    public = {name for name in vars(attnvgg_client) if not name.startswith("_")}
    assert public - set(attnvgg_client.__all__) == set()
    assert all(hasattr(attnvgg_client, name) for name in attnvgg_client.__all__)


def _verbs(client: type) -> dict[str, inspect.Signature]:
    members = inspect.getmembers(client, inspect.isfunction)
    shown = {name: member for name, member in members if not name.startswith("_")}
    return {name: inspect.signature(member) for name, member in shown.items()}


def _awaited(blocking: inspect.Signature) -> inspect.Signature:
    """The signature that predict_many must have in AsyncClient: it may differ in nothing but what
    it iterates over and what it returns."""
    images = blocking.parameters["images"]
    plain = images.annotation
    both = images.replace(annotation=f"{plain} | Async{plain}")
    parameters = {**blocking.parameters, "images": both}
    return blocking.replace(
        parameters=list(parameters.values()), return_annotation=f"Async{blocking.return_annotation}"
    )


def test_both_clients_have_the_same_verbs_with_the_same_arguments() -> None:
    expected = _verbs(Client)
    expected["predict_many"] = _awaited(expected["predict_many"])
    assert expected == _verbs(AsyncClient)
    verbs = {"predict", "predict_batch", "predict_many", "models", "health", "wait_until_ready"}
    assert set(expected) == verbs | {"close"}
    batch, many = expected["predict_batch"].parameters, expected["predict_many"].parameters
    assert list(many) == [*batch, "concurrency", "progress"]
    assert all(many[name] == batch[name] for name in batch if name != "images")
    blocking, awaited = (inspect.signature(kind.__init__) for kind in (Client, AsyncClient))
    for name in blocking.parameters:
        if name != "transport":
            assert blocking.parameters[name] == awaited.parameters[name]
    assert list(blocking.parameters) == list(awaited.parameters)


def test_every_error_is_in_the_tree_of_the_docstring_and_exported() -> None:
    kinds = [
        kind
        for kind in vars(_errors).values()
        if isinstance(kind, type) and issubclass(kind, Exception) and kind.__name__[0] != "_"
    ]
    for kind in kinds:
        assert issubclass(kind, attnvgg_client.AttnVGGError)
        assert f" {kind.__name__} " in f" {_errors.__doc__} ".replace("\n", " ")
        assert kind.__name__ in attnvgg_client.__all__
    assert set(_errors._BY_CODE.values()) <= set(kinds)


def test_errors_survive_a_process_boundary() -> None:
    error = _errors.status_error(503, "overloaded", "queue full", "r-1", 2.0)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is attnvgg_client.OverloadedError
    assert str(again) == str(error) == "queue full (503 overloaded, request r-1)"
    assert again.retry_after == 2.0


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (504, "deadline_exceeded", attnvgg_client.DeadlineError),
        (504, None, attnvgg_client.UnavailableError),
        (400, "invalid_image", attnvgg_client.PictureRejectedError),
        (400, "a_code_of_next_year", attnvgg_client.InvalidRequestError),
        (418, None, attnvgg_client.ServerError),
    ],
)
def test_errors_are_classed_by_code_and_then_by_status(
    status: int, code: str | None, kind: type
) -> None:
    error = _errors.status_error(status, code, "m")
    assert isinstance(error, kind)
    assert error.code == code or error.code == f"http_{status}"


def test_importing_is_light() -> None:
    script = (
        "import sys; before = set(sys.modules); import attnvgg_client;"
        "import json; print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    loaded = json.loads(run.stdout)
    tops = {name.split(".")[0] for name in loaded}
    heavy = {"numpy", "PIL", "httpx", "torch", "bentoml", "asyncio", "click", "rich"}
    heavy |= {"concurrent", "ssl", "httpcore", "matplotlib", "grpc", "argparse"}
    assert tops & heavy == set()
    assert {top for top in tops if top.startswith("attnvgg_")} == {"attnvgg_client"}
    assert len(loaded) < 150


def test_a_client_in_use_loads_neither_torch_nor_the_server() -> None:
    script = (
        "import sys; from attnvgg_client import Client; import numpy as np, httpx;"
        "c = Client(transport=httpx.MockTransport(lambda r: httpx.Response(500)), max_retries=0);\n"
        "try: c.predict(np.zeros((2, 2, 3), 'uint8'))\n"
        "except Exception as e: print(type(e).__name__)\n"
        "print([n for n in sys.modules if n.split('.')[0] in ('torch', 'bentoml')"
        " or n.startswith('attnvgg_') and not n.startswith('attnvgg_client')])"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    assert run.stdout.split("\n")[:2] == ["ServerError", "[]"]


def test_no_module_prints_asserts_or_filters_warnings() -> None:
    folder = Path(attnvgg_client.__file__).parent
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not isinstance(node, ast.Assert), path
            if isinstance(node, ast.Call) and path.name != "_commands.py":
                assert ast.unparse(node.func) not in ("print", "warnings.filterwarnings"), path
