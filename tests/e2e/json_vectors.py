"""The cases of tests/unit/json_cases.def, for the real socket."""
import re
from typing import NamedTuple, Optional

from testenv.paths import TOP

DEFINITIONS = TOP / "tests" / "unit" / "json_cases.def"
STRING = r'"(?:[^"\\]|\\.)*"'
CASE = re.compile(
    rf'^(?:FREE_)?(ACCEPT|REJECT)\(({STRING}), (?:(\d+), )?({STRING})(?:, ({STRING}))?\)$',
    re.MULTILINE,
)
ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]+)|([0-7]{1,3})|(.))", re.DOTALL)
SIMPLE = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v", b"f": b"\f",
          b"b": b"\b", b"a": b"\a"}


class Vector(NamedTuple):
    """A text, and the offset of its first wrong byte or None."""
    name: str
    text: bytes
    fault: Optional[int]


def _escaped(match):
    hexadecimal, octal, other = match.groups()
    if hexadecimal:
        return bytes([int(hexadecimal, 16)])
    if octal:
        return bytes([int(octal, 8)])
    return SIMPLE.get(other, other)


def _c_string(literal):
    return ESCAPE.sub(_escaped, literal[1:-1].encode())


def load():
    """All cases, as one line each: a carriage return stands for a newline.

    Both are white space between tokens and forbidden in a string, so that the
    verdict and the offset stay what they were.
    """
    source = DEFINITIONS.read_text(encoding="utf-8")
    vectors = []
    for verdict, name, fault, text, _ in CASE.findall(source):
        line = _c_string(text).replace(b"\n", b"\r")
        vectors.append(Vector(_c_string(name).decode(), line,
                              int(fault) if verdict == "REJECT" else None))
    written = len(re.findall(r"^(?:FREE_)?(?:ACCEPT|REJECT)\(", source, re.MULTILINE))
    assert len(vectors) == written > 300, "a case was not understood"
    return vectors
