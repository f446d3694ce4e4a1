"""Who hears of domain events, and in which order."""

from __future__ import annotations

from uuid import UUID

from culvert.drivers.qemu.events import DomainLifecycle, Events

EVENT = DomainLifecycle("g", UUID(int=1), 1, 4, 0)


def test_everybody_hears_even_when_one_fails() -> None:
    events = Events()
    heard: list[DomainLifecycle] = []

    def broken(event: DomainLifecycle) -> None:
        raise RuntimeError("my own fault")

    events.subscribe(broken)
    unsubscribe = events.subscribe(heard.append)
    events.emit(EVENT)
    unsubscribe()
    unsubscribe()
    events.emit(EVENT)
    assert heard == [EVENT]


def test_leaving_from_inside_a_callback_disturbs_nobody() -> None:
    events = Events()
    heard: list[str] = []

    def once(event: DomainLifecycle) -> None:
        heard.append("once")
        unsubscribe()

    unsubscribe = events.subscribe(once)
    events.subscribe(lambda event: heard.append("always"))
    events.emit(EVENT)
    events.emit(EVENT)
    assert heard == ["once", "always", "always"]
