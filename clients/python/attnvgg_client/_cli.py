"""The command `attnvgg`: its arguments, its exit codes."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from attnvgg_client._commands import (
    INTERRUPTED,
    NOT_AVAILABLE,
    PICTURE_FAILED,
    REFUSED,
    USAGE,
    complain,
    health,
    models,
    predict,
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

EXIT_CODES = """\
exit codes:
  0    all is well
  1    some picture could not be used, or an overlay not be written; the others were
  2    the command line is wrong; nothing was sent
  3    the server cannot be reached, is not ready, too busy, or too slow
  4    the server refused (unknown model, API key, ...) or gave an answer that makes no sense
  130  interrupted

environment:
  ATTNVGG_URL      where the server is, unless --url says so (http://127.0.0.1:3000)
  ATTNVGG_API_KEY  the API key; there is no flag for it, because others can see command lines
"""
BUSY = (APIConnectionError, DeadlineError, OverloadedError, RateLimitedError, UnavailableError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; every error becomes one line and an exit code."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
        sys.stdout.flush()
    except InvalidArgumentError as error:
        return complain(str(error), USAGE)
    except BUSY as error:
        return complain(str(error), NOT_AVAILABLE)
    except AttnVGGError as error:
        return complain(str(error), REFUSED)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has seen enough; without this Python complains once more when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PICTURE_FAILED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="attnvgg",
        description="Asks an attnvgg server what pictures show and where the network looked.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"attnvgg-client {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _predict_options(_command(commands, predict, "classify pictures, one line each"))
    _command(commands, models, "list the server's models")
    waiting = _command(commands, health, "ask whether the server is ready")
    waiting.add_argument("--wait", type=float, metavar="SECONDS", help="wait so long for it")
    return parser


def _command(commands: Any, run: Any, text: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        run.__name__,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(run=run)
    command.add_argument("--url", help="where the server is")
    command.add_argument(
        "--timeout",
        type=float,
        default=DEFAULT_TIMEOUT,
        metavar="SECONDS",
        help="for one request with its retries (%(default)g)",
    )
    command.add_argument("--json", action="store_true", help="one JSON object a line")
    return command


def _predict_options(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("files", nargs="+", metavar="FILE", help="JPEG, PNG or WebP; a URL; - for standard input")
    add("--overlay", metavar="OUT", help="draw where it looked: OUT.png, or a folder for several")
    add("--level", help="the map to draw (fused, or the last)")
    add("--top-k", type=int, default=5, metavar="N", help="labels to show (%(default)s)")
    add("--attention", action="store_true", help="with --json: the attention maps, too")
    add("--model", help="another model than the server's default")
    add("--version", dest="model_version", help="another version of it than the default")
