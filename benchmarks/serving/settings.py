"""What is measured, and for how long; shared by the command and the document."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
ENVIRONMENTS = HERE / ".envs"

CLIENTS = (1, 16, 64)
PAYLOADS = ("pixels", "jpeg")
# The largest batch of every server that makes batches, and of the bare session.
MAX_BATCH = 32
# They take turns, so that nobody gains by remembering the last one.
PICTURES = 8
JPEG_SIDE = 500

ROUNDS = 3
SECONDS = 3.0
WARM_UP = 1.0
BARE_SECONDS = 2.0
# A request that takes longer is an error.
TIMEOUT = 15.0
# What a client waits after a refusal or an error before it asks again.
PAUSE = 0.1
# Of all answers of a cell this many are kept and compared with the bare session's.
SAMPLES = 20
REFUSALS = (429, 503)

GATEWAY, BEFORE_TRITON = "gateway", "gateway-triton"
TRITON_1, TRITON_2 = "triton-1", "triton-2"
BENTOML, LITSERVE, FASTAPI = "bentoml", "litserve", "fastapi"
SERVERS = (GATEWAY, BEFORE_TRITON, TRITON_1, TRITON_2, BENTOML, LITSERVE, FASTAPI)
TITLES = {
    GATEWAY: "attnvgg",
    BEFORE_TRITON: "attnvgg before Triton",
    TRITON_1: "Triton, 1 instance",
    TRITON_2: "Triton, 2 instances",
    BENTOML: "BentoML, stock",
    LITSERVE: "LitServe",
    FASTAPI: "FastAPI",
}


@dataclass(frozen=True)
class Target:
    """What travels to which server. form: how the answer's arrays travel back."""

    server: str
    payload: str
    maps: bool
    form: str


@dataclass(frozen=True)
class Plan:
    """One run's extent."""

    servers: tuple[str, ...] = SERVERS
    clients: tuple[int, ...] = CLIENTS
    rounds: int = ROUNDS
    seconds: float = SECONDS
    warm_up: float = WARM_UP
    bare_seconds: float = BARE_SECONDS


# The gateway alone, in the environment that runs the benchmark: nothing is installed.
QUICK = Plan((GATEWAY,), (1, 4), rounds=1, seconds=0.3, warm_up=0.1, bare_seconds=0.05)

_FORMS = dict.fromkeys((GATEWAY, BEFORE_TRITON, TRITON_1, TRITON_2), "binary")


def targets(server: str) -> list[Target]:
    """Everything that is asked of a server; what is compared is next to each other."""
    form = _FORMS.get(server, "json")
    found = []
    for payload in PAYLOADS:
        found += [Target(server, payload, maps, form) for maps in (False, True)]
        if server == GATEWAY:  # the price of maps in JSON, beside that of maps in binary
            found.append(Target(server, payload, True, "json"))
    return found
