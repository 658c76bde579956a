"""Results by key: kept for a while, bounded, and gone when dropped."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from dermdemo.ui.results import Results


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_key_gives_its_value_until_it_is_dropped() -> None:
    results: Results[str] = Results()
    key, other = results.put("a"), results.put("b")
    assert (results.get(key), results.get(other)) == ("a", "b") and key != other
    results.drop(key)
    results.drop("unknown")
    results.drop(None)
    assert results.get(key) is None and results.get(other) == "b"
    assert results.get("") is None and results.get(None) is None


def test_what_is_not_used_for_long_goes_and_use_keeps_it() -> None:
    clock = Clock()
    results: Results[int] = Results(seconds=100, clock=clock)
    used, unused = results.put(1), results.put(2)
    clock.now = 60
    assert results.get(used) == 1
    clock.now = 120
    assert results.get(unused) is None and results.get(used) == 1


@given(st.lists(st.integers(), max_size=40), st.integers(1, 10))
def test_never_more_than_the_limit_and_the_newest_stay(values: list[int], limit: int) -> None:
    results: Results[int] = Results(limit=limit)
    keys = [results.put(v) for v in values]
    assert len(results) == min(limit, len(values))
    assert [results.get(k) for k in keys[-limit:]] == values[-limit:]


def test_threads_do_not_lose_each_others_results() -> None:
    results: Results[int] = Results(limit=5000)
    found: list[bool] = []

    def work(k: int) -> None:
        found.extend(results.get(results.put(k * 100 + n)) == k * 100 + n for n in range(100))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 800 and all(found) and len(results) == 800
