"""results.json as a document asks for it: rates, shares of the peak, ratios."""

from dataclasses import dataclass
from typing import Any

from settings import DATATYPE

Row = dict[str, Any]


def percent(images: float, gmacs: float, peak: float) -> float:
    """Pictures a second as a per cent of the peak (GFLOP/s): a multiplication comes with an
    addition, so a network does two operations for each."""
    return 100 * images * 2 * gmacs / peak


@dataclass(frozen=True)
class Results:
    """values: results.json. Rates are compared by the medians of their rounds."""

    values: dict[str, Any]

    @property
    def threads(self) -> list[int]:
        """The thread counts measured."""
        return list(dict.fromkeys(row["threads"] for row in self.values["peaks"]))

    @property
    def batches(self) -> list[int]:
        """The batch sizes measured."""
        return list(dict.fromkeys(row["batch"] for row in self.values["measurements"]))

    @property
    def engines(self) -> list[str]:
        """The engines measured."""
        return list(dict.fromkeys(row["engine"] for row in self.values["measurements"]))

    def kernels(self, threads: int, datatype: str) -> list[Row]:
        """What may be the peak of a data type at a thread count."""
        key = (threads, datatype)
        return [row for row in self.values["peaks"] if (row["threads"], row["datatype"]) == key]

    def peak(self, threads: int, datatype: str) -> Row:
        """The fastest of them."""
        return max(self.kernels(threads, datatype), key=lambda row: row["median"])

    def find(self, network: str, threads: int, engine: str, batch: int) -> Row:
        """One measurement."""
        key = {"network": network, "threads": threads, "engine": engine, "batch": batch}
        return next(row for row in self.values["measurements"] if key.items() <= row.items())

    def share(self, network: str, threads: int, engine: str, batch: int) -> float:
        """Per cent of the peak of the engine's data type."""
        rate = self.find(network, threads, engine, batch)["median"]
        peak = self.peak(threads, DATATYPE[engine])["median"]
        return percent(rate, self.values["networks"][network]["gmacs"], peak)

    def gain(self, network: str, threads: int, over: str, under: str, batch: int) -> float:
        """How many times as fast as `under` is `over`?"""
        fast, slow = (self.find(network, threads, each, batch) for each in (over, under))
        return float(fast["median"] / slow["median"])
