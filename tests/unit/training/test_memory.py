"""Memory is kept from step to step: what was freed costs no page faults when it is taken again."""

import subprocess
import sys
from pathlib import Path

import pytest

HUGE = Path("/sys/kernel/mm/transparent_hugepage/enabled")
AGAIN = """
import resource, sys
import torch
from attnvgg_training import memory
if sys.argv[1] == "kept":
    memory.keep()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for turn in range(24):
    if turn == 4:
        before = faults()
    large = torch.ones(20_000_000)
    del large
print(faults() - before)
"""


def faults(how: str) -> int:
    """Of twenty times 80 MB, after the heap has found its size; 4 KB each where nothing is kept."""
    command = [sys.executable, "-c", AGAIN, how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return int(done.stdout)


@pytest.mark.skipif(
    not HUGE.is_file() or "[never]" in HUGE.read_text(), reason="no huge pages on this system"
)
def test_large_tensors_are_taken_again_without_page_faults() -> None:
    assert faults("kept") < faults("as it is") / 10
