"""Times of day and dates, which are equal in other ways than numbers are."""

from __future__ import annotations

import re
from dataclasses import dataclass

from verifiers.math.text import plain

_TIME = re.compile(
    r"(?:\\text\{)?(\d{1,2})(?::(\d{2})(?::(\d{2}))?)?(?:\\text\{)?([ap]\.?m\.?)?\}?(?:\\text\{)?(o'clock)?\}?",
    re.IGNORECASE,
)
_NAMED = {"noon": "12:00pm", "midnight": "12:00am"}
_MONTH_NAMES = (
    "january jan|february feb|march mar|april apr|may|june jun|july jul|august aug|september sep sept"
    "|october oct|november nov|december dec"
)
_MONTHS = {
    name: number for number, names in enumerate(_MONTH_NAMES.split("|"), start=1) for name in names.split()
}
_DAYS = "monday|tuesday|wednesday|thursday|friday|saturday|sunday"
_MONTH = "(?P<month>" + "|".join(sorted(_MONTHS, key=len, reverse=True)) + r")\.?"
_DAY = r"(?:the )?(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_DATE = tuple(
    re.compile(rf"(?:(?P<weekday>{_DAYS}),? )?{order}(?:,? (?P<year>\d{{4}}))?\.?", re.IGNORECASE)
    for order in (f"{_MONTH} {_DAY}", f"{_DAY} (?:of )?{_MONTH}")
)


@dataclass(frozen=True, slots=True)
class Time:
    """A time of day; `half` is "am", "pm" or nothing."""

    hour: int
    minute: int
    second: int
    half: str

    def seconds(self) -> int:
        """Seconds since midnight, on the clock of 24 hours."""
        hour = self.hour % 12 + 12 * (self.half == "pm") if self.half else self.hour
        return 3600 * hour + 60 * self.minute + self.second


def time_of(canonical: str) -> Time | None:
    """The time of "3:45 PM", "15:45", "7 am" or "noon"; a number alone is none."""
    text = canonical.replace(" ", "")
    found = _TIME.fullmatch(_NAMED.get(plain(canonical).lower().strip(), text))
    if found is None or not (found[2] or found[4] or found[5]):
        return None
    return Time(
        int(found[1]), int(found[2] or 0), int(found[3] or 0), (found[4] or "").replace(".", "").lower()
    )


def same_time(ours: Time, theirs: Time) -> bool:
    """Whether two times are the same; without am or pm only an hour from noon on tells which half is meant."""
    if bool(ours.half) == bool(theirs.half):
        return ours.seconds() == theirs.seconds()
    plainer = theirs if ours.half else ours
    return (plainer.hour >= 12 or plainer.hour == 0) and ours.seconds() == theirs.seconds()


def same_date(answer: str, gold: str) -> bool | None:
    """Whether two dates are the same, whatever the order of day and month; None where not both are dates.

    What the gold leaves open (the year, the day of the week), the answer may add.
    """
    found = [
        next((m for pattern in _DATE if (m := pattern.fullmatch(plain(text)))), None)
        for text in (answer, gold)
    ]
    ours, theirs = found
    if ours is None or theirs is None:
        return None
    if (_MONTHS[ours["month"].lower()], int(ours["day"])) != (
        _MONTHS[theirs["month"].lower()],
        int(theirs["day"]),
    ):
        return False
    return all(
        theirs[part] is None or (ours[part] or "").lower() == theirs[part].lower()
        for part in ("year", "weekday")
    )
