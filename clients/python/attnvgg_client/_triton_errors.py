"""What Triton's refusals mean: its texts, and ours that our models speak through it."""

from __future__ import annotations

import re

from attnvgg_client._errors import CODES, APIStatusError, status_error

# `CODE: message` of NAME-decode and NAME, behind what Triton and the ensemble put before it.
_OURS = re.compile(rf"(?:^|[\s,\]])({'|'.join(CODES)}): (.+)", re.DOTALL)
_TRITONS = {
    "Exceeds maximum queue size": "overloaded",
    "Request timeout expired": "deadline_exceeded",
    "Request for unknown model": "model_not_found",
}


def refusal(status: int, text: str, request_id: str | None = None) -> APIStatusError:
    """The error that Triton's text under this HTTP status, or what is like it, stands for."""
    ours = _OURS.search(text)
    if ours is not None:
        return status_error(status, ours[1], ours[2], request_id)
    code = next((code for words, code in _TRITONS.items() if words in text), None)
    return status_error(status, code, f"the server says: {text}", request_id)
