"""What the lint scripts share: the files of the tree, and how to report."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("proto", "daemon", "client")


def sources(folders, suffixes):
    """Paths below the folders, from the root, sorted."""
    found = []
    for folder in folders:
        found += [path.relative_to(ROOT)
                  for path in (ROOT / folder).rglob("*")
                  if path.suffix in suffixes and path.is_file()]
    return sorted(found)


def text(path):
    return (ROOT / path).read_text(encoding="utf-8")


def code(path):
    """A C file, its comments and literals blanked, its lines kept."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match.group())
    return re.sub(
        r"""/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])+'""",
        blank, text(path), flags=re.DOTALL)


def tracked():
    """All files that are the project's: git's, or all there are."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others",
         "--exclude-standard"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        check=False)
    if listing.returncode == 0:
        names = listing.stdout.decode().split("\0")
        paths = {Path(name) for name in names if name}
    else:
        paths = {path.relative_to(ROOT) for path in ROOT.rglob("*")}
    return sorted(path for path in paths if (ROOT / path).is_file())


def finish(findings):
    """Prints (path, line, words) as FILE:LINE: WORDS; leaves with 0 or 1."""
    for path, line, words in sorted(findings, key=lambda f: (str(f[0]), f[1])):
        print(f"{path}:{line}: {words}")
    sys.exit(1 if findings else 0)
