"""Calendar arithmetic on Unix milliseconds, for guests have no clock and no time zones."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
import re
from typing import Optional

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
_JST_OFFSET_MS = 9 * _HOUR_MS
_RFC_3339 = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII)


def jst_hour(unix_ms: int) -> int:
    """The hour of the day in Japan, 0 to 23."""
    return (unix_ms + _JST_OFFSET_MS) // _HOUR_MS % 24


def jst_day(unix_ms: int) -> str:
    """The day in Japan as `YYYY-MM-DD`."""
    return (date(1970, 1, 1) + timedelta(days=(unix_ms + _JST_OFFSET_MS) // _DAY_MS)).isoformat()


def next_jst_midnight(unix_ms: int) -> int:
    """The midnight in Japan after this moment."""
    return ((unix_ms + _JST_OFFSET_MS) // _DAY_MS + 1) * _DAY_MS - _JST_OFFSET_MS


def parse_rfc3339(text: str) -> Optional[int]:
    """Unix milliseconds of an RFC 3339 time. None for anything else, for times before 1970 and for leap seconds."""
    parts = _RFC_3339.fullmatch(text)
    if parts is None:
        return None
    try:
        year, month, day, hour, minute, second = (int(part) for part in parts.groups()[:6])
        at = datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc)
    except ValueError:
        return None
    hours, minutes = int(parts[9] or 0), int(parts[10] or 0)
    if at.year < 1970 or hours > 23 or minutes > 59:
        return None
    offset = timedelta(hours=hours, minutes=minutes) * (-1 if parts[8] == "-" else 1)
    since = at - offset - datetime(1970, 1, 1, tzinfo=timezone.utc)
    unix_ms = (since.days * 86_400 + since.seconds) * 1000 + int((parts[7] or "").ljust(3, "0")[:3])
    return unix_ms if unix_ms >= 0 else None
