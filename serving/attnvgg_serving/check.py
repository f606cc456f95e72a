"""Can this process serve? Loads everything once and lets go of it again.

`bentoml serve` restarts a worker that fails to start for ever, so the service runs this in a
process of its own before there is any worker: the supervisor keeps no model in its memory, and
what would crash here crashes here.
"""

import logging
import sys

from attnvgg_serving import gateway, settings
from attnvgg_serving.errors import StartError

logger = logging.getLogger(__name__)


def main() -> int:
    """0 if a worker will start; otherwise one line on stderr and 1."""
    logging.basicConfig(level=logging.WARNING, format="attnvgg: %(message)s")
    try:
        for name in settings.unknown():
            logger.warning("%s is set, but there is no such setting", name)
        gateway.load(settings.load())
    except StartError as error:
        logger.error("cannot start: %s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
