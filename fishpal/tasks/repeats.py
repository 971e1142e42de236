"""Texts (or pairs) that stand more than once in a task's tables."""

import pandas as pd

from fishpal.common.texts import TEXTS, text_key


def text_keys(frame: pd.DataFrame) -> pd.Series:
    """Every row's (`common.texts`)."""
    columns = (frame[column] for column in TEXTS if column in frame)
    return pd.Series(map(text_key, zip(*columns, strict=True)), frame.index, dtype=object)


def without_repeats(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows whose text is not that of an earlier one."""
    return frame[~text_keys(frame).duplicated()]


def conflicts(frame: pd.DataFrame) -> int:
    """Texts that stand with two labels or more."""
    found = pd.DataFrame({"text": text_keys(frame), "label": frame["label"]}).drop_duplicates()
    return found.loc[found["text"].duplicated(), "text"].nunique()
