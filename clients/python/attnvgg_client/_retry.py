"""When to ask again, how long to wait before, and when to stop: the deadline wins."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from attnvgg_client._errors import APIStatusError, DeadlineError
from attnvgg_client._http import Reply

FIRST_WAIT, LONGEST_WAIT = 0.25, 8.0


@dataclass(frozen=True)
class Deadline:
    """A moment, so many seconds after it was made."""

    seconds: float
    end: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "end", time.monotonic() + self.seconds)

    def remaining(self) -> float:
        """Seconds; negative when it has passed."""
        return self.end - time.monotonic()


def backoff(attempt: int) -> float:
    """Seconds to wait after the attempt of this number (from 0): doubling, with jitter, so that
    clients that failed together do not return together."""
    # The bound on the exponent keeps a client that polls for days from overflowing a float.
    longest = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(attempt, 16))
    return longest * random.uniform(0.5, 1.0)


def pause(attempt: int, asked: float | None) -> float:
    """Seconds to wait after this attempt (from 0), where the server asked for so many. Never less
    than it asked, and up to a tenth more, for all that it told so would return at one moment."""
    return max(backoff(attempt), (asked or 0.0) * random.uniform(1.0, 1.1))


def worth_retrying(error: APIStatusError) -> bool:
    """Whether the same request may succeed a little later.

    429 and 503 say so themselves, unless what passed is the deadline (Triton says 503 then). 502
    and 504 do when they come from a proxy, which knows none of our codes.
    """
    if isinstance(error, DeadlineError):
        return False
    foreign = error.code.startswith("http_")
    return error.status in (429, 503) or (error.status in (502, 504) and foreign)


def retry_after(reply: Reply) -> float | None:
    """The header Retry-After in seconds, whether it gives seconds or a date."""
    value = reply.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
