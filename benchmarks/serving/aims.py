"""Whether the aims are met, case by case."""

from collections.abc import Iterator
from typing import NamedTuple

from results import Results, ratio
from settings import BENTOML, GATEWAY, LITSERVE, PAYLOADS, TITLES, TRITON_1, TRITON_2

BARE, TWICE, LEVEL, MAPS = 0.75, 2.0, 0.95, 5.0


class Case(NamedTuple):
    """One figure, held against its aim."""

    what: str
    figure: str
    met: bool


class Aim(NamedTuple):
    text: str
    cases: list[Case]


def aims(results: Results) -> list[Aim]:
    """Those whose servers were measured."""
    if GATEWAY not in results.servers:
        return []
    found = [
        Aim("no error but the documented refusals, at any load", list(_errors(results))),
        Aim(
            f"{BARE:g} of the bare session or more, with raw pixels and the most clients",
            list(_bare(results)),
        ),
        Aim(f"{TWICE:g} times LitServe and stock BentoML or more", list(_twice(results))),
        Aim(
            f"level with Triton or better with a JPEG: {LEVEL:g} of the faster of its two set-ups "
            "or more",
            list(_triton(results)),
        ),
        Aim(f"maps in binary cost less than {MAPS:g} % of throughput", list(_maps(results))),
    ]
    return [aim for aim in found if aim.cases]


def _errors(results: Results) -> Iterator[Case]:
    for payload in PAYLOADS:
        for maps in (False, True):
            cells = [c for c in results.cells(payload, maps) if c.target.server == GATEWAY]
            count = sum(cell.errors for cell in cells)
            answers = sum(row["answers"] for cell in cells for row in cell.rounds)
            figure = f"{count:,} errors beside {answers:,} answers"
            yield Case(_what(payload, maps), figure, count == 0)


def _bare(results: Results) -> Iterator[Case]:
    clients = max(results.clients)
    for maps in (False, True):
        rates = results.find(GATEWAY, "pixels", maps, clients).rates
        found = ratio(rates, results.bare(maps))
        yield Case(_what("pixels", maps, clients), f"{found:.2f}", found >= BARE)


def _twice(results: Results) -> Iterator[Case]:
    for peer in (LITSERVE, BENTOML):
        for payload, maps, clients in _cases(results, peer):
            ours = results.find(GATEWAY, payload, maps, clients).rates
            found = ratio(ours, results.find(peer, payload, maps, clients).rates)
            what = f"{TITLES[peer]}; {_what(payload, maps, clients)}"
            yield Case(what, f"{found:.2f} times", found >= TWICE)


def _triton(results: Results) -> Iterator[Case]:
    for payload, maps, clients in _cases(results, TRITON_1, TRITON_2):
        if payload == "jpeg":
            ours = results.find(GATEWAY, payload, maps, clients).rates
            theirs = [results.find(t, payload, maps, clients).rates for t in (TRITON_1, TRITON_2)]
            found = min(ratio(ours, each) for each in theirs)
            yield Case(_what(payload, maps, clients), f"{found:.2f}", found >= LEVEL)


def _maps(results: Results) -> Iterator[Case]:
    """In JSON beside it, for the difference."""
    for payload in PAYLOADS:
        for clients in results.clients:
            without = results.find(GATEWAY, payload, False, clients).rates
            costs = {
                form: 100
                * (1 - ratio(results.find(GATEWAY, payload, True, clients, form).rates, without))
                for form in ("binary", "json")
            }
            figure = f"{costs['binary']:.1f} % (in JSON {costs['json']:.1f} %)"
            yield Case(f"{payload}, {_clients(clients)}", figure, costs["binary"] < MAPS)


def _cases(results: Results, *peers: str) -> list[tuple[str, bool, int]]:
    if not set(peers) <= set(results.servers):
        return []
    return [(p, maps, n) for p in PAYLOADS for maps in (False, True) for n in results.clients]


def _what(payload: str, maps: bool, clients: int = 0) -> str:
    parts = [payload, "maps" if maps else "no maps", _clients(clients) if clients else ""]
    return ", ".join(part for part in parts if part)


def _clients(count: int) -> str:
    return f"{count} client{'s' if count > 1 else ''}"
