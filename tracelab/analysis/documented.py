"""Tables that say what they are: units and meaning travel with the numbers."""

from __future__ import annotations

import pandas as pd


def documented(frame: pd.DataFrame, about: str, **units: str) -> pd.DataFrame:
    """`frame` with exactly the columns that have a unit, in that order; `attrs` tells about and units."""
    frame = frame[list(units)].reset_index(drop=True)
    frame.attrs = {"about": about, "units": units}
    return frame


def group_units(group: tuple[str, ...]) -> dict[str, str]:
    """Units of the columns that rows were grouped by: names and numbers have none."""
    return {column: "name" if column not in {"cpu", "pid", "tid"} else "number" for column in group}


def labels(frame: pd.DataFrame, group: tuple[str, ...]) -> pd.Series[str]:
    """One text per row for the columns that rows were grouped by.

    >>> labels(pd.DataFrame({"pid": [7], "comm": ["sh"]}), ("pid", "comm"))[0]
    'sh (7)'
    """
    if group in {("pid", "comm"), ("tid", "comm")}:
        return frame["comm"] + " (" + frame[group[0]].astype(str) + ")"
    if group == ("probe", "event") and frame["probe"].nunique() <= 1:
        group = ("event",)
    text = frame[group[0]].astype(str)
    for column in group[1:]:
        text = text + ":" + frame[column].astype(str)
    return text
