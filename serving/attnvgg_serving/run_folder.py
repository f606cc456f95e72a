"""The folder in which the workers of one server meet."""

import atexit
import fcntl
import os
import shutil
import tempfile

from attnvgg_serving.agreement import VARIABLE


def make() -> None:
    """For the supervisor: its workers inherit the environment, and it outlives each of them."""
    folder = tempfile.mkdtemp(prefix="attnvgg-")
    # systemd-tmpfiles removes what is old from /tmp, but nothing that is locked.
    fcntl.flock(os.open(folder, os.O_RDONLY), fcntl.LOCK_SH)
    os.environ[VARIABLE] = folder
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
