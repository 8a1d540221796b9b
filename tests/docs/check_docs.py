#!/usr/bin/python3 -B
"""Compares the documents with what the programs say of themselves.

usage: check_docs.py METHODS HELP CONFIG

METHODS is the output of `wrennd --dump-methods`, HELP that of `wrennctl help`
and CONFIG that of `wrennd --dump-config`. The documents are to hold:

docs/PROTOCOL.md      a heading "### NAME" for each method, and below it each
                      of its parameters as `NAME`; a table row with `NAME`,
                      code and exit status for each row of proto/errors.def; a
                      table row with `LIMIT_NAME` and its value for each limit
                      of proto/limits.h. And nothing of the kind that is not.
docs/wrennctl.1       a subsection or list item for each verb
docs/wrennd.conf.5    a list item for each key, below its section's heading
"""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
UNITS = ((1, ("bytes",)), (1024, ("KiB",)), (1024 ** 2, ("MiB",)))
MDOC_MACRO = re.compile(r"^[A-Z][a-z]$")


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


class Page:
    """A document and what is wrong with it."""

    def __init__(self, name):
        self.name = name
        self.lines = read(name).splitlines()
        self.findings = []

    def wrong(self, words, line=1):
        self.findings.append(f"{self.name}:{line}: {words}")

    def table_rows(self):
        """The number and cells of each row of a Markdown table."""
        for number, line in enumerate(self.lines, 1):
            if line.startswith("|"):
                cells = line.replace("\\|", "\0").strip().strip("|").split("|")
                yield number, [cell.strip() for cell in cells]

    def sections(self):
        """Each "### NAME" of a method: line number and text by name."""
        found, name = {}, None
        for number, line in enumerate(self.lines, 1):
            if re.match(r"#{1,3} ", line):
                match = re.match(r"### `?([a-z_]+\.[a-z_]+)`?$", line)
                name = match.group(1) if match else None
                if name in found:
                    self.wrong(f"{name} has a second heading", number)
                if name:
                    found[name] = (number, [])
            elif name:
                found[name][1].append(line)
        return {name: (number, "\n".join(lines))
                for name, (number, lines) in found.items()}


def check_methods(page, document):
    sections = page.sections()
    methods = {method["name"]: method for method in document["methods"]}
    for name, method in methods.items():
        if name not in sections:
            page.wrong(f"no heading ### {name}")
            continue
        number, text = sections[name]
        for param in method["params"]:
            if f"`{param['name']}`" not in text:
                page.wrong(f"{name}: `{param['name']}` is missing", number)
    for name in sections.keys() - methods.keys():
        page.wrong(f"{name} is no method", sections[name][0])


def read_errors():
    """Name to code and exit status, as errors.def and rpc_error.h have it."""
    exits = dict(re.findall(r"(EXIT_\w+) = (\d+)", read("proto/rpc_error.h")))
    rows = re.findall(r'^ERROR\(\w+,\s*"(\w+)",\s*(-\d+),\s*"\w*",\s*(\w+)',
                      read("proto/errors.def"), re.MULTILINE)
    return {name: (code, exits[status]) for name, code, status in rows}


def check_errors(page, errors):
    seen = set()
    for number, cells in page.table_rows():
        codes = [cell.strip("`") for cell in cells
                 if re.fullmatch(r"`?-32\d\d\d`?", cell)]
        if not codes:
            continue
        names = [cell.strip("`") for cell in cells
                 if re.fullmatch(r"`[a-z_]+`", cell)]
        name = next((name for name in names if name in errors), None)
        if name is None:
            page.wrong(f"{codes[0]}: no error of that name", number)
            continue
        code, status = errors[name]
        if codes != [code]:
            page.wrong(f"{name} has the code {code}", number)
        if status not in (cell.strip("`") for cell in cells):
            page.wrong(f"{name} has the exit status {status}", number)
        seen.add(name)
    for name in errors.keys() - seen:
        page.wrong(f"no row for the error `{name}`")


def read_limits():
    """Name to value, as limits.h has it."""
    limits = {}
    text = re.sub(r"/\*.*?\*/", "", read("proto/limits.h"), flags=re.DOTALL)
    for name, words in re.findall(r"^#define (LIMIT_\w+)\s+(.+)$", text,
                                  re.MULTILINE):
        sum_ = re.sub(r"LIMIT_\w+", lambda m: str(limits[m.group()]), words)
        if not re.fullmatch(r"[\d\s()*+]+", sum_):
            sys.exit(f"proto/limits.h: {name}: cannot read {words}")
        limits[name] = eval(sum_)  # digits, brackets, * and + alone
    return limits


def spellings(name, value):
    """The ways in which a limit may be written."""
    yield str(value)
    yield f"{value:,}"
    if name.endswith("_MS") and value % 1000 == 0:
        yield f"{value // 1000} s"
        return
    for size, units in UNITS:
        if value % size == 0:
            for unit in units:
                yield f"{value // size:,} {unit}"


def states(cell, spelling):
    return re.search(rf"(?<![\d.,]){re.escape(spelling)}(?![\d.,]*\d)"
                     r"(?!\s*[KMG]i?B)", cell) is not None or cell == spelling


def check_limits(page, limits):
    seen = set()
    for number, cells in page.table_rows():
        for name in re.findall(r"\bLIMIT_\w+", " ".join(cells)):
            seen.add(name)
            if name not in limits:
                page.wrong(f"{name} is no limit", number)
            elif not any(states(cell, spelling) for cell in cells
                         for spelling in spellings(name, limits[name])):
                page.wrong(f"{name} is {limits[name]}", number)
    for name in limits.keys() - seen:
        page.wrong(f"no row for `{name}`")


def mdoc_items(page):
    """The words of each heading and list item, macros left out.

    A long item goes on in the lines behind ".It Xo".
    """
    opened = False
    for number, line in enumerate(page.lines, 1):
        words = line.split()
        if not words:
            continue
        request = words[0]
        if request in (".Sh", ".Ss", ".It") or opened:
            opened = words[1:2] == ["Xo"] and request == ".It"
            plain = [word for word in words[1:]
                     if not MDOC_MACRO.match(word) and word != "wrennctl"]
            yield number, request, plain


def check_verbs(page, text):
    verbs = re.findall(r"^  ([a-z][a-z-]*(?: [a-z][a-z-]*)*) +[A-Z]", text,
                       re.MULTILINE)
    if not verbs:
        sys.exit("the output of wrennctl help names no verb")
    items = [plain for _, _, plain in mdoc_items(page)]
    for verb in verbs:
        words = verb.split()
        if not any(item[:len(words)] == words for item in items):
            page.wrong(f"no section for {verb}")


def check_keys(page, text):
    keys = text.split()
    if not keys:
        sys.exit("the output of wrennd --dump-config names no key")
    documented, section = set(), None
    names = {key.split(".")[0] for key in keys}
    for _, request, plain in mdoc_items(page):
        if request in (".Sh", ".Ss"):
            words = re.findall(r"\w+", " ".join(plain))
            section = next((word for word in words if word in names), None)
        elif plain and section:
            documented.add(f"{section}.{plain[0]}")
    for key in keys:
        if key not in documented:
            page.wrong(f"no item for {key}")


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    methods, verbs, keys = (Path(name).read_text(encoding="utf-8")
                            for name in sys.argv[1:])
    protocol, ctl, conf = (Page("docs/" + name) for name in (
        "PROTOCOL.md", "wrennctl.1", "wrennd.conf.5"))
    check_methods(protocol, json.loads(methods))
    check_errors(protocol, read_errors())
    check_limits(protocol, read_limits())
    check_verbs(ctl, verbs)
    check_keys(conf, keys)
    findings = protocol.findings + ctl.findings + conf.findings
    for finding in sorted(findings):
        print(finding)
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
