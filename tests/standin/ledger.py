"""What was asked of the API, in order, and what came of it."""
import time
from collections import deque

from .auth import credential_kind

ENTRIES_MAX = 200000


class Ledger:
    """The newest entries; `n` goes on counting when older ones are dropped."""

    def __init__(self):
        self.entries = deque(maxlen=ENTRIES_MAX)
        self.count = 0

    def open(self, request, path):
        """A new entry, filled in further while the request is handled.

        `executed` means that a handler did its work or is at it; `status`
        stays None when no answer was sent whole. No secret is kept.
        """
        peer = request.transport and request.transport.get_extra_info(
            "peername"
        )
        self.count += 1
        entry = {
            "n": self.count,
            "time": time.time(),
            "method": request.method,
            "path": path,
            "query": request.query_string,
            "via": "edge" if "Via" in request.headers else "plain",
            "port": peer[1] if peer else None,
            "headers": sorted({name.lower() for name in request.headers}),
            "auth": credential_kind(request),
            "team": None,
            "capsule": None,
            "executed": False,
            "fault": None,
            "stream": None,
            "status": None,
            "seconds": None,
        }
        self.entries.append(entry)
        return entry

    @staticmethod
    def close(entry, status):
        entry["status"] = status
        entry["seconds"] = round(time.time() - entry["time"], 6)

    def since(self, number):
        return [entry for entry in self.entries if entry["n"] > number]

    def clear(self):
        self.entries.clear()
