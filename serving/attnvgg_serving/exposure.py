"""Who can reach this server, and a warning if that is more than the operator may have meant."""

import ipaddress
import logging
import os
import socket
import sys
from collections.abc import Sequence

from attnvgg_serving.settings import Settings

logger = logging.getLogger(__name__)


def warn(settings: Settings) -> None:
    """One line at start for a server that others can use without a key.

    BentoML listens on all interfaces by default, and tells the service neither the address of its
    configuration nor that of its command line in one place: the socket itself knows it.
    """
    address = listening(sys.argv)
    if settings.api_keys is None and address is not None and not _is_loopback(address):
        logger.warning(
            "this server listens on %s and needs no key: whoever reaches it can use it; "
            "set ATTNVGG_API_KEYS, or listen on loopback with --host 127.0.0.1",
            address,
        )


def listening(arguments: Sequence[str]) -> str | None:
    """The address of the socket that BentoML gives its workers as `--fd N`."""
    try:
        descriptor = int(arguments[arguments.index("--fd") + 1])
        with socket.socket(fileno=os.dup(descriptor)) as inherited:
            name = inherited.getsockname()
    except (ValueError, IndexError, OSError):
        return None
    return str(name[0]) if isinstance(name, tuple) else None


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
