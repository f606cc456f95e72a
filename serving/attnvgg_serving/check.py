"""Can this process serve? Loads everything once and lets go of it again.

`bentoml serve` restarts a worker that fails to start for ever, so the service runs this in a
process of its own before there is any worker: the supervisor keeps no model in its memory, and
what would crash here crashes here.
"""

import logging
import sys

from attnvgg_serving import registry, settings, tracing, trial
from attnvgg_serving.errors import StartError
from attnvgg_serving.keys import KeyFile
from attnvgg_serving.settings import Settings

logger = logging.getLogger(__name__)


def main() -> int:
    """0 if a worker will start; otherwise one line on stderr and 1."""
    logging.basicConfig(level=logging.WARNING, format="attnvgg: %(message)s")
    try:
        for name in settings.unknown():
            logger.warning("%s is set, but there is no such setting", name)
        check(settings.load())
    except StartError as error:
        logger.error("cannot start: %s", error)
        return 1
    return 0


def check(settings: Settings) -> None:
    """Raises StartError unless every bundle is sound, something says which is the default, and
    keys and traces are as asked."""
    if settings.api_keys:
        KeyFile(settings.api_keys)
    tracing.asked()
    bundles = registry.scan(settings.models)
    names = {bundle.manifest.name for bundle in bundles}
    registry.default_name(settings.models, settings.default_model, names)
    for bundle in bundles:
        _, engine = trial.load(bundle.folder, settings)
        engine.close()


if __name__ == "__main__":
    sys.exit(main())
