"""attnvgg-evaluate: accuracy over all and class by class, mirror images, the JSON."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from attnvgg_training import checkpoint, data
from attnvgg_training.data import Dataset, MemorySplit
from attnvgg_training.evaluation import accuracy as module
from attnvgg_training.evaluation.accuracy import Answers, Mirrored, answers, wilson
from attnvgg_training.evaluation.classes import per_class, table
from attnvgg_training.evaluation.cli import main

SHAPES = Path(__file__).parents[2] / "data" / "shapes"
LABELS = ("ant", "bee", "cat", "dog")


@dataclass(frozen=True)
class OnDisk:
    """A split that has no `images`, as one that reads files; it counts what it reads."""

    split: MemorySplit
    read: list[int]

    @property
    def targets(self) -> Tensor:
        return self.split.targets

    def __len__(self) -> int:
        return len(self.split)

    def pixels(self, indices: Tensor) -> Tensor:
        self.read.append(len(indices))
        return self.split.pixels(indices)


def test_classes_are_counted_each_for_itself() -> None:
    targets = torch.tensor([0, 0, 0, 0, 1, 1, 1, 2])
    predicted = torch.tensor([0, 0, 1, 2, 0, 0, 2, 2])
    ant, bee, cat, dog = per_class(Answers(predicted, targets, LABELS))
    assert ant.accuracy == wilson(2, 4)
    assert (ant.confused_with, ant.times) == ("bee", 1)  # equal to cat, and before it
    assert bee.accuracy == wilson(0, 3)
    assert (bee.confused_with, bee.times) == ("ant", 2)
    assert cat.accuracy == wilson(1, 1)
    assert (cat.confused_with, cat.times) == (None, 0)
    assert dog.accuracy is None


def test_the_table_has_a_line_a_class_in_the_order_of_the_labels() -> None:
    targets = torch.tensor([0, 0, 1])
    rows = per_class(Answers(torch.tensor([0, 1, 1]), targets, LABELS[:3]))
    head, *lines = table(rows).splitlines()
    assert head.split() == [
        "class",
        "pictures",
        "correct",
        "accuracy",
        "95",
        "%",
        "interval",
        "taken",
        "for",
    ]
    assert [line.split()[0] for line in lines] == ["ant", "bee", "cat"]
    assert lines[0].split() == ["ant", "2", "1", "50.00", "%", "9.45", "to", "90.55", "bee", "(1)"]
    assert lines[1].split()[-1] == "-"
    assert lines[2].split() == ["cat", "0"]


def test_a_mirrored_split_exchanges_left_and_right() -> None:
    images = torch.arange(2 * 2 * 3 * 3, dtype=torch.uint8).reshape(2, 2, 3, 3)
    split = Mirrored(MemorySplit(images, torch.tensor([0, 1])))
    found = split.pixels(torch.tensor([1]))
    assert torch.equal(found[0, 1, 0], images[1, 1, 2])
    assert torch.equal(found[0, 0, 1], images[1, 0, 1])


def test_flip_answers_by_the_mean_of_the_probabilities(tiny_checkpoint: Path) -> None:
    model, record = checkpoint.load_model(tiny_checkpoint)
    split = data.load(SHAPES, record.config.data).test
    pixels = split.pixels(torch.arange(len(split)))
    with torch.inference_mode():
        one, other = (
            model(data.normalise(each, record.mean, record.std)).softmax(1)
            for each in (pixels, pixels.flip(2))
        )
    plain, flipped = (answers(tiny_checkpoint, SHAPES, flip=flip) for flip in (False, True))
    assert torch.equal(plain.predicted, one.argmax(1))
    assert torch.equal(flipped.predicted, (one + other).argmax(1))
    assert not torch.equal(plain.predicted, flipped.predicted)  # else this test says nothing


def test_a_split_on_disk_is_read_in_batches(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = data.load(SHAPES, checkpoint.read(tiny_checkpoint).config.data)
    in_memory = answers(tiny_checkpoint, SHAPES)
    assert isinstance(whole.test, MemorySplit)
    on_disk = OnDisk(whole.test, [])
    monkeypatch.setattr(
        module.data, "load", lambda *_: Dataset(on_disk, on_disk, whole.labels, "shapes")
    )
    found = answers(tiny_checkpoint, SHAPES, batch_size=10)
    assert torch.equal(found.predicted, in_memory.predicted)
    assert on_disk.read == [10, 10, 4]


def test_the_printed_line_and_the_json_say_the_same(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "found.json"
    arguments = [str(tiny_checkpoint), "--data", str(SHAPES), "--json", str(file)]
    assert main([*arguments, "--flip", "--per-class", "--batch-size", "7"]) == 0
    line, head, *classes = capsys.readouterr().out.splitlines()
    found = json.loads(file.read_text())
    overall = found["accuracy"]
    assert overall["total"] == 24
    assert overall["rate"] == overall["correct"] / 24
    assert line.startswith(f"accuracy {100 * overall['rate']:.2f} % ({overall['correct']} of 24;")
    assert line.endswith("mean of each picture and its mirror image)")
    assert found["flip"] is True
    assert head.startswith("class")
    assert len(classes) == len(found["classes"]) == 3
    assert sum(each["accuracy"]["correct"] for each in found["classes"]) == overall["correct"]
    assert list(tmp_path.iterdir()) == [file]


def test_without_options_there_is_one_line(
    tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tiny_checkpoint), "--data", str(SHAPES)]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert "mirror" not in line


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--device", "tpu9"], "--device tpu9 cannot be used"),
        (["--batch-size", "0"], "--batch-size is 0; it must be 1 or more"),
        (["--json", "/nowhere/at/all.json"], "/nowhere/at"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    extra: list[str],
    message: str,
    tiny_checkpoint: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([str(tiny_checkpoint), "--data", str(SHAPES), *extra]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("extra", [[], ["--masks", "somewhere", "--flip"]])
def test_options_that_do_not_go_together_are_refused(extra: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["checkpoint", *extra])
