"""Medians, ratios and goals."""
from .figures import Row, Samples, Spread, at_least, at_most, result


def samples(**probes):
    """By probe, its values of the figure `x`, one for each round."""
    made = Samples()
    for probe, values in probes.items():
        for value in values:
            made.add(probe, {"x": value}, 0.01)
    return made


ROW = Row("row", "a row", "ms", "a.x", "b.x", "the other")
ALONE = Row("row", "a row", "ms", "a.x")


def test_a_spread_is_median_least_and_greatest():
    assert Spread.of([5, 1, 2]) == Spread(2, 1, 5)


def test_ratios_are_of_the_same_round():
    # The machine was twice as slow in the second round, for both.
    found = result(ROW, samples(a=[10, 20, 10], b=[5, 10, 5]))
    assert found.ratio == Spread(2, 2, 2)
    assert found.difference == Spread(5, 5, 10)


def test_without_as_many_rounds_medians_are_compared():
    found = result(ROW, samples(a=[10, 30, 20], b=[5]))
    assert found.ratio == Spread(4, 4, 4)
    assert found.difference == Spread(15, 15, 15)


def test_a_row_without_a_peer_has_no_ratio():
    found = result(ALONE, samples(a=[1, 2, 3]))
    assert found.ours.median == 2
    assert found.peer is None and found.ratio is None and found.difference is None


def test_a_row_whose_probe_was_left_out_has_no_result():
    assert result(ROW, samples(a=[1])) is None
    assert result(ROW, samples(b=[1])) is None
    dropped = samples(a=[1], b=[1])
    dropped.drop("b")
    assert result(ROW, dropped) is None


def test_a_row_is_as_noisy_as_its_worst_round():
    made = samples(a=[1, 1], b=[1, 1])
    made.add("b", {"x": 1}, 0.5)
    assert result(ROW, made).foreign == 0.5


def test_goals_look_at_what_they_are_of():
    found = result(ROW, samples(a=[12], b=[10]))
    assert found.reached(at_most(12)) and not found.reached(at_most(11.9))
    assert found.reached(at_least(12)) and not found.reached(at_least(12.1))
    assert found.reached(at_most(1.2, "ratio")) and not found.reached(at_least(1.3, "ratio"))
    assert found.reached(at_most(2, "difference")) and not found.reached(at_most(1, "difference"))
