"""The templates capsules are made from."""
import time
from dataclasses import dataclass, field

from .errors import invalid, not_found
from .ids import is_name

PLATFORM = ("minimal", "ubuntu", "code-runner-beta")


@dataclass(frozen=True)
class Template:
    """A `snapshot` one fixes the size of what is made from it.

    One without a team is the platform's.
    """

    name: str
    type: str = "base"
    vcpus: int = 1
    memory_mb: int = 512
    team: object = None
    size_bytes: int = 1 << 20
    created_at: float = field(default_factory=time.time)


class Templates:
    """By team and name; those of the platform are everybody's."""

    def __init__(self):
        self.rows = {}
        for name in PLATFORM:
            self.add(Template(name))

    def add(self, template):
        self.rows[template.team, template.name] = template

    def remove(self, name, team):
        del self.rows[team, name]

    def get(self, name, team):
        """The one of that very team, or of the platform for None."""
        return self.rows.get((team, name))

    def of_team(self, team):
        """All that the team may use, newest first."""
        return [t for t in reversed(self.rows.values())
                if t.team in (None, team)]

    def find(self, name, team):
        """The template `team` means by `name`; a 400 or a 404 if none."""
        if not is_name(name):
            raise invalid("invalid template name")
        template = self.get(name, team) or self.get(name, None)
        if template is None:
            raise not_found(f'template "{name}" not found')
        return template
