"""What a process and all its descendants use: CPU seconds and memory, from /proc."""

import os
from pathlib import Path
from typing import Any

TICKS = os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> list[int]:
    """The process and its descendants."""
    found, waiting = [], [pid]
    while waiting:
        each = waiting.pop()
        found.append(each)
        for task in Path(f"/proc/{each}/task").glob("*/children"):
            try:
                waiting += map(int, task.read_text().split())
            except OSError:  # the thread has ended
                continue
    return found


def cpu(pid: int) -> float:
    """CPU seconds of the tree, with those of children that have ended and were waited for."""
    return sum(_ticks(each) for each in tree(pid)) / TICKS


def begin(pid: int) -> float:
    """CPU seconds so far; from now on the peak of memory counts anew."""
    for each in tree(pid):
        try:
            Path(f"/proc/{each}/clear_refs").write_text("5")
        except OSError:  # not allowed: the peak is that since the process began
            continue
    return cpu(pid)


def end(pid: int, before: float) -> dict[str, Any]:
    """CPU seconds since `begin`, and the sum of the processes' peaks of resident memory."""
    used = cpu(pid) - before
    return {"server_cpu": used, "memory": sum(map(_peak, tree(pid))), "processes": len(tree(pid))}


def _ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return sum(map(int, fields[11:15]))  # utime, stime, cutime, cstime


def _peak(pid: int) -> int:
    """Bytes."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
