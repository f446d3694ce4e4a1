from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from culvert.wire.keepalive import Keepalive, KeepaliveAction

INTERVAL, COUNT = 5.0, 5


def play(keepalive: Keepalive, until: float) -> list[tuple[float, KeepaliveAction]]:
    """Wake whenever asked to, up to a time, and tell what was due."""
    done = []
    while (now := keepalive.wake_at) <= until:
        action = keepalive.tick(now)
        done.append((now, action))
        if action is KeepaliveAction.DEAD:
            break
    return done


def test_silence_ends_after_thirty_seconds() -> None:
    keepalive = Keepalive(INTERVAL, COUNT, 0.0)
    assert play(keepalive, 100.0) == [
        *((5.0 * n, KeepaliveAction.PING) for n in range(1, 6)),
        (30.0, KeepaliveAction.DEAD),
    ]
    assert keepalive.limit == 30.0


def test_anything_heard_restarts_the_count() -> None:
    keepalive = Keepalive(INTERVAL, COUNT, 0.0)
    assert play(keepalive, 25.0)[-1] == (25.0, KeepaliveAction.PING)
    keepalive.received(29.0)
    assert play(keepalive, 58.9) == [(29.0 + 5.0 * n, KeepaliveAction.PING) for n in range(1, 6)]
    assert play(keepalive, 59.0) == [(59.0, KeepaliveAction.DEAD)]


def test_too_early_is_nothing() -> None:
    keepalive = Keepalive(INTERVAL, COUNT, 0.0)
    assert keepalive.tick(4.9) is KeepaliveAction.NOTHING
    assert keepalive.wake_at == 5.0


def test_held_says_pong_and_never_dies() -> None:
    keepalive = Keepalive(INTERVAL, COUNT, 0.0)
    play(keepalive, 25.0)
    keepalive.hold(26.0)
    assert play(keepalive, 500.0) == [(26.0 + 5.0 * n, KeepaliveAction.PONG) for n in range(1, 95)]
    keepalive.release(501.0)
    assert [action for _, action in play(keepalive, 530.9)] == [KeepaliveAction.PING] * 5
    assert play(keepalive, 531.0) == [(531.0, KeepaliveAction.DEAD)]


@given(
    st.floats(0.1, 60),
    st.integers(0, 10),
    st.lists(st.tuples(st.sampled_from(["tick", "received", "hold", "release"]), st.floats(0, 100)), max_size=60),
)
def test_dead_only_after_full_silence(interval: float, count: int, acts: list[tuple[str, float]]) -> None:
    keepalive = Keepalive(interval, count, 0.0)
    now = heard = 0.0
    held = False
    for act, pause in acts:
        now += pause
        if act == "received" and not held:
            keepalive.received(now)
            heard = now
        elif act == "hold":
            keepalive.hold(now)
            held = True
        elif act == "release" and held:
            keepalive.release(now)
            held, heard = False, now
        else:
            action = keepalive.tick(now)
            assert not (held and action in (KeepaliveAction.PING, KeepaliveAction.DEAD))
            assert held or action is not KeepaliveAction.PONG
            if action is KeepaliveAction.DEAD:
                assert now - heard >= keepalive.limit * 0.999
                return
        assert keepalive.wake_at <= now + interval
