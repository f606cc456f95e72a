"""Who a process is, as torchrun says it; alone it asks nobody. test_torchrun.py has two."""

import pytest
import torch

from attnvgg_training.distributed import World, _lost
from attnvgg_training.errors import ConfigError, TrainingError


def test_without_torchrun_a_process_is_alone() -> None:
    world = World.from_environment({"RANK": "of some other program"})
    assert world == World(rank=0, size=1, local_rank=0)
    assert world.first


def test_torchruns_variables_say_who_a_process_is() -> None:
    environment = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}
    assert World.from_environment(environment) == World(rank=5, size=8, local_rank=1)
    assert not World(5, 8, 1).first


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({"WORLD_SIZE": "2"}, "RANK='', WORLD_SIZE='2', LOCAL_RANK=''"),
        ({"WORLD_SIZE": "two", "RANK": "0", "LOCAL_RANK": "0"}, "WORLD_SIZE='two'"),
    ],
)
def test_an_incomplete_environment_is_named(environment: dict[str, str], found: str) -> None:
    with pytest.raises(ConfigError, match=f"the environment has .*{found}.*; torchrun sets all"):
        World.from_environment(environment)


def test_alone_every_exchange_is_nothing() -> None:
    world, tensor = World(), torch.ones(3)
    with world.joined(torch.device("cpu")):
        assert world.sum(tensor) is tensor
        assert world.any(True) is True
        assert world.any(False) is False
        world.broadcast([tensor])
    assert torch.equal(tensor, torch.ones(3))
    assert not torch.distributed.is_initialized()


def test_a_device_is_named_or_found() -> None:
    assert World().device("cpu") == torch.device("cpu")
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert World().device(None).type == expected
    with pytest.raises(ConfigError, match="--device tpu9 cannot be used"):
        World().device("tpu9")


def test_several_processes_take_a_cuda_device_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    world = World(rank=1, size=2, local_rank=1)
    assert world._own_cuda(torch.device("cuda")) == torch.device("cuda", 1)
    with pytest.raises(ConfigError, match="--device cuda:0 names one device for 2 processes"):
        world._own_cuda(torch.device("cuda:0"))
    with pytest.raises(ConfigError, match="process 2 of this machine has no CUDA device, there"):
        World(2, 3, 2)._own_cuda(torch.device("cuda"))


def test_processes_that_do_not_meet_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    with (
        pytest.raises(ConfigError, match=r"did not find each other: .*MASTER_ADDR"),
        World.from_environment().joined(torch.device("cpu")),
    ):
        pass


def test_only_errors_about_other_processes_are_laid_at_their_door() -> None:
    peer = RuntimeError("[gloo/transport/tcp/pair.cc] Connection closed by peer [127.0.0.1]:1")
    assert _lost(peer)
    assert not _lost(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not issubclass(type(peer), TrainingError)
