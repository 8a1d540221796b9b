"""The report, as a table for people or as one JSON object."""
import dataclasses
import json

NOISE_MAX = 0.04  # of the two processors, used by others
SIGNS = {"value": "", "ratio": "× peer", "difference": "over the peer"}


def number(value):
    """Three digits that count."""
    if abs(value) >= 1e6:
        return f"{value / 1e6:.3g} M"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def spread(figures, unit):
    return f"{number(figures.median)} {unit} ({number(figures.low)}..{number(figures.high)})"


def goal_text(goal, unit):
    bound = number(goal.bound)
    word = "at least" if goal.at_least else "at most"
    if goal.of == "ratio":
        return f"{word} {bound} × the peer"
    if goal.of == "difference":
        return f"{word} {bound} {unit} over the peer"
    return f"{word} {bound} {unit}"


def verdict(result, goal):
    word = "reached" if result.reached(goal) else "missed"
    return f"{goal_text(goal, result.row.unit)}: {word}, {number(result.value(goal))}"


def lines(result):
    """A row in words: ours, the peer's and their ratio, then the goals."""
    row = result.row
    noise = "" if result.foreign <= NOISE_MAX else f"  noisy: {result.foreign:.0%} foreign CPU"
    yield f"{row.name:<18} {row.what}{noise}"
    yield f"    wrennd {spread(result.ours, row.unit)}"
    if result.peer:
        yield (f"    {row.peer_name} {spread(result.peer, row.unit)}"
               f"   ratio {number(result.ratio.median)}")
    for goal in row.goals:
        yield f"    goal {verdict(result, goal)}"


def text(results, left_out):
    out = [line for result in results for line in lines(result)]
    out += [f"{name:<18} left out: {why}" for name, why in left_out.items()]
    return "\n".join(out) + "\n"


def row_object(result):
    """A row for programs."""
    row = result.row
    made = {"name": row.name, "what": row.what, "unit": row.unit,
            "ours": dataclasses.asdict(result.ours)}
    if result.peer:
        made.update(peer_name=row.peer_name, peer=dataclasses.asdict(result.peer),
                    ratio=dataclasses.asdict(result.ratio),
                    difference=dataclasses.asdict(result.difference))
    made["goals"] = [dict(dataclasses.asdict(goal), value=result.value(goal),
                          reached=result.reached(goal)) for goal in row.goals]
    made.update(foreign_cpu=result.foreign, noisy=result.foreign > NOISE_MAX)
    return made


def as_json(results, left_out, about):
    return json.dumps({**about, "rows": [row_object(r) for r in results],
                       "left_out": left_out}, ensure_ascii=False, indent=1) + "\n"
