"""What is measured must not fail what is done."""

import functools
import logging
from collections.abc import Callable
from typing import ParamSpec

logger = logging.getLogger(__name__)

P = ParamSpec("P")


def harmless(function: Callable[P, None]) -> Callable[P, None]:
    """The function without its exceptions: the first of them is logged.

    A full disk under the metrics' files, for example, is no reason to refuse a picture.
    """
    said = False

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        nonlocal said
        try:
            function(*args, **kwargs)
        except Exception:
            if not said:
                said = True
                logger.exception("%s failed; this is said once", function.__qualname__)

    return wrapped
