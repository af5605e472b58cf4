"""Checks of the numbers that callers give."""

from __future__ import annotations

from math import inf
from numbers import Integral, Real
from typing import Any


def check_number(
    name: str,
    value: Any,
    least: float,
    most: float = inf,
    whole: bool = False,
    error: type[ValueError] = ValueError,
) -> None:
    """Refuse what is not a number in a range; a bool, NaN and infinity never are.

    Args:
        name: what the caller calls it.
        value: Python's or NumPy's.
        least: that it may be.
        most: that it may be.
        whole: it must be a whole number.
        error: the kind of error to raise.

    Raises:
        ValueError: it is no such number.
    """
    way_out = f"give {least:g} to {most:g}"
    if most == inf:
        way_out = "give a finite number" if least == -inf else f"give {least:g} or more"
    is_number = isinstance(value, Integral if whole else Real) and not isinstance(value, bool)
    if not is_number:
        raise error(f"{name} {value!r} is not a {'whole ' if whole else ''}number: {way_out}")
    if not least <= value <= most or abs(value) == inf:
        raise error(f"{name} {value if whole else f'{float(value):g}'} is out of range: {way_out}")
