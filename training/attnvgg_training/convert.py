"""attnvgg-convert: makes our checkpoint of a file of the popular port, with equal outputs.

The port is github.com/SaoYan/LearnToPayAttention; port.py says what is in its files.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from safetensors.torch import save as serialize

from attnvgg_training import checkpoint, cifar100, files, port
from attnvgg_training.checkpoint import RECORD, WEIGHTS, Record
from attnvgg_training.config import Config
from attnvgg_training.errors import CheckpointError, TrainingError
from attnvgg_training.models import ModelConfig, build
from attnvgg_training.port import Port

# Of the port's train.py: the pictures that its networks were trained on.
MEAN, STD = [0.5071, 0.4867, 0.4408], [0.2675, 0.2565, 0.2761]
TAPS, NORMALISATIONS = ("before", "after"), ("softmax", "sigmoid")


def main(argv: list[str] | None = None) -> int:
    """Exit codes: 0 done, 2 the file cannot be converted."""
    arguments = _parser().parse_args(argv)
    try:
        record = convert(
            arguments.file,
            arguments.out,
            arguments.tap,
            arguments.normalisation,
            _labels(arguments.labels) if arguments.labels else None,
        )
    except (TrainingError, OSError) as error:
        sys.stderr.write(f"attnvgg-convert: {error}\n")
        return 2
    done = f"{arguments.out}: {record.config.model.name}, {len(record.labels)} classes"
    sys.stdout.write(f"{done}; equal outputs, in evaluation mode\n")
    return 0


def convert(
    file: Path, out: Path, tap: str | None, normalisation: str | None, labels: list[str] | None
) -> Record:
    """Writes the checkpoint `out`, a new folder.

    Args:
        tap, normalisation: of TAPS and NORMALISATIONS; what the weights do not tell. None, both,
            for a network that was trained with attention off.
        labels: CIFAR-100's by default.

    Raises:
        CheckpointError: the file is no checkpoint of the port, or does not fit what is said of it.
        OSError: `out` cannot be written.
    """
    if out.exists():
        raise CheckpointError(f"--out {out} exists; it must be a new folder")
    source = port.read(file)
    config = _config(file, source, tap, normalisation)
    model = build(config.model, source.classes)
    model.load_state_dict(port.translate(source, config.model.global_feature))
    origin = {
        "file": file.name,
        "sha256": source.sha256,
        "port": "https://github.com/SaoYan/LearnToPayAttention",
    }
    record = Record(
        config=config,
        labels=_checked_labels(file, source.classes, labels),
        mean=MEAN,
        std=STD,
        metrics={},
        data={},
        provenance={**checkpoint.provenance(), "converted_from": origin},
    )
    weights = serialize({name: value.contiguous() for name, value in model.state_dict().items()})
    files.write_folder(out, {WEIGHTS: weights, RECORD: record.to_json().encode()})
    return record


def _config(file: Path, source: Port, tap: str | None, normalisation: str | None) -> Config:
    given = (tap, normalisation)
    if source.attention and None in given:
        raise CheckpointError(
            f"{file} has attention, and its weights do not tell of which kind: --tap must be one "
            f"of {', '.join(TAPS)}, --normalisation one of {', '.join(NORMALISATIONS)}"
        )
    if not source.attention and given != (None, None):
        raise CheckpointError(
            f"{file} was trained without attention; --tap and --normalisation must be left out"
        )
    # A larger `dense` is no linear layer of a mean; but with softmax nothing depends on g.
    expressible = source.kernel == 1
    if not expressible and normalisation != "softmax":
        raise CheckpointError(
            f"{file}: dense.weight has {source.kernel}x{source.kernel} positions, for pictures of "
            f"{32 * source.kernel} pixels; without softmax only one, for 32, can be converted"
        )
    model = ModelConfig(
        "VGG-att3-concat-pc" if source.attention else "VGG-control",
        widths=port.WIDTHS,
        dropout=0.0,
        head_dropout=0.0,
        head_norm=False,
        global_feature=expressible,
    )
    if source.attention:
        kind = {"projection": "l-to-g", "tap": tap, "normalisation": normalisation}
        model = replace(model, **kind)  # type: ignore[arg-type]
    return Config(model, replace(Config().data, image_size=32 * source.kernel))


def _checked_labels(file: Path, classes: int, labels: list[str] | None) -> tuple[str, ...]:
    chosen = cifar100.LABELS if labels is None else tuple(labels)
    if len(chosen) != classes:
        given = "--labels is not given, and CIFAR-100" if labels is None else "--labels"
        raise CheckpointError(f"{file} has {classes} classes; {given} has {len(chosen)}")
    if len(set(chosen)) < classes:
        twice = next(label for label in chosen if chosen.count(label) > 1)
        raise CheckpointError(f"--labels has {twice!r} twice; every class needs a name of its own")
    return chosen


def _labels(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except ValueError as error:
        raise CheckpointError(f"--labels {path} is not UTF-8 text: {error}") from error
    return [line.strip() for line in lines if line.strip()]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("attnvgg-convert", description=__doc__, allow_abbrev=False)
    parser.add_argument("file", type=Path, metavar="FILE.pth", help="a state_dict of the port")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="CHECKPOINT", help="a new folder"
    )
    parser.add_argument(
        "--tap",
        choices=TAPS,
        help="where attention looks: before the pools (AttnVGG_before, model1.py) or after them",
    )
    parser.add_argument(
        "--normalisation",
        choices=NORMALISATIONS,
        help="softmax if it was trained with --normalize_attn, sigmoid if not",
    )
    parser.add_argument(
        "--labels", type=Path, metavar="FILE", help="a name a line; CIFAR-100's by default"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
