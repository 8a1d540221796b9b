"""The templates capsules are made from."""
from dataclasses import dataclass

from .errors import invalid, not_found
from .ids import is_name

PLATFORM = ("minimal", "ubuntu", "code-runner-beta")


@dataclass(frozen=True)
class Template:
    """A `snapshot` one fixes the size of what is made from it."""

    name: str
    type: str = "base"
    vcpus: int = 1
    memory_mb: int = 512
    team: object = None


class Templates:
    """By name; those of the platform are everybody's."""

    def __init__(self):
        self.by_name = {name: Template(name) for name in PLATFORM}

    def add(self, template):
        self.by_name[template.name] = template

    def find(self, name, team):
        """The template `team` means by `name`; a 400 or a 404 if none."""
        if not is_name(name):
            raise invalid("invalid template name")
        template = self.by_name.get(name)
        if template is None or template.team not in (None, team):
            raise not_found(f'template "{name}" not found')
        return template
