"""All there is to one running stand-in."""
import logging
import os
import secrets

from .auth import Accounts
from .capsule import Registry
from .edge import Edge, NoEdge
from .faults import Faults
from .guest import Walls
from .ledger import Ledger
from .outage import Outage
from .templates import Templates


def make_log(path):
    """Everything to `path`, or warnings to stderr without one."""
    log = logging.getLogger("standin")
    handler = logging.StreamHandler()
    if path:
        handler = logging.FileHandler(path)
        log.setLevel(logging.INFO)
    handler.setFormatter(
        logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    )
    log.addHandler(handler)
    log.propagate = False
    return log


class State:
    """Made once at the start; `folder` holds what is removed at the end."""

    def __init__(self, settings, folder):
        self.settings = settings
        self.folder = folder
        self.log = make_log(settings.log)
        self.accounts = Accounts(settings.jwt_ttl)
        self.templates = Templates()
        self.hosts = {}
        self.ledger = Ledger()
        self.faults = Faults(settings.seed)
        self.outage = Outage()
        self.walls = Walls(
            settings.isolation, settings.network, settings.expose
        )
        self.isolation_note = None
        root = settings.root or os.path.join(folder, "capsules")
        os.makedirs(root, exist_ok=True)
        self.registry = Registry(os.path.realpath(root), self.walls)
        self.edge = self._make_edge() if settings.tls else NoEdge()
        self.outage.edge = self.edge
        self.people()

    def _make_edge(self):
        names = self.settings.cert_name or ["localhost", "127.0.0.1"]
        return Edge(self.folder, self.settings.tls_listen, names,
                    self.settings)

    def people(self):
        """A team for each key; the user, an admin, belongs to the first."""
        keys = self.settings.api_key or ["wrn_" + secrets.token_hex(16)]
        for key in keys:
            self.accounts.add_key(key, self.accounts.add_team())
        self.keys = keys
        email, _, password = self.settings.user.partition(":")
        password = password or secrets.token_hex(8)
        first_team = self.accounts.teams[0]
        self.user = self.accounts.add_user(
            email, password, [first_team], admin=True
        )

    async def settle(self):
        self.isolation_note = await self.walls.settle(self.registry.root)
