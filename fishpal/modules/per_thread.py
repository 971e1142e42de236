"""What a forward pass hands from one hook to a later one, kept apart by thread."""

import threading
from typing import Any, Generic, Self, TypeVar

T = TypeVar("T")


class PerThread(Generic[T]):
    """One value a thread: several may be in one model at once, as where a server predicts.

    A copy is empty: what a pass has under way is not the copy's (and `threading.local`, which
    would do else, cannot be copied at all).
    """

    def __init__(self) -> None:
        self._values: dict[int, T] = {}

    def put(self, value: T) -> None:
        """In the place of what this thread put before."""
        self._values[threading.get_ident()] = value

    def get(self) -> T:
        """What this thread put last."""
        return self._values[threading.get_ident()]

    def take(self) -> T | None:
        """What this thread put last, and no longer here; None where there is nothing."""
        return self._values.pop(threading.get_ident(), None)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return type(self)()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ()
