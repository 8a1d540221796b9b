"""What tests say often: an error of that name, many clients at once."""
import contextlib
import threading

import pytest

from .client import RpcError


@contextlib.contextmanager
def fails(name):
    """The block must end in the error of that name; it is in `.value`."""
    with pytest.raises(RpcError) as info:
        yield info
    assert info.value.name == name, info.value


def together(daemon, count, work):
    """Runs work(client, index) at once, each with a client of its own.

    Answers the results in order; an exception stands for itself.
    """
    results = [None] * count
    gate = threading.Barrier(count)

    def run(index):
        try:
            with daemon.client() as client:
                gate.wait(timeout=30)
                results[index] = work(client, index)
        except Exception as error:  # told by its place among the results
            results[index] = error

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def good(results):
    """The results, none of which may be an exception."""
    errors = [r for r in results if isinstance(r, Exception)]
    assert not errors, errors
    return results
