"""How many cores this process may really use."""

import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def cores(cgroup: Path = _CGROUP) -> int:
    """The cores of the affinity mask, or fewer where a container's quota allows fewer."""
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, min(count, quota(cgroup) or count))


def share(workers: int, cgroup: Path = _CGROUP) -> int:
    """What one of `workers` equal processes may use, at least one core."""
    return max(1, cores(cgroup) // workers)


def quota(cgroup: Path = _CGROUP) -> int | None:
    """A container's limit, rounded up to whole cores; None where there is none.

    Version 2 writes "150000 100000" or "max 100000" into one file, version 1 the same two numbers
    into two files, and -1 for no limit.
    """
    old = cgroup / "cpu"
    words = _read(cgroup / "cpu.max") or [
        *_read(old / "cpu.cfs_quota_us"),
        *_read(old / "cpu.cfs_period_us"),
    ]
    try:
        limit, period = (int(word) for word in words)
    except ValueError:  # "max", or no such files
        return None
    return -(-limit // period) if limit > 0 and period > 0 else None


def _read(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return []
