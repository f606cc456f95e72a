"""attnvgg-export: makes bundles of checkpoints, shows and verifies them, hands them to Triton."""

import argparse
import sys
from pathlib import Path

from attnvgg_bundle import manifest
from attnvgg_bundle.manifest import Manifest
from attnvgg_export import triton_options
from attnvgg_export.formats import graphs, limit_of, listing

DESCRIPTION = f"""\
  build     writes the bundle of a checkpoint: its graph in one or more formats, each compared with
            PyTorch output by output, at batches of 1, 2, 3, 7 and 32 and at two other sizes. When
            one differs, nothing is written.
  inspect   says what a bundle is.
  verify    hashes every file of a bundle and runs its golden pictures through ONNX Runtime.
  triton    writes a model repository for NVIDIA Triton from a folder of bundles.

formats of build:
{listing()}

inspect, verify and triton need no torch.
Exit codes: 0 done, 1 it differs, 2 the input cannot be used, 130 interrupted.
"""


def main(argv: list[str] | None = None) -> int:
    """Runs a command; see DESCRIPTION for the exit codes."""
    arguments = _parser().parse_args(argv)
    commands = {"build": _build, "inspect": _inspect, "verify": _verify, "triton": _triton}
    try:
        return commands[arguments.command](arguments)
    except KeyboardInterrupt:
        return 130  # what was half-written is gone by now
    # Every package's errors are ValueErrors; ONNX and torch stay unimported until needed.
    except (ValueError, OSError) as error:
        print(f"attnvgg-export: {type(error).__name__}: {error}", file=sys.stderr)
        return 1 if _is_difference(error) else 2
    except ImportError as error:
        extra = "export" if arguments.command == "build" else "serve"
        print(f"attnvgg-export: {error}; pip install 'attnvgg[{extra}]'", file=sys.stderr)
        return 2


def _is_difference(error: Exception) -> bool:
    from attnvgg_bundle.compare import DifferenceError
    from attnvgg_export.errors import ParityError

    return isinstance(error, ParityError | DifferenceError | manifest.IntegrityError)


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
        help="of the formats above, with commas; onnx,torchscript is the default",
    )
    build.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="a data set: score the graphs on its test split, calibrate int8 on its training split",
    )
    build.add_argument("--notes", type=Path, help="Markdown for the end of the model card")
    for name, text in (("inspect", "what a bundle is"), ("verify", "is it what was exported")):
        commands.add_parser(name, help=text).add_argument("bundle", type=Path)
    triton_options.register(commands)
    return parser


def _build(arguments: argparse.Namespace) -> int:
    from attnvgg_export.build import build

    notes = arguments.notes.read_text(encoding="utf-8") if arguments.notes else ""
    formats = arguments.formats.split(",")
    bundle = build(arguments.checkpoint, arguments.out, formats, arguments.data, notes)
    _show(arguments.out, bundle)
    return 0


def _inspect(arguments: argparse.Namespace) -> int:
    _show(arguments.bundle, manifest.read(arguments.bundle))
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from attnvgg_export.golden import verify

    bundle, found = verify(arguments.bundle)
    print(f"{arguments.bundle}: {len(bundle.files)} files as exported")
    for name, differences in found.items():
        print(f"{name}: on {differences[0].batch} pictures within {limit_of(bundle.parity[name])}")
        for each in differences:
            print(f"{name} {each.output}: largest difference {each.largest:.2g}")
    for name, file in graphs(bundle).items():
        if name not in found:
            print(f"{name}: {file} has its hash; it was not run, which needs libtorch")
    return 0


def _triton(arguments: argparse.Namespace) -> int:
    from attnvgg_export.triton_repository import run

    print("\n".join(run(arguments)))
    return 0


def _show(folder: Path, bundle: Manifest) -> None:
    """What a bundle is, on one screen."""
    size = sum(file.bytes for file in bundle.files.values())
    spec, facts = bundle.input, bundle.provenance
    print(f"bundle    {bundle.name} version {bundle.version}, {size / 1e6:.1f} MB, in {folder}")
    print(f"network   {facts.get('network', 'unknown')}, {len(bundle.labels)} classes")
    if "gmacs" in facts:
        for label, what, unit in (("weights", "parameters", ""), ("cost", "gmacs", " GMAC")):
            kept, whole = facts[what]["exported"], facts[what]["checkpoint"]
            print(f"{label:<10}{kept:,}{unit} of the checkpoint's {whole:,}{unit}")
    print(f"input     {spec.name} uint8 [batch, {spec.height}, {spec.width}, 3], {spec.geometry}")
    if spec.sizes:
        low, high, step = spec.sizes.min, spec.sizes.max, spec.sizes.multiple
        print(f"sizes     both sides from {low} to {high} in steps of {step}")
    for output in bundle.outputs:
        print(f"output    {output.name} {list(output.shape)}")
    for name in graphs(bundle):
        _show_graph(name, bundle)
    for name, file in bundle.files.items():
        print(f"file      {name} {file.bytes:,} bytes sha256 {file.sha256[:12]}")
    for name, value in bundle.metrics.items():
        print(f"metric    {name} {value}")


def _show_graph(name: str, bundle: Manifest) -> None:
    """One format: its size, and what the comparison with PyTorch found."""
    facts = bundle.provenance.get("graphs", {}).get(name, {})
    counted = ", ".join(f"{value:,} {key}" for key, value in facts.items())
    print(f"graph     {name}: {counted or 'nothing is known'}")
    report = bundle.parity.get(name)
    if report:
        largest = report["largest_difference"]
        worst = max(largest, key=largest.get)
        allowed = limit_of(report)
        print(f"parity    {name}: at most {largest[worst]:.2g}, at {worst}; allowed {allowed}")
    if report and "held_out" in report:
        found = report["held_out"]
        moved = "".join(f", {level} {off:.2%}" for level, off in found["total_variation"].items())
        print(
            f"held out  {name}: {100 * found['loss']:+.2f} points lost, attention elsewhere{moved}"
        )


if __name__ == "__main__":
    sys.exit(main())
