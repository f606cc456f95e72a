"""attnvgg-convert: a file of the popular port becomes our checkpoint with equal outputs."""

import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from attnvgg_training import checkpoint, cifar100, commands, models, port
from attnvgg_training.convert import MEAN, STD, main
from ported import PUBLISHED, TINY, Weights, forward, random_weights

LEVELS = ("conv7", "conv10", "conv13")
CASES = [(tap, kind) for tap in ("before", "after") for kind in ("softmax", "sigmoid")]


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """The published widths take seconds a network; one test has them."""
    monkeypatch.setattr(port, "WIDTHS", TINY)


def converted(weights: object, folder: Path, *options: str) -> checkpoint.Network:
    torch.save(weights, folder / "net.pth")
    command = [str(folder / "net.pth"), "--out", str(folder / "ours"), *options]
    assert main(command) == 0
    return checkpoint.load_model(folder / "ours")[0]


def refused(file: Path, folder: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """What is said, in one line, where nothing is written."""
    chosen = options or ("--tap", "before", "--normalisation", "softmax")
    assert main([str(file), "--out", str(folder / "ours"), *chosen]) == 2
    assert not (folder / "ours").exists()
    said = capsys.readouterr().err
    assert said.startswith("attnvgg-convert: ")
    assert said.count("\n") == 1
    return said


def blocks() -> Tensor:
    """Four normalised pictures of large squares, which differ more than noise does."""
    coarse = torch.randn(4, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    return coarse.repeat_interleave(8, 2).repeat_interleave(8, 3)


def scores(model: checkpoint.Network, x: Tensor) -> list[Tensor]:
    """The scores before normalisation, of every level, from the network's own parts."""
    locals_, g = model.tapped(x)
    assert g is not None
    found = []
    for name, estimator in model.attention.items():
        lifted = estimator.lift(locals_[name])
        found.append(torch.einsum("c,bchw->bhw", estimator.u, lifted + g[:, :, None, None]))
    return found


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize(("tap", "kind"), CASES)
def test_the_outputs_are_the_ports(tap: str, kind: str, prefix: str, tmp_path: Path) -> None:
    weights = random_weights()
    named = {prefix + key: value for key, value in weights.items()}
    model = converted(named, tmp_path, "--tap", tap, "--normalisation", kind)
    x = blocks()
    with torch.inference_mode():
        expected, *raw = forward(weights, x, tap == "after", kind == "softmax")
        found = model.explain(x)
        assert torch.allclose(found.logits, expected, atol=1e-5)
        for level, c, ours in zip(LEVELS, raw, scores(model, x), strict=True):
            assert torch.allclose(ours, c, atol=1e-5)
            a = c.flatten(1).softmax(1).view_as(c) if kind == "softmax" else c.sigmoid()
            assert torch.allclose(c[0].numel() * found.maps[level], c[0].numel() * a, atol=1e-3)
    assert expected.std(0).max() > 0.01  # pictures differ, so a constant would not pass
    assert raw[0].shape == ((4, 32, 32) if tap == "before" else (4, 16, 16))


def test_the_published_network_fits_and_has_the_published_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """notes of the port: 19.99 M weights. Shapes alone: to make the numbers takes seconds."""
    monkeypatch.setattr(port, "WIDTHS", PUBLISHED)
    weights = random_weights(PUBLISHED, fill=False)
    torch.save(weights, tmp_path / "net.pth")
    ours = port.translate(port.read(tmp_path / "net.pth"), global_feature=True)
    plan = models.ModelConfig(projection="l-to-g", head_norm=False)
    with torch.device("meta"):
        model = models.build(plan, 100)
    expected = {key: value.shape for key, value in model.state_dict().items()}
    assert {key: value.shape for key, value in ours.items()} == expected
    names = ("running_mean", "running_var", "num_batches_tracked")
    theirs = sum(v.numel() for key, v in weights.items() if not key.endswith(names))
    assert theirs / 1e6 == pytest.approx(19.99, abs=0.005)
    folded = 64 * 2 + 128 * 2 + 256 * 3 + 512 * 8  # the convolutions' biases
    assert models.parameters(model) == theirs - folded


def test_attention_off_is_the_control_without_its_heads_norm(tmp_path: Path) -> None:
    weights = random_weights(attention=False, classes=7)
    labels = tmp_path / "labels.txt"
    labels.write_text("a\nb\nc\nd\ne\nf\n\ng\n")
    model = converted(weights, tmp_path, "--labels", str(labels))
    x = torch.randn(4, 3, 32, 32)
    with torch.inference_mode():
        assert torch.allclose(model(x), forward(weights, x, False, True)[0], atol=1e-5)
    record = checkpoint.read(tmp_path / "ours")
    assert record.config.model.name == "VGG-control"
    assert record.labels == tuple("abcdefg")


@pytest.mark.parametrize("tap", ["before", "after"])
def test_larger_pictures_need_softmax_where_nothing_depends_on_g(
    tap: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = random_weights(kernel=2)
    model = converted(weights, tmp_path, "--tap", tap, "--normalisation", "softmax")
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.allclose(model(x), forward(weights, x, tap == "after", True)[0], atol=1e-5)
    assert checkpoint.read(tmp_path / "ours").config.data.image_size == 64
    (tmp_path / "other").mkdir()
    options = ("--tap", tap, "--normalisation", "sigmoid")
    said = refused(tmp_path / "net.pth", tmp_path / "other", capsys, *options)
    assert "dense.weight has 2x2 positions, for pictures of 64 pixels" in said


def test_the_record_says_what_is_known_and_no_more(tmp_path: Path) -> None:
    converted(random_weights(), tmp_path, "--tap", "before", "--normalisation", "sigmoid")
    record = checkpoint.read(tmp_path / "ours")
    assert record.labels == cifar100.LABELS
    assert (record.mean, record.std) == (MEAN, STD)
    assert record.metrics == record.data == {}
    origin = record.provenance["converted_from"]
    assert origin["file"] == "net.pth"
    assert len(origin["sha256"]) == 64
    assert {path.name for path in (tmp_path / "ours").iterdir()} == {
        "checkpoint.json",
        "model.safetensors",
    }
    assert str(tmp_path) not in (tmp_path / "ours" / "checkpoint.json").read_text()


def test_labels_are_the_data_sets_own() -> None:
    assert len(cifar100.LABELS) == len(set(cifar100.LABELS)) == 100
    assert list(cifar100.LABELS) == sorted(cifar100.LABELS)
    assert cifar100.LABELS[1] == "aquarium_fish"


def test_old_files_without_counters_and_half_precision_are_read(tmp_path: Path) -> None:
    weights = {k: v.half() for k, v in random_weights().items() if v.is_floating_point()}
    model = converted(weights, tmp_path, "--tap", "before", "--normalisation", "softmax")
    x = torch.randn(2, 3, 32, 32)
    single = {key: value.float() for key, value in weights.items()}
    with torch.inference_mode():
        assert torch.allclose(model(x), forward(single, x, False, True)[0], atol=1e-5)


def without(key: str) -> Callable[[Weights], object]:
    return lambda weights: {k: v for k, v in weights.items() if k != key}


def with_(key: str, value: Any) -> Callable[[Weights], object]:
    return lambda weights: {**weights, key: value}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("attn2.op.weight"), "has no attn2.op.weight; a checkpoint of SaoYan/Learn"),
        (without("conv_block6.op.5.running_var"), "has no conv_block6.op.5.running_var"),
        (without("dense.bias"), "has no dense.bias"),
        (
            with_("conv_block3.op.6.weight", torch.zeros(8, 8, 5, 5)),
            "conv_block3.op.6.weight is 8x8x5x5; in a checkpoint of SaoYan/LearnToPayAttention it "
            "is 8x8x3x3",
        ),
        (with_("classify.weight", torch.zeros(100, 12)), "classify.weight is 100x12; .* Kx36"),
        (with_("dense.weight", torch.zeros(12, 12, 1, 2)), "dense.weight is .*1x2; .*12x12xkxk"),
        (with_("classify.bias", torch.zeros(10)), "classify.weight has 100 classes, .* 10"),
        (with_("attn1.op.bias", torch.zeros(1)), "has attn1.op.bias, which a checkpoint"),
        (with_("dense.bias", torch.full((12,), torch.nan)), "dense.bias is not all finite"),
        (with_("dense.bias", torch.zeros(12, dtype=torch.int64)), "dense.bias is not all finite"),
        (with_("epoch", 3), "'epoch' is a int; a state_dict has names and tensors"),
        (lambda weights: {"state_dict": weights}, "'state_dict' is a (Ordered)?[dD]ict"),
        (lambda weights: {f"module.{k}": v for k, v in weights.items()} | {"x": torch.ones(1)},
         "has no conv_block1.op.0.weight"),
        (lambda weights: {"features.0.weight": torch.zeros(64, 3, 3, 3)}, "no conv_block1.op.0.we"),
        (lambda weights: torch.zeros(3), "holds a Tensor; it must be a state_dict"),
        (lambda weights: {}, "holds a dict; it must be a state_dict"),
        (lambda weights: pickle.Pickler, "it is damaged, or pickled code, which is never run"),
    ],
)  # fmt: skip
def test_what_is_no_file_of_the_port_is_refused_by_name(
    change: Callable[[Weights], object],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    torch.save(change(random_weights()), tmp_path / "net.pth")
    said = refused(tmp_path / "net.pth", tmp_path, capsys)
    assert re.search(message, said), said


class Hostile:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("was-run"),))


def test_damaged_files_and_code_are_refused_and_nothing_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "net.pth"
    torch.save(random_weights(), file)
    whole = file.read_bytes()
    for content in (whole[: len(whole) // 2], whole[100:], b"", b"\x00" * 500, b"no pickle"):
        file.write_bytes(content)
        assert "it is damaged, or pickled code" in refused(file, tmp_path, capsys)
    for content in (pickle.dumps(Hostile()), pickle.dumps(random_weights())):
        file.write_bytes(content)
        assert "it is damaged, or pickled code" in refused(file, tmp_path, capsys)
    torch.save({"conv_block1.op.0.weight": Hostile()}, file)
    assert "it is damaged, or pickled code" in refused(file, tmp_path, capsys)
    assert not (tmp_path / "was-run").exists()
    assert "No such file" in refused(tmp_path / "missing.pth", tmp_path, capsys)
    assert "Is a directory" in refused(tmp_path, tmp_path, capsys)


def test_what_the_weights_do_not_tell_must_be_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "net.pth"
    torch.save(random_weights(), file)
    for options in (("--tap", "before"), ("--normalisation", "softmax")):
        assert "its weights do not tell" in refused(file, tmp_path, capsys, *options)
    torch.save(random_weights(attention=False), file)
    assert "without attention; --tap" in refused(file, tmp_path, capsys, "--tap", "before")
    torch.save(random_weights(classes=3), file)
    assert "3 classes; --labels is not given, and CIFAR-100 has 100" in refused(
        file, tmp_path, capsys
    )
    labels = tmp_path / "labels.txt"
    kind = ("--tap", "before", "--normalisation", "softmax", "--labels", str(labels))
    for text, message in (
        (b"a\nb\n", "3 classes; --labels has 2"),
        (b"a\nb\na\n", "--labels has 'a' twice"),
        (b"\xff\xfe", "labels.txt is not UTF-8 text"),
    ):
        labels.write_bytes(text)
        assert message in refused(file, tmp_path, capsys, *kind)


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--tap", "before", "--normalisation", "softmax")
    converted(random_weights(), tmp_path, *options)
    before = (tmp_path / "ours" / "model.safetensors").read_bytes()
    capsys.readouterr()
    assert main([str(tmp_path / "net.pth"), "--out", str(tmp_path / "ours"), *options]) == 2
    assert "exists; it must be a new folder" in capsys.readouterr().err
    assert (tmp_path / "ours" / "model.safetensors").read_bytes() == before


def test_the_command_is_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    torch.save(random_weights(), tmp_path / "net.pth")
    options = ["--tap", "after", "--normalisation", "sigmoid", "--out", str(tmp_path / "ours")]
    monkeypatch.setattr("sys.argv", ["attnvgg-convert", str(tmp_path / "net.pth"), *options])
    assert commands.convert() == 0
    values = json.loads((tmp_path / "ours" / "checkpoint.json").read_text())
    assert values["config"]["model"]["tap"] == "after"
    assert values["config"]["model"]["widths"] == list(TINY)
