"""Which component may import which, proved in a fresh interpreter.

The arrows that may exist: training -> bundle; export -> training, bundle; serving -> bundle;
client -> nobody. Serving, bundle and the client never import torch.
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "attnvgg_bundle": ROOT / "export",
    "attnvgg_export": ROOT / "export",
    "attnvgg_training": ROOT / "training",
    "attnvgg_serving": ROOT / "serving",
    "attnvgg_client": ROOT / "clients" / "python",
}
OURS = set(PACKAGES)
FORBIDDEN = {
    "attnvgg_bundle": (OURS - {"attnvgg_bundle"}) | {"torch", "onnxruntime", "bentoml", "httpx"},
    "attnvgg_training": {"attnvgg_export", "attnvgg_serving", "attnvgg_client", "bentoml", "onnx"},
    "attnvgg_export": {"attnvgg_serving", "attnvgg_client", "bentoml"},
    "attnvgg_serving": (OURS - {"attnvgg_serving", "attnvgg_bundle"}) | {"torch", "safetensors"},
    "attnvgg_client": (OURS - {"attnvgg_client"}) | {"torch", "bentoml", "onnxruntime"},
}


def modules(package: str) -> list[str]:
    """Every module of a package, by its files."""
    root = PACKAGES[package]
    names = [
        ".".join(path.relative_to(root).with_suffix("").parts)
        for path in sorted((root / package).rglob("*.py"))
        if path.parent.name != "triton_backend"  # runs inside Triton, with its modules
    ]
    return [name.removesuffix(".__init__") for name in names]


def loaded(imports: list[str]) -> set[str]:
    """The top-level names in sys.modules of a new interpreter that imported these."""
    code = f"import sys, {', '.join(imports)}\nprint(*{{m.split('.')[0] for m in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_a_package_imports_only_along_its_arrows(package: str) -> None:
    names = modules(package)
    assert package in names
    found = loaded(names)
    assert package in found
    assert not found & FORBIDDEN[package]


def test_with_triton_the_gateway_needs_no_onnxruntime() -> None:
    modules = ["service", "check", "doctor", "engines.triton"]
    found = loaded([f"attnvgg_serving.{module}" for module in modules])
    assert "tritonclient" in found
    assert "onnxruntime" not in found


def test_the_manifest_needs_only_the_standard_library() -> None:
    assert not loaded(["attnvgg_bundle.manifest"]) & {"numpy", "PIL", "torch"}


@pytest.mark.parametrize(
    "module", ["cli", "golden", "parity", "formats", "held_out", "errors", "triton_repository"]
)
def test_inspect_verify_and_triton_need_no_torch(module: str) -> None:
    assert not loaded([f"attnvgg_export.{module}"]) & {"torch", "onnx"}


def test_preprocess_can_be_copied_on_its_own() -> None:
    """The Triton repository gets a verbatim copy of the file."""
    source = ROOT / "export" / "attnvgg_bundle" / "preprocess.py"
    assert "attnvgg" not in source.read_text()


def test_no_test_and_no_script_needs_the_shared_folder() -> None:
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    needle = "../" + "shared"
    for name in tracked.stdout.split("\0"):
        if name.endswith((".py", ".toml", ".md", ".sh")) or name.startswith(("scripts/", ".ci/")):
            assert needle not in (ROOT / name).read_text(), name


@pytest.mark.parametrize(
    ("missing", "module", "call", "extra"),
    [
        ("torch", "training.commands", "train()", "train"),
        ("torch", "training.commands", "evaluate()", "train"),
        ("torch", "export.cli", "main(['build', 'x', '--out', 'm/1'])", "export"),
        ("onnxruntime", "export.cli", "main(['verify', 'x'])", "serve"),
    ],
)
def test_a_command_names_the_extra_that_is_missing(
    missing: str, module: str, call: str, extra: str
) -> None:
    code = (
        f"import sys; sys.modules['{missing}'] = None\n"
        f"import attnvgg_{module} as commands\nsys.exit(commands.{call})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert f"pip install 'attnvgg[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr
