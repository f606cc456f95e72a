"""docker-compose.yml, its override and the Dockerfiles, read but not run: scripts/compose-test runs
them."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[3]
BASE, CPU = ROOT / "docker-compose.yml", ROOT / "deploy" / "compose.cpu.yml"
DOCKERFILES = sorted((ROOT / "deploy").glob("*.Dockerfile"))
VARIABLE = re.compile(r"\$\{([A-Z_]+):-([^}]*)\}")
PINNED = re.compile(r"[\w./-]+(:v?[0-9][\w.-]*[0-9][\w.-]*|@sha256:[0-9a-f]{64})")


RESET = object()  # `!reset null`: what the override takes away
yaml.SafeLoader.add_constructor("!reset", lambda loader, node: RESET)


def read(path: Path) -> dict[str, Any]:
    """With every variable at its default."""
    found: dict[str, Any] = yaml.safe_load(VARIABLE.sub(r"\2", path.read_text()))
    return found


SERVICES: dict[str, dict[str, Any]] = read(BASE)["services"]
each_service = pytest.mark.parametrize("name", SERVICES)
one_shots = {name for name, service in SERVICES.items() if service["restart"] == "no"}


def test_every_variable_is_described_with_its_default() -> None:
    used: dict[str, str] = {}
    for path in (BASE, CPU):
        text = path.read_text()
        # Nothing is read without a default, and no variable has two.
        assert len(re.findall(r"\$\{?[A-Z_]", text)) - text.count("${VARIABLE}") == len(
            VARIABLE.findall(text)
        )
        for name, default in VARIABLE.findall(text):
            assert used.setdefault(name, default) == default, name
    described: dict[str, str] = {}
    before = ""
    for line in (ROOT / ".env.example").read_text().splitlines():
        if line and not line.startswith("#"):
            assert before.startswith("#"), f"{line} has no comment above it"
            name, _, value = line.partition("=")
            described[name] = value
        before = line
    assert described == used


def test_the_services_are_those_of_the_design() -> None:
    assert set(SERVICES) == {"keys", "repository", "triton", "gateway", "prometheus", "grafana"}
    assert one_shots == {"keys", "repository"}
    assert set(read(CPU)["services"]) <= set(SERVICES)


@each_service
def test_every_container_is_locked_in(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(mount.startswith("/tmp:size=") for mount in service["tmpfs"])
    assert {"privileged", "cap_add", "devices", "pid", "ipc"}.isdisjoint(service)
    assert not any("docker.sock" in volume for volume in service["volumes"])


@each_service
def test_every_container_is_bounded_and_watched(name: str) -> None:
    service = SERVICES[name]
    assert re.fullmatch(r"[0-9]+[mg]", service["mem_limit"])
    # Docker refuses more than the machine has; two is what a small one has.
    assert 0 < float(service["cpus"]) <= 2
    assert 0 < service["pids_limit"] <= 512
    assert set(service["logging"]["options"]) == {"max-size", "max-file"}
    if name in one_shots:
        assert service["network_mode"] == "none"
        return
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"][0] == "CMD"
    assert "curl" not in service["healthcheck"]["test"]
    assert int(service["stop_grace_period"].removesuffix("s")) > 10


@each_service
def test_every_image_is_pinned_and_none_runs_as_root(name: str) -> None:
    service = SERVICES[name]
    assert PINNED.fullmatch(service["image"]), service["image"]
    if "build" not in service:
        assert re.fullmatch(r"[1-9][0-9]*:[0-9]+", service["user"])


def test_a_vague_tag_would_be_noticed() -> None:
    for image in ("a/b", "a/b:latest", "a/b:3", "a:v3"):
        assert not PINNED.fullmatch(image)


def test_only_the_doors_are_published_and_on_loopback() -> None:
    published = {name: s["ports"] for name, s in SERVICES.items() if "ports" in s}
    assert published == {"gateway": ["127.0.0.1:3000:3000"], "grafana": ["127.0.0.1:3001:3000"]}
    assert read(BASE)["networks"]["inside"] == {"internal": True}
    for name in ("triton", "prometheus"):
        assert SERVICES[name]["networks"] == ["inside"]


def test_they_start_in_order() -> None:
    waits = {
        name: {on: how["condition"] for on, how in s.get("depends_on", {}).items()}
        for name, s in SERVICES.items()
    }
    ended, healthy = "service_completed_successfully", "service_healthy"
    assert waits["triton"] == {"repository": ended}
    assert waits["gateway"] == {"keys": ended, "repository": ended, "triton": healthy}
    assert waits["prometheus"] == {"keys": ended}
    assert waits["grafana"] == {"keys": ended, "prometheus": healthy}


def test_what_only_one_writes_others_mount_read_only() -> None:
    """The volumes, and who may write to them."""
    writers: dict[str, set[str]] = {}
    for name, service in SERVICES.items():
        for volume in service["volumes"]:
            if not volume.endswith(":ro"):
                writers.setdefault(volume.split(":")[0], set()).add(name)
    assert writers == {
        "bundles": {"repository"},
        "repository": {"repository"},
        "keys": {"keys"},
        "metrics-key": {"keys"},
        "grafana-password": {"keys"},
        "prometheus": {"prometheus"},
        "grafana": {"grafana"},
    }
    assert set(writers) == set(read(BASE)["volumes"])


def test_mounted_folders_exist() -> None:
    sources = [v.split(":")[0] for s in SERVICES.values() for v in s["volumes"]]
    for source in filter(lambda s: s.startswith("./"), sources):
        assert (ROOT / source).is_dir(), source


def test_triton_takes_batches_as_large_as_the_gateway_sends() -> None:
    (largest,) = re.findall(r"--max-batch=(\d+)", " ".join(SERVICES["repository"]["command"]))
    assert int(SERVICES["gateway"]["environment"]["ATTNVGG_MAX_BATCH"]) <= int(largest)


def test_the_gateway_sets_what_is_a_setting() -> None:
    from attnvgg_serving import settings

    environment = SERVICES["gateway"]["environment"]
    assert settings.unknown(environment) == []
    named = {name.removeprefix("ATTNVGG_").lower() for name in environment if "ATTNVGG" in name}
    values: dict[str, Any] = {name: environment[f"ATTNVGG_{name.upper()}"] for name in named}
    assert settings.Settings(**values).engine == "triton"


def test_one_gpu_is_reserved_and_the_override_gives_it_back() -> None:
    (device,) = SERVICES["triton"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    override = read(CPU)["services"]
    assert override["triton"]["deploy"] is RESET
    gpu, cpu = SERVICES["repository"]["command"], override["repository"]["command"]
    assert {"--kind=gpu"} == set(gpu) - set(cpu)
    assert {"--kind=cpu", "--backend=python"} == set(cpu) - set(gpu)


def instructions(path: Path) -> Iterator[tuple[str, str]]:
    """Each instruction of a Dockerfile with its arguments, on one line, without comments."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.M).replace("\\\n", " ")
    for line in filter(None, text.splitlines()):
        word, _, rest = line.partition(" ")
        yield word, " ".join(rest.split())


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_a_dockerfile_is_pinned_and_not_root(path: Path) -> None:
    found = list(instructions(path))
    (base,) = (rest for word, rest in found if rest.startswith("BASE_IMAGE="))
    assert PINNED.fullmatch(base.removeprefix("BASE_IMAGE="))
    assert {rest.split()[0] for word, rest in found if word == "FROM"} == {"${BASE_IMAGE}"}
    last = len(found) - [word for word, _ in found][::-1].index("FROM")
    final = dict(found[last:])
    assert re.fullmatch(r"([1-9][0-9]*):\1", final["USER"])
    assert final["CMD"].startswith('["')
    assert '["python' in final["HEALTHCHECK"]
    assert final["STOPSIGNAL"] == "SIGTERM"
    assert "ADD" not in {word for word, _ in found}
    for word, rest in found:
        for command in rest.split("&&") if word == "RUN" else ():
            if " install " in f" {command} " and "pip" in command:
                check_pins(command)


def check_pins(command: str) -> None:
    """What pip installs has a version, a file of versions, or is ours."""
    assert "--no-cache-dir" in command or "--python" in command
    words = command.split(" install ", 1)[1].replace('"', "").split()
    for word in words:
        named = not word.startswith(("-", "/", "$", "deploy/", "|"))
        assert not named or "==" in word, f"{word} in {command}"


def constraints() -> dict[str, str]:
    lines = (ROOT / "deploy" / "constraints.txt").read_text().splitlines()
    pins = [line.split("#")[0].strip() for line in lines if line and not line.startswith("#")]
    parsed = [Requirement(pin) for pin in pins]
    return {canonicalize_name(each.name): str(each.specifier) for each in parsed}


def test_the_constraints_hold_what_the_extras_ask_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    dockerfile = (ROOT / "deploy" / "gateway.Dockerfile").read_text()
    names = re.findall(r"\[([a-z,]+)\]\"", dockerfile)[0].split(",")
    pins = constraints()
    for text in [*project["dependencies"], *(line for name in names for line in extras[name])]:
        wanted = Requirement(text)
        pin = pins[canonicalize_name(wanted.name)]
        assert pin.startswith("=="), wanted
        assert wanted.specifier.contains(pin.removeprefix("==")), f"{wanted} and {pin}"
    assert not {name for name in pins if name.startswith(("torch", "nvidia-cu", "triton-"))}
