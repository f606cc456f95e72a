"""Checks of single settings; each raises a ConfigError with the flag, the value and the range."""

from attnvgg_training.errors import ConfigError


def at_least(flag: str, value: float, low: float) -> None:
    """value >= low."""
    if value < low:
        raise ConfigError(f"--{flag.replace('_', '-')} is {value}; it must be {low} or more")


def between(flag: str, value: float, low: float, high: float) -> None:
    """low <= value <= high."""
    if not low <= value <= high:
        flag = flag.replace("_", "-")
        raise ConfigError(f"--{flag} is {value}; it must be from {low} to {high}")


def one_of(flag: str, value: str, allowed: tuple[str, ...]) -> None:
    """value is one of `allowed`."""
    if value not in allowed:
        raise ConfigError(f"--{flag} is {value!r}; it must be one of {', '.join(allowed)}")
