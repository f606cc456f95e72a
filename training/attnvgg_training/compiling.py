"""torch.compile, whose failures become one line that says how to do without.

It compiles at the first step, forwards and backwards, so its errors come up from there.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from torch._dynamo.exc import TorchDynamoException

from attnvgg_training.errors import ConfigError


@contextmanager
def compiler_errors() -> Iterator[None]:
    """Around the steps of a compiled network.

    Raises:
        ConfigError: the compiler failed, such as for want of a C++ compiler.
    """
    try:
        yield
    except TorchDynamoException as error:
        inner = getattr(error, "inner_exception", error)
        reason = next(filter(None, map(str.strip, str(inner).splitlines())), repr(inner))
        raise ConfigError(
            f"--compile true failed: {reason.rstrip('.')}; it needs a C++ compiler such as g++, "
            "and --compile false does without"
        ) from error
