"""Sessions end when they should, and their tokens give nothing away."""

from __future__ import annotations

import time

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dermdemo.ui.admin.sessions import Sessions, uptime
from tests.ui.admin.conftest import Clock

STAMP = "stamp of the credential"


def test_a_session_is_found_by_its_token_alone() -> None:
    sessions = Sessions(clock=Clock())
    opened = sessions.open("Ada", STAMP)
    assert sessions.find(opened.token, STAMP) == opened.session
    for wrong in (None, "", opened.token[:-1], opened.token + "x", opened.session.id, opened.session.csrf, "ä\udc80"):
        assert sessions.find(wrong, STAMP) is None
    assert len(sessions) == 1


def test_tokens_have_256_bits_and_are_never_kept() -> None:
    sessions = Sessions(clock=Clock())
    opened = [sessions.open("Ada", STAMP) for _ in range(20)]
    assert {len(o.token) for o in opened} == {43} and {len(o.session.csrf) for o in opened} == {43}
    assert len({t for o in opened for t in (o.token, o.session.csrf, o.session.id)}) == 60
    assert not any(o.token in repr(vars(sessions)) for o in opened)


def test_idle_and_total_time() -> None:
    clock = Clock()
    sessions = Sessions(clock=clock, idle=100, total=250)
    token = sessions.open("Ada", STAMP).token
    for at in (99, 198, 249):
        clock.now = 1000 + at
        assert sessions.find(token, STAMP)
    assert sessions.seconds_left(sessions.find(token, STAMP)) == (1, 1)  # type: ignore[arg-type]
    clock.now = 1250
    assert sessions.find(token, STAMP) is None and len(sessions) == 0
    token = sessions.open("Ada", STAMP).token
    clock.now += 100
    assert sessions.find(token, STAMP) is None


def test_looking_without_use_puts_nothing_off() -> None:
    clock = Clock()
    sessions = Sessions(clock=clock, idle=100)
    token = sessions.open("Ada", STAMP).token
    clock.now += 60
    assert sessions.find(token, STAMP, use=False)
    clock.now += 40
    assert sessions.find(token, STAMP, use=False) is None


@pytest.mark.parametrize("now", [None, "another stamp"])
def test_another_credential_ends_all_sessions(now: str | None) -> None:
    sessions = Sessions(clock=Clock())
    tokens = [sessions.open("Ada", STAMP).token for _ in range(3)]
    assert all(sessions.find(token, now) is None for token in tokens)
    assert all(sessions.find(token, STAMP) is None for token in tokens)  # and they stay ended


def test_the_csrf_token_is_the_sessions_own() -> None:
    sessions = Sessions(clock=Clock())
    one, two = (sessions.open("Ada", STAMP).session for _ in range(2))
    assert one.is_csrf(one.csrf)
    assert not any(one.is_csrf(wrong) for wrong in (None, "", two.csrf, one.csrf[:-1], one.id, "é\udc80"))


def test_one_session_too_many_ends_the_one_used_least_recently() -> None:
    clock = Clock()
    sessions = Sessions(clock=clock, most=3)
    tokens = []
    for _ in range(3):
        clock.now += 1
        tokens.append(sessions.open("Ada", STAMP).token)
    clock.now += 1
    sessions.find(tokens[0], STAMP)
    tokens.append(sessions.open("Ada", STAMP).token)
    assert [sessions.find(t, STAMP) is not None for t in tokens] == [True, False, True, True]


def test_time_is_not_the_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = Sessions()
    token = sessions.open("Ada", STAMP).token
    for jump in (-1e9, 1e9):
        now = time.time() + jump
        monkeypatch.setattr(time, "time", lambda now=now: now)
        assert sessions.find(token, STAMP)
    assert uptime() <= uptime()


class Machine(RuleBasedStateMachine):
    """Against a list of (token, opened, used): whatever is done in whatever order, the same sessions are open."""

    IDLE, TOTAL, MOST = 50, 120, 4

    def __init__(self) -> None:
        super().__init__()
        self.clock, self.stamp = Clock(), "a"
        self.sessions = Sessions(clock=self.clock, idle=self.IDLE, total=self.TOTAL, most=self.MOST)
        self.model: dict[str, list[float]] = {}  # token -> opened, used
        self.all: list[str] = []

    def _alive(self) -> dict[str, list[float]]:
        now = self.clock.now
        return {t: s for t, s in self.model.items() if now < s[0] + self.TOTAL and now < s[1] + self.IDLE}

    @rule(seconds=st.integers(1, 60))
    def wait(self, seconds: int) -> None:
        self.clock.now += seconds
        self.model = self._alive()

    @rule()
    def login(self) -> None:
        self.clock.now += 0.001  # so that "least recently" has one answer
        self.model = self._alive()
        if len(self.model) >= self.MOST:
            del self.model[min(self.model, key=lambda t: self.model[t][1])]
        opened = self.sessions.open("Ada", self.stamp)
        assert opened.token not in self.all
        self.all.append(opened.token)
        self.model[opened.token] = [self.clock.now, self.clock.now]

    @rule(k=st.integers(0, 50), use=st.booleans())
    def look(self, k: int, use: bool) -> None:
        if self.all:
            self.clock.now += 0.001
            self.model = self._alive()
            token = self.all[k % len(self.all)]
            assert (self.sessions.find(token, self.stamp, use=use) is not None) == (token in self.model)
            if use and token in self.model:
                self.model[token][1] = self.clock.now

    @rule(k=st.integers(0, 50))
    def logout(self, k: int) -> None:
        if self.all:
            token = self.all[k % len(self.all)]
            self.sessions.close(token)
            self.model.pop(token, None)

    @rule(stamp=st.sampled_from("ab"))
    def change_the_password(self, stamp: str) -> None:
        if stamp != self.stamp:
            self.stamp, self.model = stamp, {}
            for token in self.all:
                assert self.sessions.find(token, stamp) is None

    @invariant()
    def never_too_many(self) -> None:
        assert len(self.sessions) <= self.MOST
        assert all(self.sessions.find(t, self.stamp, use=False) is None for t in self.all if t not in self._alive())


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
