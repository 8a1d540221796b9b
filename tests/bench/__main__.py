"""The command line: which rows, how many rounds, which report."""
import argparse
import pathlib
import signal
import subprocess
import sys
import time

from . import machine, report
from .figures import Samples, result
from .lab import Lab
from .rows import PROBES, ROWS

DESCRIPTION = """\
Measures wrennd and wrennctl beside what people would use in their place, and
compares with the goals; docs/PERFORMANCE.md says how each figure comes about.
Shown are medians and, in brackets, the least and the greatest of all rounds.
A missed goal is no failure of this program.
"""
BUILD = pathlib.Path(__file__).resolve().parents[2] / "build"
ATTEMPTS = 3  # at a probe while others use the processors
REPEATS = 30  # of probes in the whole run
RUNS, QUICK_RUNS = 7, 3
QUICK_SCALE = 0.2


def positive(text):
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return int(text)


def arguments():
    parser = argparse.ArgumentParser(prog="./dev bench", description=DESCRIPTION,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=positive, metavar="N",
                        help=f"rounds (default {RUNS}, with --quick {QUICK_RUNS})")
    parser.add_argument("--quick", action="store_true", help="a fifth of all counts, in a minute")
    parser.add_argument("--only", action="append", metavar="NAME",
                        help="rows whose name begins with this; may be repeated")
    parser.add_argument("-o", dest="output", choices=report.FORMS, default="text",
                        help="the report as a text (default), as one JSON object or as the "
                             "table of docs/PERFORMANCE.md")
    options = parser.parse_args()
    options.runs = options.runs or (QUICK_RUNS if options.quick else RUNS)
    return options


def chosen_rows(only):
    rows = [row for row in ROWS if not only or row.name.startswith(tuple(only))]
    if not rows:
        sys.exit("No row has such a name. There are: " + " ".join(row.name for row in ROWS))
    return rows


class Bench:
    """Runs probes by rounds. What cannot be measured is in left_out, with why."""

    def __init__(self, lab, rows):
        self.lab = lab
        self.rows = rows
        self.samples = Samples()
        self.left_out = {}
        self.repeats = REPEATS

    def round(self, number, runs):
        for name in dict.fromkeys(p for row in self.rows for p in row.probes()):
            if name not in self.left_out and (number == 0 or not PROBES[name].steady):
                progress(f"round {number + 1} of {runs}: {name}")
                self.try_sample(name)

    def try_sample(self, name):
        """What fails is left out from then on, and the others are measured."""
        try:
            why = PROBES[name].why_not()
            if why is None:
                self.sample(name)
        except (OSError, subprocess.SubprocessError) as error:
            why = str(error)
        if why is not None:
            self.left_out[name] = why
            self.samples.drop(name)

    def sample(self, name):
        """Runs a probe; the attempt counts that others have disturbed least."""
        if PROBES[name].steady:
            self.samples.add(name, PROBES[name].run(self.lab), 0.0)
            return
        attempts = []
        for attempt in range(ATTEMPTS):
            with machine.Foreign() as foreign:
                figures = PROBES[name].run(self.lab)
            attempts.append((foreign.share, attempt, figures))
            if foreign.share <= report.NOISE_MAX or self.repeats == 0:
                break
            self.repeats -= 1
        share, _, figures = min(attempts)
        self.samples.add(name, figures, share)

    def results(self):
        found = (result(row, self.samples) for row in self.rows)
        return [one for one in found if one]


def progress(words):
    if sys.stderr.isatty():
        print(f"\r\033[K{words}", end="", file=sys.stderr, flush=True)


def measure(options, rows):
    """The Bench, after its rounds; all that they started has ended."""
    with Lab(BUILD, QUICK_SCALE if options.quick else 1) as lab:
        bench = Bench(lab, rows)
        for number in range(options.runs):
            bench.round(number, options.runs)
    progress("")
    return bench


def main():
    options = arguments()
    rows = chosen_rows(options.only)
    # As an exception, so that what was started ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started = time.monotonic()
    try:
        bench = measure(options, rows)
    except KeyboardInterrupt:
        return 130
    about = {"runs": options.runs, "quick": options.quick,
             "cores": {"server": machine.SERVER_CORE, "client": machine.CLIENT_CORE},
             "seconds": round(time.monotonic() - started, 1)}
    print(report.FORMS[options.output](bench.results(), bench.left_out, about), end="")
    return 0
