"""Attempts: after a few failures nobody is listened to, however many addresses they come from."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dermdemo.ui.admin.attempts import LONGEST_DELAY, Attempts, Refused, client_of
from tests.ui.admin.conftest import Clock


def fail(attempts: Attempts, client: str = "a") -> float:
    attempts.begin(client)
    return attempts.failed(client).locked


def refused(attempts: Attempts, client: str = "a") -> Refused:
    with pytest.raises(Refused) as caught:
        attempts.begin(client)
    return caught.value


def test_five_failures_lock_an_address_out_for_a_quarter_of_an_hour() -> None:
    clock = Clock()
    attempts = Attempts(clock=clock)
    assert [fail(attempts) for _ in range(5)] == [0, 0, 0, 0, 900]
    clock.now += 600
    found = refused(attempts)
    assert (found.kind, found.seconds) == ("locked", 300)
    fail(attempts, "b")  # another address is not
    clock.now += 299
    assert refused(attempts).seconds == 1
    clock.now += 1
    assert fail(attempts) == 0


def test_the_delay_grows_to_a_limit() -> None:
    attempts, waits = Attempts(clock=Clock(), most=9), []
    for _ in range(7):
        attempts.begin("a")
        waits.append(attempts.wait("a"))
        attempts.failed("a")
    assert waits == [0.5, 1, 2, 4, 8, 8, 8] and max(waits) == LONGEST_DELAY


def test_a_success_clears_the_address_and_tells_of_the_failures() -> None:
    attempts = Attempts(clock=Clock())
    for _ in range(4):
        fail(attempts)
    fail(attempts, "b")
    attempts.begin("a")
    assert attempts.succeeded("a") == 5
    assert [fail(attempts) for _ in range(5)][-1] == 900
    attempts.begin("b")
    assert attempts.succeeded("b") == 5


def test_an_attempt_counts_before_it_is_decided() -> None:
    """Many at once gain nothing: one of each address, and the brake has counted those that are under way."""
    attempts = Attempts(clock=Clock(), burst=3, refill=30)
    attempts.begin("a")
    assert refused(attempts).kind == "busy"
    attempts.begin("b")
    attempts.begin("c")
    found = refused(attempts, "d")
    assert (found.kind, found.seconds) == ("brake", 30)
    attempts.succeeded("b")  # a right password does not use the brake up
    attempts.begin("d")


def test_the_brake_lets_one_pass_now_and_then() -> None:
    clock = Clock()
    attempts = Attempts(clock=clock, burst=4, refill=30)
    for k in range(4):
        fail(attempts, str(k))
    assert refused(attempts, "x").kind == "brake"
    clock.now += 30
    fail(attempts, "x")
    assert refused(attempts, "y").kind == "brake"


STEPS = st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from([0.0, 1.0, 29.0, 400.0]),
                           st.sampled_from([False, False, False, True])), max_size=120)  # fmt: skip


@settings(deadline=None, max_examples=150)
@given(STEPS)
def test_what_can_be_tried_is_bounded(steps: list[tuple[str, float, bool]]) -> None:
    """In every window: per address `most`, over all `burst` and what has been refilled; and so is the memory."""
    clock = Clock()
    attempts = Attempts(clock=clock, most=3, lock=900, burst=6, refill=100)
    failures: list[tuple[float, str]] = []
    for client, seconds, right in steps:
        clock.now += seconds
        try:
            attempts.begin(client)
        except Refused as found:
            assert 0 < found.seconds <= 900
            continue
        if right:
            attempts.succeeded(client)
            failures = [(at, who if who != client else f"{client} before") for at, who in failures]
        else:
            attempts.failed(client)
            failures.append((clock.now, client))
        recent = [who for at, who in failures if clock.now - at < 900]
        assert recent.count(client) <= 3
        for k, (start, _) in enumerate(failures):
            assert len(failures) - k <= 6 + (clock.now - start) / 100 + 1e-9
    assert len(attempts) <= 6 + 900 / 100 + 1


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(1, 400))
def test_any_number_of_addresses_is_remembered_in_little(start: int, count: int) -> None:
    clock = Clock()
    attempts = Attempts(clock=clock)
    tried = 0
    for k in range(count):
        clock.now += 1
        try:
            fail(attempts, f"{start}-{k}")
            tried += 1
        except Refused:
            pass
    assert tried <= 20 + count / 30 + 1
    assert len(attempts) <= 20 + 900 / 30 + 1


@pytest.mark.parametrize(("host", "client"), [
    ("192.0.2.7", "192.0.2.7"), ("::ffff:192.0.2.7", "192.0.2.7"), ("::1", "::1"), ("fe80::1%eth0", "fe80::/64"),
    ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"), ("2001:db8:1:2:ffff::9", "2001:db8:1:2::/64"),
    (None, "local"), ("", "local"), ("no address", "local")])  # fmt: skip
def test_what_counts_as_one_client(host: str | None, client: str) -> None:
    assert client_of(host) == client
