"""A row of the API's table: method, path, handler, who may call."""
from dataclasses import dataclass
from typing import Callable

NONE = "none"  # no credential is looked at
ANY = "any"  # an API key or a JWT
LATER = "later"  # as ANY, or else by the first message of the WebSocket
JWT = "jwt"  # a JWT; an API key alone is refused


@dataclass(frozen=True)
class Route:
    method: str
    path: str
    handler: Callable
    auth: str = ANY
