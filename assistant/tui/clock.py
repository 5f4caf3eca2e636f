"""Times as a reader wants them. The screens take `now` as a function, so that tests and screenshots can pin it."""

from collections.abc import Callable
from datetime import datetime, timedelta

Now = Callable[[], datetime]


def local_now() -> datetime:
    """The time now, with this machine's zone."""
    return datetime.now().astimezone()


def day_start_ms(now: datetime, days_ago: int = 0) -> int:
    """Milliseconds since 1970 at the midnight that began the day `days_ago` days ago."""
    start = (now - timedelta(days=days_ago)).replace(hour=0, minute=0, second=0, microsecond=0)
    return int(start.timestamp() * 1000)


def short_time(time_ms: int, now: datetime) -> str:
    """`14:02` today, `yesterday 14:02`, `12 Nov 14:02` this year, `12 Nov 2025` before."""
    then = datetime.fromtimestamp(time_ms / 1000, tz=now.tzinfo)
    if time_ms >= day_start_ms(now):
        return f"{then:%H:%M}"
    if time_ms >= day_start_ms(now, 1):
        return f"yesterday {then:%H:%M}"
    return f"{then.day} {then:%b %H:%M}" if then.year == now.year else f"{then.day} {then:%b %Y}"


def column_time(time_ms: int, now: datetime) -> str:
    """The same in a column of 12 cells: `14:02` today, `12 Nov 14:02` this year, `12 Nov 2025` before."""
    if day_start_ms(now, 1) <= time_ms < day_start_ms(now):
        then = datetime.fromtimestamp(time_ms / 1000, tz=now.tzinfo)
        return f"{then.day} {then:%b %H:%M}"
    return short_time(time_ms, now)
