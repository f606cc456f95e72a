"""Runs attnvgg-train in processes that end with SIGKILL at a chosen moment.

    python killed_run.py

reads JSON lines {"argv": [...], "kill": [KIND, N] or null, "log": FILE} and answers each with the
exit status (negative: the signal). torch is imported once; each run is a process of its own, forked
before anything ran. KIND is `change` (before the Nth change to a file, link or folder of the run),
`write` (in the middle of the Nth file that is written whole), `step` (in the Nth step) or `count`,
which kills nobody and writes the number of each into LOG.count. `interrupt` is Ctrl-C in the Nth
step, and `twice` is two.
"""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import IO, Any

CHANGES = {"os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.symlink", "os.truncate", "open"}


class Killer:
    """The parent's end: one such process, asked for runs."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._runs = folder, 0
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> "Killer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        self._process.wait(60)

    def __call__(self, argv: list[str], kill: tuple[str, int] | None = None) -> tuple[int, str]:
        """Runs the command; exit status and what it said."""
        self._runs += 1
        log = self._folder / f"{self._runs}.log"
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps({"argv": argv, "kill": kill, "log": str(log)}) + "\n")
        stdin.flush()
        return int(stdout.readline()), log.read_text()

    def count(self, argv: list[str]) -> dict[str, int]:
        """How many moments of each kind a whole run has."""
        status, said = self(argv, ("count", 0))
        assert status == 0, said
        text = (self._folder / f"{self._runs}.log.count").read_text()
        return {str(kind): int(number) for kind, number in json.loads(text).items()}


def main() -> None:
    """Answers until its input ends."""
    import torch.utils.tensorboard  # noqa: F401  (before the first fork)

    import attnvgg_training.train  # noqa: F401

    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                status = _run(**request)
            finally:
                sys.stderr.flush()
                os._exit(status)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        sys.stdout.write(f"{code}\n")
        sys.stdout.flush()


def _run(argv: list[str], kill: list[Any] | None, log: str) -> int:
    from attnvgg_training.train import main as train

    stream: IO[bytes] = open(log, "wb")  # noqa: SIM115  (it is the process's output from here on)
    for descriptor in (1, 2):
        os.dup2(stream.fileno(), descriptor)
    seen: Counter[str] = Counter()
    if kill:
        _watch(argv[argv.index("--run") + 1], kill[0], kill[1], seen)
    status = train(argv)
    if kill and kill[0] == "count":
        Path(f"{log}.count").write_text(json.dumps(seen))
    return status


def _watch(run: str, kind: str, number: int, seen: "Counter[str]") -> None:
    """Counts the moments, and ends the process at the one that was asked for."""
    from attnvgg_training import files
    from attnvgg_training.loop import Trainer

    def moment(what: str) -> bool:
        seen[what] += 1
        return kind == what and seen[what] == number

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def audit(event: str, values: tuple[Any, ...]) -> None:
        if event not in CHANGES or not values or not str(values[0]).startswith(run):
            return
        if (event != "open" or "r" not in str(values[1])) and moment("change"):
            die()

    step, write = Trainer._step, files._write

    def half(path: Path, content: files.Content) -> None:
        if moment("write"):
            path.write_bytes(content[: len(content) // 2])
            die()
        write(path, content)

    def stepping(*arguments: Any) -> Any:
        result = step(*arguments)  # the weights are changed, and nobody knows yet
        if kind in ("interrupt", "twice") and seen["step"] + 1 == number:
            for _ in range(1 + (kind == "twice")):
                os.kill(os.getpid(), signal.SIGINT)
        if moment("step"):
            die()
        return result

    sys.addaudithook(audit)
    files._write = half
    Trainer._step = stepping  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
