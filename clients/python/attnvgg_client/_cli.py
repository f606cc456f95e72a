"""The command `attnvgg`: its arguments, its exit codes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from attnvgg_client import _cli_bench
from attnvgg_client._cli_help import ABOUT, BENCH, ENVIRONMENT, EXIT_CODES, HEALTH, MODELS, PREDICT
from attnvgg_client._cli_terminal import (
    FAILED,
    INTERRUPTED,
    NOT_AVAILABLE,
    REFUSED,
    USAGE,
    OutputError,
    complain,
    silence,
)
from attnvgg_client._config import DEFAULT_TIMEOUT
from attnvgg_client._errors import (
    APIConnectionError,
    AttnVGGError,
    DeadlineError,
    InvalidArgumentError,
    OverloadedError,
    RateLimitedError,
    UnavailableError,
)
from attnvgg_client._version import __version__

BUSY = (APIConnectionError, DeadlineError, OverloadedError, RateLimitedError, UnavailableError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; every error becomes one line and an exit code."""
    try:
        options = _parser().parse_args(arguments)
        code: int = options.run(options)
        if sys.stdout is not None:
            sys.stdout.flush()
    except InvalidArgumentError as error:
        return complain(str(error), USAGE)
    except BUSY as error:
        return complain(str(error), NOT_AVAILABLE)
    except OutputError as error:
        silence()
        return complain(str(error), FAILED)
    except AttnVGGError as error:
        return complain(str(error), REFUSED)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        silence()  # the reader has seen enough
        return FAILED
    except OSError as error:
        silence()
        return complain(str(error), FAILED)
    return code


class _Parser(argparse.ArgumentParser):
    """Mistakes are one line here, too: no usage over half a screen."""

    def error(self, message: str) -> NoReturn:
        raise InvalidArgumentError(f"{message} (see {self.prog} --help)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="attnvgg",
        description=ABOUT,
        epilog=f"{EXIT_CODES}\n{ENVIRONMENT}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"attnvgg-client {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _predict_options(_command(commands, "predict", _predict, PREDICT))
    _json_option(_command(commands, "models", _models, MODELS))
    health = _command(commands, "health", _health, HEALTH)
    health.add_argument("--wait", type=float, metavar="SECONDS", help="wait so long for it")
    _json_option(health)
    bench = _command(commands, "bench", _cli_bench.run, BENCH)
    _json_option(bench)
    _cli_bench.add_options(bench)
    return parser


def _command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int], texts: tuple[str, str]
) -> argparse.ArgumentParser:
    """texts: what it does in a few words, and examples."""
    what, examples = texts
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=what,
        description=f"{what[0].upper()}{what[1:]}.",
        epilog=f"examples:\n{examples}\n{EXIT_CODES}\n{ENVIRONMENT}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(run=run)
    command.add_argument(
        "--url", help="http(s)://HOST:PORT, or a Triton: grpc(s)://..., triton+http(s)://..."
    )
    command.add_argument(
        "--timeout",
        type=float,
        default=DEFAULT_TIMEOUT,
        metavar="SECONDS",
        help="for one request with its retries (%(default)g)",
    )
    return command


def _json_option(command: Any) -> None:
    command.add_argument("--json", action="store_true", help="one JSON object a line")


def _predict_options(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    files = "a JPEG, PNG or WebP file; a folder of them; a URL; - for standard input"
    add("files", nargs="+", metavar="PICTURE", help=files)
    formats = command.add_mutually_exclusive_group()
    _json_option(formats)
    formats.add_argument("--csv", action="store_true", help="a header, and one row a picture")
    out = "write JSON lines or CSV into a new file; a run that was cut short is continued"
    add("--out", metavar="FILE", help=out)
    add("--attention", action="store_true", help="the attention maps, too: their peaks, or in JSON")
    add("--overlay", metavar="OUT", help="draw where it looked: OUT.png, or a folder for several")
    add("--level", help="the map to draw (fused, or the last)")
    add("--top-k", type=int, default=5, metavar="N", help="labels to show (%(default)s)")
    add("--model", help="another model than the server's default")
    add("--version", dest="model_version", help="another version of it than the default")
    add("--concurrency", type=int, default=4, metavar="N", help="requests at a time (%(default)s)")
    add("--quiet", action="store_true", help="neither progress nor summary; complaints stay")


def _predict(options: argparse.Namespace) -> int:
    from attnvgg_client import _cli_predict  # loads asyncio

    return _cli_predict.run(options)


def _models(options: argparse.Namespace) -> int:
    from attnvgg_client import _commands

    return _commands.models(options)


def _health(options: argparse.Namespace) -> int:
    from attnvgg_client import _commands

    return _commands.health(options)
