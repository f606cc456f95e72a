"""The doctor's checks, each on a situation that it must see."""

import socket
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest

from attnvgg_serving import cli, doctor, keys, machine
from attnvgg_serving.engines import libraries
from attnvgg_serving.errors import StartError
from attnvgg_serving.settings import Settings


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BENTOML_HOST", "BENTOML_PORT", "ATTNVGG_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BENTOML_DO_NOT_TRACK", "True")


def levels(check: Callable[..., object], settings: Settings | None = None) -> dict[str, str]:
    """What the check says -> its level, lines joined by level."""
    found = list(check(settings or Settings()))  # type: ignore[call-overload]
    return {finding.says: finding.level for finding in found}


def one(check: Callable[..., object], settings: Settings | None = None) -> tuple[str, str]:
    ((says, level),) = levels(check, settings).items()
    return level, says


def installed(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    def version(name: str) -> str:
        if name not in packages:
            raise metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(metadata, "version", version)


def test_two_packages_of_onnxruntime_are_one_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, "bentoml", "onnxruntime", "onnxruntime-gpu")
    found = levels(machine.check_packages)
    (says,) = [says for says, level in found.items() if level == "warning"]
    assert "both installed" in says
    assert "`pip uninstall -y onnxruntime onnxruntime-gpu`, then install" in says


def test_an_emptied_onnxruntime_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, "bentoml", "onnxruntime")
    monkeypatch.setattr("importlib.import_module", ModuleType)
    level, says = one(machine.check_packages)
    assert level == "failure"
    assert "onnxruntime is empty" in says


def test_no_onnxruntime_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, "bentoml")
    assert one(machine.check_packages) == (
        "failure",
        "there is no onnxruntime; pip install 'attnvgg[serve]'",
    )


def test_a_gpu_is_looked_for_where_its_package_is(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, "onnxruntime")
    assert not levels(machine.check_gpu)
    installed(monkeypatch, "onnxruntime-gpu")
    monkeypatch.setattr(libraries, "missing", lambda provider: ["libcuda.so.1"])
    assert one(machine.check_gpu)[0] == "ok"
    assert "libcuda.so.1 cannot be loaded" in one(machine.check_gpu)[1]


def test_a_gpu_that_is_asked_for_and_not_there_is_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = Settings(provider="cuda")
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(libraries, "missing", lambda provider: ["libcuda.so.1"])
    level, says = one(machine.check_gpu, asked)
    assert level == "failure"
    assert "libcuda.so.1 cannot be loaded; install the NVIDIA driver" in says
    monkeypatch.setattr(libraries, "missing", lambda provider: [])
    monkeypatch.setattr(libraries, "driver", lambda: "the driver sees no GPU")
    assert one(machine.check_gpu, asked)[0] == "failure"
    monkeypatch.setattr(libraries, "driver", lambda: "")
    assert one(machine.check_gpu, asked)[0] == "ok"


def test_more_threads_than_cores_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 4)
    monkeypatch.setattr(machine, "share", lambda workers: 4 // workers)
    assert one(machine.check_cores, Settings(workers=2)) == (
        "ok",
        "4 cores, 2 workers with 2 threads a forward pass",
    )
    assert one(machine.check_cores, Settings(workers=2, engine_threads=3))[0] == "warning"


def test_too_few_files_for_the_connections_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (256, 1024))
    assert one(machine.check_files, Settings(max_connections=900))[0] == "ok"
    level, says = one(machine.check_files, Settings(max_connections=1000))
    assert (level, "ulimit -Hn 1100" in says) == ("warning", True)


def test_memory_is_the_least_of_the_limits(tmp_path: Path) -> None:
    assert machine.memory_mb(tmp_path) is None
    for name in ("proc", "sys/fs/cgroup/memory"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9 kB\nMemAvailable:   3000000 kB\n")
    assert machine.memory_mb(tmp_path) == 3072
    (tmp_path / "sys/fs/cgroup/memory.max").write_text("max\n")
    assert machine.memory_mb(tmp_path) == 3072
    (tmp_path / "sys/fs/cgroup/memory/memory.limit_in_bytes").write_text("2000000000\n")
    assert machine.memory_mb(tmp_path) == 2000
    (tmp_path / "sys/fs/cgroup/memory.max").write_text("1000000000\n")
    assert machine.memory_mb(tmp_path) == 1000


def test_too_little_memory_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "memory_mb", lambda: 600)
    assert one(machine.check_memory, Settings())[0] == "ok"
    level, says = one(machine.check_memory, Settings(workers=2))
    assert level == "warning"
    assert "up to 1022 MB" in says


def test_a_file_of_keys_that_others_may_write_is_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"bob {keys.generate()[1]}\n")
    path.chmod(0o640)
    assert one(doctor.check_keys, Settings(api_keys=path)) == ("ok", f"{path} is sound, mode 640")
    path.chmod(0o664)
    assert one(doctor.check_keys, Settings(api_keys=path))[0] == "warning"
    path.write_text("bob\n")
    with pytest.raises(StartError, match="line 1"):
        list(doctor.check_keys(Settings(api_keys=path)))


def test_an_open_address_without_keys_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_listens", lambda host, port: False)
    assert one(doctor.check_address)[0] == "warning"
    assert one(doctor.check_address, Settings(api_keys=tmp_path))[0] == "ok"
    monkeypatch.setenv("BENTOML_HOST", "127.0.0.1")
    assert one(doctor.check_address)[0] == "ok"
    monkeypatch.setenv("BENTOML_PORT", "99999")
    assert one(doctor.check_address)[0] == "failure"


def test_tracking_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    assert one(doctor.check_tracking)[0] == "ok"
    monkeypatch.delenv("BENTOML_DO_NOT_TRACK")
    assert one(doctor.check_tracking)[0] == "warning"


def test_a_port_that_is_taken_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        monkeypatch.setenv("BENTOML_HOST", "127.0.0.1")
        monkeypatch.setenv("BENTOML_PORT", str(port))
        assert f"port {port} is taken" in " ".join(levels(doctor.check_address))
    assert f"port {port} is taken" not in " ".join(levels(doctor.check_address))


def test_a_check_that_fails_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def check_one(settings: Settings) -> list[machine.Finding]:
        raise RuntimeError("odd\nthing")

    def check_two(settings: Settings) -> list[machine.Finding]:
        raise StartError("a line")

    monkeypatch.setattr(doctor, "CHECKS", (check_one, check_two, machine.check_cores))
    first, second, third = doctor.examine()
    assert first == machine.failure("one", r"the check itself failed: RuntimeError('odd\nthing')")
    assert second == machine.failure("two", "a line")
    assert third.what == "cores"


def test_a_new_key_is_one_that_the_server_knows(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["key", "bob", "--admin", "--rate", "5"]) == 0
    key, line = capsys.readouterr().out.splitlines()
    (parsed,) = keys.parse(line)
    assert (parsed.name, parsed.admin, parsed.rate) == ("bob", True, 5)
    assert key not in line
    assert cli.main(["key", "eve"]) == 0
    other, _ = capsys.readouterr().out.splitlines()
    assert other != key


@pytest.mark.parametrize(
    "arguments", [["b ob"], ["#bob"], ["bob", "--rate", "0"], ["bob", "--rate", "x"], []]
)
def test_a_key_that_the_file_cannot_hold_is_not_made(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code: object = cli.main(["key", *arguments])
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[-1].startswith("attnvgg-serve")
