"""Where the programs under test are. ./dev sets the variables."""
import os
import pathlib
import sys

TOP = pathlib.Path(__file__).resolve().parents[3]
WRENND = os.environ.get("WRENND", str(TOP / "build" / "wrennd"))
WRENNCTL = os.environ.get("WRENNCTL", str(TOP / "build" / "wrennctl"))
# Under the sanitizers everything is slower and larger.
SANITIZED = os.environ.get("WRENND_SANITIZED") == "1"

sys.path[:0] = [str(TOP / "tests" / "standin"), str(TOP / "tests")]
