"""bench/_numbers.py: estimates, and that pairs stay pairs."""

import pytest

from bench._numbers import difference, median, ratio_of_percentiles


def test_a_constant_has_an_interval_of_no_width():
    assert str(median([2.0, 2.0, 2.0])) == "2 [2, 2]"


def test_pairs_that_differ_alike_have_a_certain_difference_however_they_scatter():
    theirs = [1.0, 50.0, 7.0, 300.0]
    gap = difference([value + 2 for value in theirs], theirs)
    assert (gap.value, gap.low, gap.high) == pytest.approx((2, 2, 2))
    assert ratio_of_percentiles([2 * value for value in theirs], theirs, 95).low == pytest.approx(2)


def test_noise_without_a_difference_has_an_interval_around_zero():
    gap = difference([1.0, 2.0, 3.0, 4.0], [2.0, 1.0, 4.0, 3.0])
    assert gap.low < 0 < gap.high


@pytest.mark.parametrize("estimate", [difference, lambda a, b: ratio_of_percentiles(a, b, 50)])
def test_series_of_different_lengths_are_refused(estimate):
    with pytest.raises(ValueError, match="1 and 2"):
        estimate([1.0], [1.0, 2.0])
