"""A plugin's own refusal, as a value. Raised or noted; any other exception is a fault of the plugin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

SETTINGS_INVALID = "settings_invalid"
"""The code of a failure about settings. A plugin that reads settings lists it in its manifest."""

_MESSAGE_CHARS_MAX = 500


@dataclass(frozen=True)
class FailureRecord:
    """A failure as the contract has it."""

    code: str
    message: str
    text: Optional[str]
    retryable: bool


class Failure(Exception):
    """A refusal with one of the manifest's codes. `message` is for operators; `text` is the key of the text that the user sees."""

    def __init__(self, code: str, message: str, *, text: Optional[str] = None, retryable: bool = False) -> None:
        super().__init__(message[:_MESSAGE_CHARS_MAX])
        self.code = code
        self.message = message[:_MESSAGE_CHARS_MAX]
        self.text = text
        self.retryable = retryable

    def to_record(self) -> FailureRecord:
        """As the contract has it."""
        return FailureRecord(self.code, self.message, self.text, self.retryable)
