"""One cell after the other: starts the servers in turn, checks them, and lets load.py measure."""

import base64
import http.client
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import answers
import environments
import numpy as np
import servers
import wire
from answers import Arrays
from bound import outputs
from servers import Site
from settings import HERE, PAUSE, SAMPLES, TIMEOUT, Plan, Target, targets
from wire import Picture

Results = dict[str, Any]
TRIVIAL = "trivial"


@dataclass(frozen=True)
class Run:
    """Everything that a cell needs. save: writes the results after each cell."""

    plan: Plan
    site: Site
    pictures: Sequence[Picture]
    expected: Mapping[str, Sequence[Arrays]]
    results: Results
    save: Callable[[], None]

    def requests(self, target: Target) -> list[bytes]:
        manifest = self.site.manifest
        names = outputs(manifest)
        return [wire.encode(target, each, manifest.name, names) for each in self.pictures]


def measure(run: Run) -> None:
    """All rounds; what the results hold already is not measured again.

    Raises:
        NotStarted, WrongAnswer, subprocess.CalledProcessError: nothing can be measured then.
    """
    quick = run.results["quick"]
    folders = {server: environments.environment(server, quick) for server in run.plan.servers}
    for server, folder in folders.items():
        run.results["versions"].setdefault(server, environments.versions(folder))
    for number in range(run.plan.rounds):
        _bare(run, number)
        _generator(run, number)
        for server, folder in folders.items():
            _server(run, server, folder, number)


def _server(run: Run, server: str, environment: Path, number: int) -> None:
    """Each kind of request at every number of clients, the fewest first."""
    waiting = [
        (target, clients)
        for clients in run.plan.clients
        for target in targets(server)
        if not _done(_row(run.results["cells"], {**asdict(target), "clients": clients}), number)
    ]
    if not waiting:
        return
    with servers.running(server, environment, run.site) as (pid, port):
        for target in dict.fromkeys(target for target, _ in waiting):
            _check(run, target, port)
        for target, clients in waiting:
            row = _row(run.results["cells"], {**asdict(target), "clients": clients})
            found = _load(run, run.requests(target), pid, port, clients)
            if wrong := _wrong(run, target, found.pop("samples")):
                found["errors"]["a wrong answer"] = wrong
            row["rounds"].append(_summarised(found))
            run.save()
            rate = row["rounds"][-1]["rate"]
            print(
                f"round {number + 1}: {_words(target)}, {clients} clients: {rate:.0f}/s", flush=True
            )


def _bare(run: Run, number: int) -> None:
    """The bound, in the same rounds as the servers."""
    if len(run.results["bare"]) > number:
        return
    manifest, plan = run.site.manifest, run.plan
    job = {
        "bundle": str(run.site.bundle),
        "size": [manifest.input.height, manifest.input.width],
        "outputs": outputs(manifest),
        "seconds": plan.bare_seconds,
    }
    run.results["bare"].append(_process("bound.py", job))
    run.save()


def _generator(run: Run, number: int) -> None:
    """The load generator against a server that does nothing."""
    if len(run.results["generator"]) > number:
        return
    target, found = Target("gateway", "pixels", False, "binary"), []
    with servers.running(TRIVIAL, Path(sys.executable).parents[1], run.site) as (pid, port):
        for clients in run.plan.clients:
            load = _load(run, run.requests(target), pid, port, clients)
            found.append({"clients": clients, **_summarised(load)})
    run.results["generator"].append(found)
    run.save()


def _check(run: Run, target: Target, port: int) -> None:
    """Every picture once, one at a time, against the bare session."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    for request, picture in zip(run.requests(target), run.expected[target.payload], strict=True):
        head, _, body = request.partition(b"\r\n\r\n")
        path, *lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        connection.request("POST", path.split()[1], body, headers)
        answer = connection.getresponse()
        said = "".join(f"{name}: {value}\r\n" for name, value in answer.getheaders()).encode()
        content = answer.read()
        if answer.status != 200:
            raise answers.WrongAnswer(f"{_words(target)}: {answer.status}: {content[:300]!r}")
        _checked(target, said + b"\r\n" + content, picture)
        size = {"request": len(request), "answer": len(said) + len(content)}
    connection.close()
    run.results["sizes"][_words(target)] = size


def _wrong(run: Run, target: Target, samples: Sequence[tuple[int, str]]) -> int:
    """How many of the answers kept are not the bare session's; prints them."""
    count = 0
    for number, text in samples:
        try:
            _checked(target, base64.b64decode(text), run.expected[target.payload][number])
        except answers.WrongAnswer as error:
            print(error, file=sys.stderr)
            count += 1
    return count


def _checked(target: Target, response: bytes, picture: Arrays) -> None:
    try:
        answers.check(response, picture, target.maps)
    except answers.WrongAnswer as error:
        raise answers.WrongAnswer(f"{_words(target)}: the answer {error}") from error


def _load(run: Run, requests: list[bytes], pid: int, port: int, clients: int) -> dict[str, Any]:
    plan = run.plan
    job = {
        "port": port,
        "pid": pid,
        "clients": clients,
        "warm_up": plan.warm_up,
        "seconds": plan.seconds,
        "pause": PAUSE,
        "timeout": TIMEOUT,
        "samples": SAMPLES,
        "requests": [base64.b64encode(each).decode() for each in requests],
    }
    found: dict[str, Any] = _process("load.py", job)
    return found


def _summarised(found: dict[str, Any]) -> dict[str, Any]:
    """One round of one cell, as results.json keeps it."""
    milliseconds = [1000 * seconds for seconds in found["latencies"]]
    p50, p99 = np.percentile(milliseconds, (50, 99)) if milliseconds else (None, None)
    return {
        "rate": len(milliseconds) / found["seconds"],
        "p50_ms": p50,
        "p99_ms": p99,
        "answers": len(milliseconds),
        "statuses": found["statuses"],
        "errors": found["errors"],
        "server_cpu_s": round(found["server_cpu"], 3),
        "client_cpu_s": round(found["client_cpu"], 3),
        "memory_mb": round(found["memory"] / 1e6, 1),
        "processes": found["processes"],
    }


def _process(program: str, job: dict[str, Any]) -> Any:
    with TemporaryDirectory() as folder:
        source, target = Path(folder, "job.json"), Path(folder, "found.json")
        source.write_text(json.dumps(job), encoding="utf-8")
        subprocess.run([sys.executable, HERE / program, source, target], check=True)
        return json.loads(target.read_text(encoding="utf-8"))


def _row(cells: list[dict[str, Any]], key: dict[str, Any]) -> dict[str, Any]:
    for row in cells:
        if key.items() <= row.items():
            return row
    cells.append({**key, "rounds": []})
    return cells[-1]


def _done(row: dict[str, Any], number: int) -> bool:
    return len(row["rounds"]) > number


def _words(target: Target) -> str:
    maps = f"maps in {target.form}" if target.maps else "no maps"
    return f"{target.server}, {target.payload}, {maps}"
