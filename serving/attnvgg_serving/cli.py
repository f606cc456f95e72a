"""attnvgg-serve: what an operator does beside `bentoml serve`."""

import argparse
import logging
import sys

from attnvgg_serving.errors import ServingError

DESCRIPTION = """\
  doctor    looks at everything that `bentoml serve` needs, as it would find it here and now: the
            settings and where each comes from, the packages, the GPU's libraries and driver, cores
            and memory, the address, the key file, and every bundle: its hashes, its graph, and
            golden.npz through the engine. One line a check: ok, warning or failure.
  key       makes an API key: prints the key, which is shown this once, and the line for the file
            that ATTNVGG_API_KEYS names.

The server itself is started with `bentoml serve`; the settings are in docs/settings.md.
Exit codes: 0 it would serve, or done; 1 it would not; 2 wrong usage; 130 interrupted.
"""


def main(argv: list[str] | None = None) -> int:
    """Runs a command; see DESCRIPTION for the exit codes."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="attnvgg-serve: %(message)s")
    try:
        return {"doctor": _doctor, "key": _key}[arguments.command](arguments)
    except KeyboardInterrupt:
        return 130
    except (ServingError, ValueError, OSError) as error:
        print(f"attnvgg-serve: {error}", file=sys.stderr)
        return 2
    except ImportError as error:
        print(f"attnvgg-serve: {error}; pip install 'attnvgg[serve]'", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "attnvgg-serve",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("doctor", help="would it serve, and if not, why", allow_abbrev=False)
    key = commands.add_parser("key", help="a new API key", allow_abbrev=False)
    key.add_argument("name", metavar="NAME", help="whose it is; stands in the log of each request")
    key.add_argument("--admin", action="store_true", help="it may load and unload models")
    key.add_argument("--rate", type=int, metavar="N", help="requests a second; default: no limit")
    return parser


def _doctor(_: argparse.Namespace) -> int:
    from attnvgg_serving import doctor

    failures = 0
    for finding in doctor.examine():
        print(f"{finding.level:<8} {finding.what}: {finding.says}", flush=True)
        failures += finding.level == "failure"
    print("it would serve" if not failures else f"it would not serve: {failures} failed")
    return 1 if failures else 0


def _key(arguments: argparse.Namespace) -> int:
    from attnvgg_serving import keys

    key, digest = keys.generate()
    words = [arguments.name, digest, *(["admin"] if arguments.admin else [])]
    line = " ".join([*words, *([] if arguments.rate is None else [f"rate={arguments.rate}"])])
    # What the server would refuse, or read as a comment, is not printed.
    if [one.name for one in keys.parse(line)] != [arguments.name]:
        raise ValueError(f"NAME is {arguments.name!r}, which the file cannot hold")
    print(key)
    print(line)
    print("The first line is the key, the second is for the file of keys.", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
