"""Identifiers: a prefix, a hyphen and 25 characters of base 36."""
import re
import secrets
import string

from .errors import invalid

ALPHABET = string.digits + string.ascii_lowercase
BODY = re.compile(r"[0-9a-z]{25}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def new_id(prefix):
    return prefix + "-" + "".join(secrets.choice(ALPHABET) for _ in range(25))


def check_id(prefix, text, noun):
    """Returns `text` if it is a well-formed identifier, else raises a 400."""
    head, _, body = text.partition("-")
    if head != prefix or not BODY.fullmatch(body):
        raise invalid(f"invalid {noun} ID")
    return text


def is_name(text):
    """Whether `text` may name a template or a snapshot."""
    return bool(NAME.fullmatch(text))
