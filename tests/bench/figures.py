"""Figures: what was measured in each round, their medians, and goals."""
import dataclasses
import statistics


@dataclasses.dataclass(frozen=True)
class Spread:
    """The median of some values, the least and the greatest."""
    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values):
        return cls(statistics.median(values), min(values), max(values))


@dataclasses.dataclass(frozen=True)
class Goal:
    """A bound on the figure, on its ratio to the peer's or on the difference."""
    of: str  # "value", "ratio" or "difference"
    at_least: bool
    bound: float

    def reached(self, value):
        return value >= self.bound if self.at_least else value <= self.bound


def at_most(bound, of="value"):
    return Goal(of, False, bound)


def at_least(bound, of="value"):
    return Goal(of, True, bound)


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the report. `ours` and `peer` are "probe.figure"."""
    name: str
    what: str
    unit: str
    ours: str
    peer: str = ""
    peer_name: str = ""
    goals: tuple = ()

    def probes(self):
        return [text.partition(".")[0] for text in (self.ours, self.peer) if text]


class Samples:
    """The figures of all rounds, by probe."""

    def __init__(self):
        self.rounds = {}
        self.foreign = {}

    def add(self, probe, figures, foreign):
        """One round's; `foreign` is the part of the CPU that others used."""
        self.rounds.setdefault(probe, []).append(figures)
        self.foreign.setdefault(probe, []).append(foreign)

    def drop(self, probe):
        """One that failed in a later round has no figures."""
        self.rounds.pop(probe, None)
        self.foreign.pop(probe, None)

    def values(self, text):
        """The values of "probe.figure", one for each round."""
        probe, _, figure = text.partition(".")
        return [figures[figure] for figures in self.rounds.get(probe, [])]


def paired(ours, peers, combine):
    """One value for each round.

    What ran in the same round met the same machine. Where one of the two has
    fewer rounds there are no pairs, and the medians make one value.
    """
    if len(ours) == len(peers):
        return [combine(a, b) for a, b in zip(ours, peers)]
    return [combine(statistics.median(ours), statistics.median(peers))]


@dataclasses.dataclass(frozen=True)
class Result:
    """What a row has come to; spreads are None without a peer."""
    row: Row
    ours: Spread
    peer: Spread = None
    ratio: Spread = None
    difference: Spread = None
    foreign: float = 0.0  # the most in any of its rounds

    def value(self, goal):
        return {"value": self.ours, "ratio": self.ratio,
                "difference": self.difference}[goal.of].median

    def reached(self, goal):
        return goal.reached(self.value(goal))


def result(row, samples):
    """None if a probe of the row has no figures."""
    ours = samples.values(row.ours)
    peers = samples.values(row.peer) if row.peer else []
    if not ours or (row.peer and not peers):
        return None
    foreign = max(max(samples.foreign[probe]) for probe in row.probes())
    if not row.peer:
        return Result(row, Spread.of(ours), foreign=foreign)
    return Result(row, Spread.of(ours), Spread.of(peers),
                  Spread.of(paired(ours, peers, lambda a, b: a / b)),
                  Spread.of(paired(ours, peers, lambda a, b: a - b)), foreign)
