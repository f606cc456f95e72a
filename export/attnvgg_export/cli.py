"""attnvgg-export: makes bundles of checkpoints, shows and verifies them."""

import argparse
import sys
from pathlib import Path

from attnvgg_bundle import manifest
from attnvgg_bundle.manifest import Manifest

DESCRIPTION = """\
  build     writes the bundle of a checkpoint: ONNX with a free batch axis and TorchScript, both
            compared with PyTorch output by output at batches 1, 2, 3 and 32. When one differs,
            nothing is written.
  inspect   says what a bundle is.
  verify    hashes every file of a bundle and runs its golden pictures through ONNX Runtime.

inspect and verify need no torch. Exit codes: 0 done, 1 it differs, 2 the input cannot be used.
"""


def main(argv: list[str] | None = None) -> int:
    """Runs a command; see DESCRIPTION for the exit codes."""
    arguments = _parser().parse_args(argv)
    commands = {"build": _build, "inspect": _inspect, "verify": _verify}
    try:
        return commands[arguments.command](arguments)
    # Every package's errors are ValueErrors; ONNX and torch stay unimported until needed.
    except (ValueError, OSError) as error:
        print(f"attnvgg-export: {type(error).__name__}: {error}", file=sys.stderr)
        return 1 if _is_difference(error) else 2
    except ImportError as error:
        print(f"attnvgg-export: {error}; pip install 'attnvgg[export]'", file=sys.stderr)
        return 2


def _is_difference(error: Exception) -> bool:
    from attnvgg_export.errors import ParityError

    return isinstance(error, ParityError | manifest.IntegrityError)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "attnvgg-export",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    build = commands.add_parser("build", help="checkpoint -> bundle", allow_abbrev=False)
    build.add_argument("checkpoint", type=Path, help="a checkpoint, such as RUN/last")
    build.add_argument("--out", type=Path, required=True, metavar="NAME/VERSION", help="the bundle")
    build.add_argument(
        "--formats",
        default="onnx,torchscript",
        help="onnx, or onnx,torchscript (the default)",
    )
    build.add_argument(
        "--data", type=Path, metavar="DIR", help="score the exported graph on its test split"
    )
    build.add_argument("--notes", type=Path, help="Markdown for the end of the model card")
    for name, text in (("inspect", "what a bundle is"), ("verify", "is it what was exported")):
        commands.add_parser(name, help=text).add_argument("bundle", type=Path)
    return parser


def _build(arguments: argparse.Namespace) -> int:
    from attnvgg_export.build import FORMATS, build

    formats = arguments.formats.split(",")
    if "onnx" not in formats or not set(formats) <= set(FORMATS):
        raise ValueError(
            f"--formats is {arguments.formats}; it must be onnx and may add torchscript"
        )
    notes = arguments.notes.read_text(encoding="utf-8") if arguments.notes else ""
    bundle = build(arguments.checkpoint, arguments.out, formats, arguments.data, notes)
    _show(arguments.out, bundle)
    for name in formats:
        largest = bundle.parity[name]["largest_difference"]
        worst = max(largest, key=largest.get)
        print(f"parity    {name}: at most {largest[worst]:.2g}, at {worst}")
    return 0


def _inspect(arguments: argparse.Namespace) -> int:
    _show(arguments.bundle, manifest.read(arguments.bundle))
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from attnvgg_export.golden import verify

    bundle, differences = verify(arguments.bundle)
    print(f"{arguments.bundle}: {len(bundle.files)} files as exported")
    for each in differences:
        print(f"{each.output}: largest difference {each.largest:.2g} over {each.batch} pictures")
    return 0


def _show(folder: Path, bundle: Manifest) -> None:
    size = sum(file.bytes for file in bundle.files.values())
    spec = bundle.input
    print(f"bundle    {bundle.name} version {bundle.version}, {size / 1e6:.1f} MB, in {folder}")
    print(f"network   {bundle.provenance.get('network', 'unknown')}, {len(bundle.labels)} classes")
    print(f"input     {spec.name} uint8 [batch, {spec.height}, {spec.width}, 3], {spec.geometry}")
    for output in bundle.outputs:
        print(f"output    {output.name} {list(output.shape)}")
    for name, file in bundle.files.items():
        print(f"file      {name} {file.bytes:,} bytes sha256 {file.sha256[:12]}")
    for name, value in bundle.metrics.items():
        print(f"metric    {name} {value}")


if __name__ == "__main__":
    sys.exit(main())
