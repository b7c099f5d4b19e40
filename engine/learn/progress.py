"""How far a training is: told from inside a ``fit`` to whoever runs it, without a word in the model's contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

_listeners: list[Callable[[float], None]] = []


def tell(share: float) -> None:
    """Say how much of the training is done, 0 to 1; nobody need listen.

    >>> heard = []
    >>> with listening(heard.append):
    ...     tell(0.25)
    >>> tell(0.5)
    >>> heard
    [0.25]
    """
    for listener in _listeners:
        listener(share)


@contextmanager
def listening(listener: Callable[[float], None]) -> Iterator[None]:
    """Hear ``tell`` for as long as the block lasts."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
