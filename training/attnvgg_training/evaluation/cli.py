"""attnvgg-evaluate: how often a checkpoint is right."""

import argparse
import sys
from pathlib import Path

from attnvgg_training.errors import TrainingError
from attnvgg_training.evaluation.accuracy import accuracy


def main(argv: list[str] | None = None) -> int:
    """Exit codes: 0 done, 2 the checkpoint or the data cannot be used."""
    parser = argparse.ArgumentParser("attnvgg-evaluate", description=__doc__, allow_abbrev=False)
    parser.add_argument("checkpoint", type=Path, help="a checkpoint, such as RUN/last")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the pictures")
    arguments = parser.parse_args(argv)
    try:
        found = accuracy(arguments.checkpoint, arguments.data)
    except (TrainingError, OSError) as error:
        print(f"attnvgg-evaluate: {error}", file=sys.stderr)
        return 2
    print(
        f"accuracy {100 * found.rate:.2f} % ({found.correct} of {found.total}; "
        f"95 % interval {100 * found.low:.2f} to {100 * found.high:.2f})"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
