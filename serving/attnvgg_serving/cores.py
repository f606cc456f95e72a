"""How many cores this process may really use."""

import os
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def cores(quota: Path = _QUOTA) -> int:
    """The cores of the affinity mask, or fewer where a container's quota allows fewer."""
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, min(count, _limit(quota) or count))


def _limit(path: Path) -> int | None:
    """The quota of a cgroup v2 ("max 100000" or "150000 100000"), rounded up to whole cores."""
    try:
        quota, period = path.read_text(encoding="ascii").split()
        return -(-int(quota) // int(period))
    except (OSError, ValueError):
        return None
