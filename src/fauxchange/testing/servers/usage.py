"""Who is told when a test makes use of a real server."""

from collections.abc import Callable

_observers: list[Callable[[str], None]] = []


def observe(observer: Callable[[str], None]) -> None:
    """Tell the observer, from now on, the label of each server that is used."""
    _observers.append(observer)


def forget(observer: Callable[[str], None]) -> None:
    """Tell the observer no more."""
    _observers.remove(observer)


def used(label: str) -> None:
    """Say that a server is used."""
    for observer in _observers:
        observer(label)
