"""The report: a text for people, a table for a document, or one JSON object."""
import dataclasses
import json

NOISE_MAX = 0.04  # of the two processors, used by others


def number(value):
    """With three digits that count."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def spread(figures, unit):
    return f"{number(figures.median)} {unit} ({number(figures.low)}..{number(figures.high)})"


def goal_text(goal, unit):
    words = f"{'at least' if goal.at_least else 'at most'} {number(goal.bound)}"
    if goal.of == "ratio":
        return f"{words} of the peer's"
    if goal.of == "difference":
        return f"{words} {unit} more than the peer"
    return f"{words} {unit}"


def lines(result):
    """Ours, the peer's and their ratio, and the goals."""
    row = result.row
    yield f"{row.name}: {row.what}"
    yield f"    wrennd        {spread(result.ours, row.unit)}"
    if result.peer:
        yield f"    the peer      {spread(result.peer, row.unit)}: {row.peer_name}"
        yield f"    ratio         {spread(result.ratio, '')}".replace("  (", " (")
    for goal in row.goals:
        word = "reached" if result.reached(goal) else "MISSED"
        yield (f"    {word:<13} {goal_text(goal, row.unit)}; it is "
               f"{number(result.value(goal))}")
    if result.foreign > NOISE_MAX:
        yield f"    noisy         others used up to {result.foreign:.0%} of the processors"


def as_text(results, left_out, about):
    out = [line for result in results for line in lines(result)]
    out += [f"{name}: left out: {' '.join(why.split())}" for name, why in left_out.items()]
    goals = [result.reached(goal) for result in results for goal in result.row.goals]
    out.append(f"{about['runs']} rounds in {about['seconds']:.0f} s, "
               f"{sum(goals)} of {len(goals)} goals reached")
    return "\n".join(out) + "\n"


def cells(result):
    """A row for a table."""
    row, peer, ratio = result.row, "", ""
    if result.peer:
        peer = f"{number(result.peer.median)}, {row.peer_name}"
        ratio = number(result.ratio.median)
    goals = "; ".join(
        f"{goal_text(goal, row.unit)}: {'reached' if result.reached(goal) else 'missed'}"
        for goal in row.goals)
    ours = f"{number(result.ours.median)} {row.unit}"
    return f"`{row.name}`", row.what, ours, peer, ratio, goals


def as_markdown(results, left_out, about):
    del left_out, about  # a document says in its own words what it shows
    table = [("row", "what", "wrennd", "the peer", "ratio", "goal"), ("---",) * 6,
             *map(cells, results)]
    return "".join(f"| {' | '.join(line)} |\n" for line in table)


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
    return json.dumps({**about, "rows": [row_object(one) for one in results],
                       "left_out": left_out}, ensure_ascii=False, indent=1) + "\n"


FORMS = {"text": as_text, "json": as_json, "markdown": as_markdown}
