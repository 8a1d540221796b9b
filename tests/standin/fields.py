"""JSON request bodies and their typed fields."""
import json

from .errors import invalid, too_large

BODY_MAX = 8 << 20
INT32_MAX = (1 << 31) - 1


async def read_object(request, optional=False):
    """The body as a dict; a 400 if it is anything else, a 413 over 8 MiB."""
    chunks = bytearray()
    async for chunk in request.content.iter_chunked(65536):
        chunks += chunk
        if len(chunks) > BODY_MAX:
            raise too_large("request body exceeds 8 MiB")
    if optional and not chunks:
        return {}
    try:
        body = json.loads(chunks)
    except ValueError:
        raise invalid("invalid JSON body") from None
    if not isinstance(body, dict):
        raise invalid("invalid JSON body")
    return body


def text(body, name, default=None):
    """A string field; one that is required when there is no default."""
    value = body.get(name)
    if value is None:
        value = default
    if value is None or (value == "" and default is None):
        raise invalid(f"{name} is required")
    if not isinstance(value, str):
        raise invalid(f"{name} must be a string")
    return value


def short_text(body, name, default, longest):
    """A string field of so many characters; the default also for ""."""
    value = text(body, name, "") or default
    if len(value) > longest:
        raise invalid(f"{name} may have {longest} characters")
    return value


def integer(body, name, default, low=0, high=INT32_MAX):
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int):
        raise invalid(f"{name} must be an integer")
    if not low <= value <= high:
        raise invalid(f"{name} must be between {low} and {high}")
    return value


def boolean(body, name):
    value = body.get(name)
    if not isinstance(value, (bool, type(None))):
        raise invalid(f"{name} must be true or false")
    return bool(value)


def strings(body, name):
    """An array of strings; empty when absent."""
    value = body.get(name) or []
    if not isinstance(value, list) or not all(
        isinstance(item, str) for item in value
    ):
        raise invalid(f"{name} must be an array of strings")
    return value


def string_map(body, name):
    """An object whose values are strings; empty when absent."""
    value = body.get(name) or {}
    if not isinstance(value, dict) or not all(
        isinstance(item, str) for item in value.values()
    ):
        raise invalid(f"{name} must be an object of strings")
    return value
