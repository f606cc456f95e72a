"""What the figures hang on."""

import os
import platform
from pathlib import Path
from typing import Any

try:
    import uvloop
except ImportError:
    uvloop = None


def machine() -> dict[str, Any]:
    """The processor, its cores, the system, and what the load generator runs on."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    values = {key.strip(): value.strip() for key, value in pairs}
    return {
        "cpu": values.get("model name", platform.machine()),
        "cores": len(os.sched_getaffinity(0)),
        "system": platform.platform(),
        "python": platform.python_version(),
        "generator": f"uvloop {uvloop.__version__}" if uvloop else "asyncio",
        "load_at_start": os.getloadavg()[0],
    }
