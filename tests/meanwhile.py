"""Something that goes on beside a test."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def meanwhile(step: Callable[[int], None], every: float = 0) -> Iterator[None]:
    """Run `step(0)`, `step(1)`, … in another thread while the block runs, `every` so many seconds, at least once; its error is the
    test's.
    """
    stop, errors = threading.Event(), []

    def go() -> None:
        number = 0
        try:
            while number == 0 or not stop.wait(every):
                step(number)
                number += 1
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=go)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)
    assert errors == []
