"""Loading, swapping, refusing and unloading, with bundles made by hand and the real engine."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from attnvgg_serving import agreement, repository, worker
from attnvgg_serving.errors import EngineUnavailable, InvalidRequest, ModelNotFound, StartError
from attnvgg_serving.gateway import Gateway, Model
from attnvgg_serving.settings import Settings
from golden_bundle import BROKEN, change_golden, golden_bundle

FAR = float("inf")
Story = Callable[[Gateway], Awaitable[None]]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    golden_bundle(tmp_path / "models" / "plain" / "1", gain=1)
    return tmp_path / "models"


def settings(models: Path, **changes: object) -> Settings:
    values = {"models": models, "max_batch": 4, "engine_threads": 1, **changes}
    return Settings(**values)  # type: ignore[arg-type]


def run(models: Path, story: Story, **changes: object) -> Gateway:
    async def tell() -> Gateway:
        gateway = Gateway(settings(models, **changes))
        try:
            await gateway.start()
            await asyncio.wait_for(story(gateway), 60)
        finally:
            await gateway.close()
        return gateway

    return asyncio.run(tell())


def red(count: int = 1) -> NDArray[np.uint8]:
    pixels = np.zeros((count, 24, 32, 3), np.uint8)
    pixels[..., 0] = 255
    return pixels


async def gain(gateway: Gateway, model: Model | None = None) -> float:
    """The gain of the bundle that answers: what it says of a red picture."""
    model = model or gateway.registry.find(None, None)
    (ran,) = await gateway.infer(model, red(), ["descriptor"], FAR)
    return float(ran.outputs["descriptor"][0])


def states(gateway: Gateway) -> dict[str, str]:
    return {f"{e.name}/{e.version}": e.state for e in gateway.repository.index()}


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.02)


def test_a_new_version_is_served_beside_the_old_one(models: Path) -> None:
    async def story(gateway: Gateway) -> None:
        golden_bundle(models / "plain" / "2", gain=2)
        assert await gain(gateway) == 1
        await gateway.repository.load("plain")
        assert await gain(gateway) == 2
        assert await gain(gateway, gateway.registry.find("plain", "1")) == 1
        assert states(gateway) == {"plain/2": "READY", "plain/1": "READY"}

    run(models, story)


def test_a_changed_bundle_of_the_same_version_is_swapped_in(models: Path) -> None:
    async def story(gateway: Gateway) -> None:
        old = gateway.registry.find(None, None)
        shutil.rmtree(models / "plain" / "1")
        golden_bundle(models / "plain" / "1", gain=3)
        await gateway.repository.load("plain")
        assert await gain(gateway) == 3
        assert await gain(gateway, old) == 1, "who found the old one can still use it"

    run(models, story)


def test_an_unchanged_version_is_not_loaded_again(models: Path) -> None:
    async def story(gateway: Gateway) -> None:
        before = gateway.registry.find(None, None)
        await gateway.repository.load("plain")
        assert gateway.registry.find(None, None) is before

    run(models, story)


def test_the_old_engine_is_closed_when_the_last_request_let_go(models: Path) -> None:
    async def story(gateway: Gateway) -> None:
        held = gateway.registry.find(None, None)
        engine, batcher = held.engine, held.batcher
        closed = []
        engine.close = lambda: closed.append(True)  # type: ignore[method-assign]
        await gateway.repository.unload("plain")
        await asyncio.sleep(0.5)
        assert not closed
        assert await gain(gateway, held) == 1
        del held
        await until(lambda: bool(closed))
        assert not batcher.alive

    run(models, story)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_version_is_refused_and_the_old_one_serves_on(models: Path, name: str) -> None:
    damage, says = BROKEN[name]

    async def story(gateway: Gateway) -> None:
        golden_bundle(models / "plain" / "2", gain=2)
        damage(models / "plain" / "2")
        with pytest.raises(InvalidRequest) as caught:
            await gateway.repository.load("plain")
        assert says in caught.value.message
        assert caught.value.message.startswith("plain/2 is refused: ")
        assert str(models) not in caught.value.message
        assert "\n" not in caught.value.message
        assert await gain(gateway) == 1
        (refused, served) = gateway.repository.index()
        assert (refused.version, refused.state) == ("2", "UNAVAILABLE")
        assert says in refused.reason
        assert (served.version, served.state, served.reason) == ("1", "READY", "")

    run(models, story)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_change_of_a_version_is_refused(models: Path, name: str) -> None:
    damage, says = BROKEN[name]

    async def story(gateway: Gateway) -> None:
        shutil.rmtree(models / "plain" / "1")
        golden_bundle(models / "plain" / "1", gain=3)
        damage(models / "plain" / "1")
        with pytest.raises(InvalidRequest):
            await gateway.repository.load("plain")
        assert await gain(gateway) == 1
        (served,) = gateway.repository.index()
        assert served.state == "READY"
        assert says in served.reason

    run(models, story)


@pytest.mark.parametrize("name", BROKEN)
def test_nothing_starts_with_a_broken_bundle(models: Path, name: str) -> None:
    damage, says = BROKEN[name]
    golden_bundle(models / "plain" / "2")
    damage(models / "plain" / "2")

    async def story(gateway: Gateway) -> None:
        raise AssertionError("it started")

    with pytest.raises(StartError) as caught:
        run(models, story)
    assert says in str(caught.value)


def test_a_repaired_version_is_served(models: Path) -> None:
    async def story(gateway: Gateway) -> None:
        golden_bundle(models / "plain" / "2", gain=2)
        change_golden(models / "plain" / "2")
        with pytest.raises(InvalidRequest):
            await gateway.repository.load("plain")
        shutil.rmtree(models / "plain" / "2")
        golden_bundle(models / "plain" / "2", gain=2)
        await gateway.repository.load("plain")
        assert await gain(gateway) == 2
        assert {e.reason for e in gateway.repository.index()} == {""}

    run(models, story)


def test_unloading_and_loading_again(models: Path) -> None:
    async def story(gateway: Gateway) -> None:
        golden_bundle(models / "other" / "1")
        await gateway.repository.load("other")
        await gateway.repository.unload("plain")
        with pytest.raises(ModelNotFound, match="no model 'plain'; there is other"):
            gateway.registry.find(None, None)
        entries = {e.name: (e.state, e.reason) for e in gateway.repository.index()}
        assert entries == {"other": ("READY", ""), "plain": ("UNAVAILABLE", "unloaded")}
        await gateway.repository.unload("plain")
        await gateway.repository.load("plain")
        assert await gain(gateway) == 1

    run(models, story)


def test_without_any_model_it_is_not_ready(models: Path) -> None:
    async def story(gateway: Gateway) -> None:
        assert gateway.ready
        await gateway.repository.unload("plain")
        assert not gateway.ready
        with pytest.raises(ModelNotFound, match="there is none"):
            gateway.registry.find(None, None)

    run(models, story)


@pytest.mark.parametrize("name", ["nothing", "../models/plain", "", ".."])
def test_unknown_names_are_not_found(models: Path, name: str) -> None:
    async def story(gateway: Gateway) -> None:
        with pytest.raises(ModelNotFound, match=r"it has plain$"):
            await gateway.repository.load(name)
        with pytest.raises(ModelNotFound, match=r"there is plain$"):
            await gateway.repository.unload(name)

    run(models, story)


def test_loading_drops_versions_that_are_gone(models: Path) -> None:
    golden_bundle(models / "plain" / "2", gain=2)

    async def story(gateway: Gateway) -> None:
        shutil.rmtree(models / "plain" / "2")
        await gateway.repository.load("plain")
        assert states(gateway) == {"plain/1": "READY"}
        shutil.rmtree(models / "plain" / "1")
        with pytest.raises(ModelNotFound):
            await gateway.repository.load("plain")
        assert await gain(gateway) == 1, "the last one is unloaded by name only"

    run(models, story)


def test_the_default_follows_its_file(models: Path) -> None:
    async def story(gateway: Gateway) -> None:
        golden_bundle(models / "other" / "1", gain=5)
        await gateway.repository.load("other")
        assert gateway.registry.default == "plain", "nothing says another one"
        (models / "default").write_text("other\n")
        await gateway.repository.load("other")
        assert await gain(gateway) == 5
        (models / "default").write_text("nobody\n")
        await gateway.repository.load("other")
        assert gateway.registry.default == "other"

    run(models, story)


def test_a_caller_that_goes_away_leaves_no_half_made_change(models: Path) -> None:
    async def story(gateway: Gateway) -> None:
        golden_bundle(models / "plain" / "2", gain=2)
        call = asyncio.create_task(gateway.repository.load("plain"))
        await asyncio.sleep(0.01)
        call.cancel()
        await until(lambda: states(gateway).get("plain/2") == "READY")
        await gateway.repository.load("plain")

    run(models, story)


def test_a_look_follows_the_folder(models: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story(gateway: Gateway) -> None:
        golden_bundle(models / "plain" / "2", gain=2)
        await until(lambda: states(gateway).get("plain/2") == "READY")
        golden_bundle(models / "other" / "1")
        change_golden(models / "other" / "1")
        await until(lambda: states(gateway).get("other/1") == "UNAVAILABLE")
        await asyncio.sleep(0.5)  # many looks
        assert sum("other/1 is refused" in record.message for record in caplog.records) == 1
        shutil.rmtree(models / "other" / "1")
        golden_bundle(models / "other" / "1")
        await until(lambda: states(gateway).get("other/1") == "READY")
        shutil.rmtree(models / "other")
        await until(lambda: "other/1" not in states(gateway))
        await gateway.repository.unload("plain")
        await asyncio.sleep(0.5)
        assert states(gateway) == {"plain/2": "UNAVAILABLE", "plain/1": "UNAVAILABLE"}

    run(models, story, poll_s=0.05)


def test_a_folder_that_is_empty_for_a_while_takes_nothing_down(models: Path) -> None:
    async def story(gateway: Gateway) -> None:
        (models / "plain").rename(models.with_name("away"))
        await asyncio.sleep(0.5)
        assert await gain(gateway) == 1
        models.rmdir()
        await asyncio.sleep(0.5)
        assert await gain(gateway) == 1

    run(models, story, poll_s=0.05)


def test_a_version_is_gone_when_two_looks_in_a_row_miss_it(models: Path) -> None:
    """A folder may be away for the moment of a rename."""

    async def story(gateway: Gateway) -> None:
        repository = gateway.repository
        found = repository._survey.look()
        assert [repository._gone(each) for each in ({}, found, {}, {})] == [
            set(),
            set(),
            set(),
            {("plain", "1")},
        ]

    run(models, story)


def test_an_export_in_progress_is_passed_over(models: Path) -> None:
    async def story(gateway: Gateway) -> None:
        golden_bundle(models / "plain" / "2")
        (models / "plain" / "2").rename(models / "plain" / ".2.tmp-1")
        (models / "plain" / "3").mkdir()
        await gateway.repository.load("plain")
        assert states(gateway) == {"plain/1": "READY"}

    run(models, story)


def two(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, story: Callable) -> None:  # type: ignore[type-arg]
    """Two workers of one server, in one process."""
    (tmp_path / "run").mkdir(exist_ok=True)
    monkeypatch.setenv(agreement.VARIABLE, str(tmp_path / "run"))

    async def tell() -> None:
        workers = [Gateway(settings(models)), Gateway(settings(models))]
        for number, each in enumerate(workers):
            each.repository._worker._agreement._worker = str(number)
        await asyncio.gather(*(each.start() for each in workers))
        try:
            await asyncio.wait_for(story(*workers), 60)
        finally:
            for each in workers:
                await each.close()

    asyncio.run(tell())


def test_workers_agree_when_load_answers(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(first: Gateway, second: Gateway) -> None:
        golden_bundle(models / "plain" / "2", gain=2)
        await first.repository.load("plain")
        assert await gain(first) == await gain(second) == 2
        await second.repository.unload("plain")
        assert states(first) == states(second) == dict.fromkeys(states(first), "UNAVAILABLE")

    two(models, tmp_path, monkeypatch, story)


def test_two_changes_at_once_lose_none(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    golden_bundle(models / "other" / "1")
    (models / "default").write_text("plain\n")

    async def story(first: Gateway, second: Gateway) -> None:
        golden_bundle(models / "plain" / "2", gain=2)
        golden_bundle(models / "other" / "2", gain=3)
        golden_bundle(models / "third" / "1", gain=3)
        await asyncio.gather(
            first.repository.load("plain"),
            second.repository.load("other"),
            second.repository.load("third"),
            first.repository.unload("plain"),
        )
        expected = {
            "other/1": "READY",
            "other/2": "READY",
            "plain/1": "UNAVAILABLE",
            "plain/2": "UNAVAILABLE",
            "third/1": "READY",
        }
        assert states(first) == states(second) == expected

    two(models, tmp_path, monkeypatch, story)


def test_a_refusal_is_known_to_all_and_tried_by_one(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(first: Gateway, second: Gateway) -> None:
        golden_bundle(models / "plain" / "2", gain=2)
        change_golden(models / "plain" / "2")
        with pytest.raises(InvalidRequest):
            await first.repository.load("plain")
        assert first.repository.index() == second.repository.index()
        assert await gain(second) == 1

    two(models, tmp_path, monkeypatch, story)


def test_a_worker_that_comes_back_serves_what_was_decided(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    golden_bundle(models / "other" / "1")
    (models / "default").write_text("plain\n")

    async def story(first: Gateway, second: Gateway) -> None:
        await first.repository.unload("other")
        golden_bundle(models / "plain" / "2", gain=2)  # nobody was told
        third = Gateway(settings(models))
        third.repository._worker._agreement._worker = "2"
        await third.start()
        assert states(third) == states(first)
        assert await gain(third) == 1
        await third.close()

    two(models, tmp_path, monkeypatch, story)


def test_a_worker_does_not_join_with_less_than_the_others_serve(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(first: Gateway, second: Gateway) -> None:
        shutil.rmtree(models / "plain")
        third = Gateway(settings(models))
        third.repository._worker._agreement._worker = "2"
        with pytest.raises(StartError, match="the others serve plain/1, but its bundle is gone"):
            await third.start()
        await third.close()
        assert await gain(first) == await gain(second) == 1

    two(models, tmp_path, monkeypatch, story)


def test_a_worker_that_finds_another_bundle_takes_the_others_along(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(first: Gateway, second: Gateway) -> None:
        shutil.rmtree(models / "plain")
        golden_bundle(models / "plain" / "1", gain=4)
        third = Gateway(settings(models))
        third.repository._worker._agreement._worker = "2"
        await third.start()
        for each in (first, second, third):
            while await gain(each) != 4:
                await asyncio.sleep(0.02)
        await third.close()

    two(models, tmp_path, monkeypatch, story)


def test_a_run_folder_that_somebody_tidied_up_takes_nothing_down(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(first: Gateway, second: Gateway) -> None:
        (tmp_path / "run" / "state.json").unlink()
        await until((tmp_path / "run" / "state.json").is_file)
        golden_bundle(models / "plain" / "2", gain=2)
        await second.repository.load("plain")
        assert await gain(first) == await gain(second) == 2
        shutil.rmtree(tmp_path / "run")
        await asyncio.sleep(0.5)
        with pytest.raises(EngineUnavailable, match="No such file"):
            await second.repository.load("plain")
        assert await gain(first) == await gain(second) == 2

    two(models, tmp_path, monkeypatch, story)


def test_a_worker_that_does_not_follow_is_named(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "PATIENCE_S", 0.5)

    async def story(first: Gateway, second: Gateway) -> None:
        assert second.repository._follower
        second.repository._follower.cancel()
        golden_bundle(models / "plain" / "2", gain=2)
        with pytest.raises(EngineUnavailable, match=r"worker 1 has not followed within 0\.5 s"):
            await first.repository.load("plain")
        assert await gain(first) == 2

    two(models, tmp_path, monkeypatch, story)


def test_nobody_waits_for_a_dead_worker(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(first: Gateway, second: Gateway) -> None:
        await second.close()  # its lock is gone, as after a kill
        assert (tmp_path / "run" / "1.alive").is_file()
        golden_bundle(models / "plain" / "2", gain=2)
        await asyncio.wait_for(first.repository.load("plain"), 10)

    two(models, tmp_path, monkeypatch, story)


def test_index_says_what_is_on_its_way(models: Path) -> None:
    async def story(gateway: Gateway) -> None:
        golden_bundle(models / "plain" / "2", gain=2)
        call = asyncio.create_task(gateway.repository.load("plain"))
        while states(gateway).get("plain/2") != "LOADING":
            await asyncio.sleep(0)
        await call
        entry = gateway.repository.index()[0]
        assert entry == repository.Entry("plain", "2", "READY", "")

    run(models, story)
