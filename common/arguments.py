"""Types of command-line options, with errors that say what to write."""

import argparse
from datetime import UTC, datetime


def count(text: str) -> int:
    """Parse a whole number from 1."""
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number from 1")
    return number


def positive(text: str) -> float:
    """Parse a finite number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} must be a number above 0")
    return number


def moment(text: str) -> datetime:
    """Parse a date, or a date and time; UTC where it names no offset."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} must be a date or time, for example 2026-03-31") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
