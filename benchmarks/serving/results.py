"""results.json as the document asks for it: medians, ratios, what went wrong."""

from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from settings import GATEWAY, MAX_BATCH, REFUSALS, TITLES, Target, targets

Row = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """One server asked one thing by so many clients; a figure is the median of its rounds."""

    target: Target
    clients: int
    rounds: list[Row]

    @property
    def name(self) -> str:
        json = self.target.server == GATEWAY and self.target.maps and self.target.form == "json"
        return TITLES[self.target.server] + (", maps in JSON" if json else "")

    @property
    def rates(self) -> list[float]:
        """Answers a second, round by round."""
        return [row["rate"] for row in self.rounds]

    @property
    def refusals(self) -> int:
        return self._statuses(refused=True)

    @property
    def errors(self) -> int:
        """All that is neither an answer nor a documented refusal."""
        lost = sum(sum(row["errors"].values()) for row in self.rounds)
        return lost + self._statuses(refused=False)

    @property
    def memory_mb(self) -> float:
        return max(float(row["memory_mb"]) for row in self.rounds)

    def milliseconds(self, quantile: str) -> float | None:
        """p50 or p99; None where there was no answer at all."""
        found = [row[f"{quantile}_ms"] for row in self.rounds if row["answers"]]
        return median(found) if found else None

    def cpu_ms(self, whose: str) -> float | None:
        """CPU milliseconds an answer, of the server or of the client."""
        answers = sum(row["answers"] for row in self.rounds)
        used = sum(float(row[f"{whose}_cpu_s"]) for row in self.rounds)
        return 1000 * used / answers if answers else None

    def _statuses(self, refused: bool) -> int:
        return sum(
            count
            for row in self.rounds
            for status, count in row["statuses"].items()
            if status != "200" and (int(status) in REFUSALS) == refused
        )


@dataclass(frozen=True)
class Results:
    """values: results.json."""

    values: dict[str, Any]

    @property
    def servers(self) -> list[str]:
        """Those measured, in the order of the settings."""
        found = {row["server"] for row in self.values["cells"]}
        return [server for server in TITLES if server in found]

    @property
    def clients(self) -> list[int]:
        return list(self.values["clients"])

    def cell(self, target: Target, clients: int) -> Cell:
        key = {**asdict(target), "clients": clients}
        row = next(row for row in self.values["cells"] if key.items() <= row.items())
        return Cell(target, clients, row["rounds"])

    def cells(self, payload: str, maps: bool) -> list[Cell]:
        """Everything with this payload, server by server."""
        wanted = [t for server in self.servers for t in targets(server)]
        chosen = [t for t in wanted if (t.payload, t.maps) == (payload, maps)]
        return [self.cell(target, clients) for target in chosen for clients in self.clients]

    def find(self, server: str, payload: str, maps: bool, clients: int, form: str = "") -> Cell:
        """form: where a server answers in several; else its first."""
        chosen = [t for t in targets(server) if (t.payload, t.maps) == (payload, maps)]
        target = next(t for t in chosen if form in ("", t.form))
        return self.cell(target, clients)

    def bare(self, maps: bool, batch: int = MAX_BATCH) -> list[float]:
        """Pictures a second of the session alone, round by round."""
        return [self._bare(found, maps, batch)["rate"] for found in self.values["bare"]]

    def bare_cpu_ms(self, maps: bool, batch: int) -> float:
        return median(self._bare(found, maps, batch)["cpu_ms"] for found in self.values["bare"])

    def generator(self, clients: int) -> list[Row]:
        """The load generator against a server that does nothing, round by round."""
        return [
            each
            for found in self.values["generator"]
            for each in found
            if each["clients"] == clients
        ]

    @staticmethod
    def _bare(found: list[Row], maps: bool, batch: int) -> Row:
        return next(row for row in found if (row["maps"], row["batch"]) == (maps, batch))


def ratio(over: list[float], under: list[float]) -> float:
    """The median of the ratios of the same round: what slows a round slows both."""
    return median(a / b if b else float("inf") for a, b in zip(over, under, strict=True))
