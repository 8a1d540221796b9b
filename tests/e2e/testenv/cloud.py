"""The stand-in server, with what tests ask of it."""
from . import paths  # noqa: F401  (makes the harness importable)
from harness import Standin


class Cloud(Standin):
    """A stand-in behind its TLS and HTTP/2 edge."""

    def __init__(self, *options):
        super().__init__("--tls", *options)

    def clear_faults(self):
        self.admin("DELETE", "/faults")

    def requests(self, **match):
        """The requests so far whose ledger entries have these values."""
        return [e for e in self.ledger()
                if all(e.get(k) == v for k, v in match.items())]

    def capsules(self):
        """All capsules with their internals, by id."""
        return {row["id"]: row for row in self.admin("GET", "/capsules")}

    def alive(self):
        """IDs of those that were not destroyed."""
        return {i for i, c in self.capsules().items() if c["status"] != "stopped"}

    def set_capsule(self, capsule, **state):
        self.admin("POST", f"/capsules/{capsule}", state)

    def edge_connections(self):
        """Distinct TLS connections that the edge's log has seen."""
        with open(self.ready["edge_log"], encoding="utf-8") as log:
            return {line.split()[0] for line in log if line.strip()}
