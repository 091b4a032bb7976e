"""Which symbol is drawn, given what the model expects."""

from __future__ import annotations

import numpy as np
import pytest

from core.decoding import Sampling, weights

END, WAITING = 9, 4


def shares(expected: dict[int, float], waiting: int = WAITING, **sampling: float) -> list[float]:
    """How often each of ten symbols is drawn."""
    logits = np.full((1, 10), -np.inf, np.float32)
    for symbol, chance in expected.items():
        logits[0, symbol] = np.log(chance)
    found = weights(logits - logits.max(), np.array([waiting]), END, Sampling(**sampling))[0]
    return (found / found.sum()).round(6).tolist()


SPREAD = {0: 0.1, 1: 0.1, 2: 0.2, WAITING: 0.4, END: 0.2}


@pytest.mark.parametrize("temperature", [0.1, 0.45, 1.0])
def test_the_end_and_what_waits_come_as_often_as_expected_at_every_temperature(temperature: float) -> None:
    found = shares(SPREAD, temperature=temperature)
    assert (found[WAITING], found[END]) == (0.4, 0.2)
    assert sum(found[:3]) == pytest.approx(0.4)


def test_the_temperature_counts_among_all_else() -> None:
    assert shares(SPREAD, temperature=1.0)[:3] == [0.1, 0.1, 0.2]
    assert shares(SPREAD, temperature=0.5)[:3] == pytest.approx([0.4 / 6, 0.4 / 6, 1.6 / 6], abs=1e-5)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_which_of_the_three_comes_has_a_temperature_of_its_own(temperature: float) -> None:
    found = shares(SPREAD, temperature=temperature, choice_temperature=0.5)
    assert (found[WAITING], found[END]) == pytest.approx((0.16 / 0.36, 0.04 / 0.36), abs=1e-5)
    assert sum(found[:3]) == pytest.approx(0.16 / 0.36, abs=1e-5)
    assert shares(SPREAD, temperature=temperature, choice_temperature=0.5, min_p=0.3)[END] == 0  # 0.04 beside 0.16


@pytest.mark.parametrize("value", [0.0, -0.5, float("nan")])
def test_a_choice_without_a_temperature_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        Sampling(choice_temperature=value)


def test_what_is_too_unlikely_is_not_drawn_among_the_three_nor_among_all_else() -> None:
    found = shares({0: 0.5, 1: 0.02, WAITING: 0.45, END: 0.03}, min_p=0.1)
    assert found == pytest.approx([0.52 / 0.97, 0, 0, 0, 0.45 / 0.97, *[0] * 5], abs=1e-5)
    assert shares({0: 0.01, 1: 0.02, WAITING: 0.97}, min_p=0.1)[WAITING] == 1


def test_where_nothing_waits_there_is_the_end_and_all_else() -> None:
    found = shares({0: 0.3, WAITING: 0.3, END: 0.4}, waiting=END, temperature=0.1)
    assert found == [0.3, 0, 0, 0, 0.3, 0, 0, 0, 0, 0.4]


def test_a_single_symbol_is_drawn_whatever_it_is() -> None:
    for symbol in (0, WAITING, END):
        assert shares({symbol: 1.0}, temperature=0.1, min_p=0.1)[symbol] == 1
