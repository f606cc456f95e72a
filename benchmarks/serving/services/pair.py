"""Triton and, before it, the gateway: one process to start, to measure and to end.

    python pair.py '[[TRITON-BIN, TRITON, ARGUMENTS...], [BENTOML, ARGUMENTS...]]'

Triton's Python backend takes its packages from the first python3 on the path: TRITON-BIN is its
environment's. The gateway waits for Triton by itself.
"""

import json
import os
import signal
import subprocess
import sys
from types import FrameType


def main() -> int:
    """Ends when the gateway has ended; SIGTERM ends both, the gateway first."""
    (bin, *triton), gateway = json.loads(sys.argv[1])
    path = f"{bin}{os.pathsep}{os.environ['PATH']}"
    behind = subprocess.Popen(triton, env={**os.environ, "PATH": path})
    before = subprocess.Popen(gateway)

    def end(number: int, frame: FrameType | None) -> None:
        before.terminate()

    signal.signal(signal.SIGTERM, end)
    code = before.wait()
    behind.terminate()
    behind.wait()
    return code


if __name__ == "__main__":
    sys.exit(main())
