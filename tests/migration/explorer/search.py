"""Breadth first through every world, with the truth looked at in each; random walks beyond."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from culvert.migration.handover.machine import MachineError
from tests.migration.explorer.destination_moves import DestinationMoves
from tests.migration.explorer.outside_moves import OutsideMoves
from tests.migration.explorer.source_moves import HAS_SWITCHED, Move, SourceMoves
from tests.migration.explorer.truth import Violation, check, is_settled
from tests.migration.explorer.world import (
    NOTHING,
    Compiled,
    Cpu,
    Link,
    Mig,
    Qd,
    Rules,
    Setting,
    World,
    stock_rules,
)


class Model:
    """A setting, played by rules."""

    def __init__(self, setting: Setting, rules: Rules | None = None) -> None:
        self.setting = setting
        rules = rules or (stock_rules() if setting.stock else Rules())
        compiled = Compiled(rules)
        switched = HAS_SWITCHED if rules.waits_for_the_answer else HAS_SWITCHED | {Mig.DEVICE}
        self._source = SourceMoves(setting, compiled, switched)
        self._destination = DestinationMoves(setting, rules, compiled)
        self._outside = OutsideMoves(setting, rules, compiled, self._source, self._destination)

    def first(self) -> World:
        """The world before anything: the guest runs at the source, and somebody has asked for a migration."""
        empty = World(
            s_up=1,
            s=NOTHING,
            s_queue=(),
            s_row=NOTHING,
            s_att=NOTHING,
            s_conn=Link.NONE,
            s_asking=0,
            s_timer=0,
            cpu=Cpu.RUN,
            mig=Mig.NONE,
            link=Link.NONE,
            d_up=1,
            d=(),
            qd=Qd.NONE,
            qd_att=NOTHING,
            net=(),
            fresh=NOTHING,
            whole=0,
            died=0,
            refused=0,
            s_seen=0,
            resolved=0,
            boot=0,
            faults=self.setting.faults,
            wishes=self.setting.wishes,
        )
        return self._source.begin(empty)

    def moves(self, world: World) -> Iterator[Move]:
        """Everything that can happen next. Raises ``Violation`` or ``MachineError`` where it must not."""
        if world.s_up and world.s != NOTHING:
            yield from self._source.command(world) if world.s_queue else self._source.events(world)
        if world.d_up:
            yield from self._destination.calls(world)
            for number, attempt in enumerate(world.d):
                if attempt.queue:
                    yield from self._destination.command(world, number)
                else:
                    yield from self._destination.events(world, number)
        yield from self._outside.qemu(world)
        yield from self._outside.wishes(world)
        yield from self._outside.restarts(world)
        yield from self._outside.faults(world)


class Found(AssertionError):
    """A violation, with the way that leads to it."""

    def __init__(self, what: str, data_path: list[str]) -> None:
        self.what = what
        self.data_path = data_path
        super().__init__("\n".join([what, *(f"{number:3} {step}" for number, step in enumerate(data_path, 1))]))


@dataclass(frozen=True)
class Coverage:
    """How much was looked at."""

    worlds: int
    moves: int
    depth: int
    settled: int


def explore(model: Model, limit: int = 5_000_000) -> Coverage:
    """Every world that can be reached. Raises ``Found`` for the first violation, by a shortest way.

    Then, with no more faults: from every world a settled one can be reached, and a world in which nothing more can
    happen is settled.
    """
    first = model.first()
    numbers: dict[World, int] = {first: 0}
    parents: list[tuple[int, str]] = [(-1, "")]
    depths = [0]
    quiet: list[list[int]] = []  # moves that are no faults, backwards: world → worlds that lead to it
    quiet.append([])
    settled: list[int] = []
    queue: deque[World] = deque([first])
    count = 0

    def data_path(number: int) -> list[str]:
        steps: list[str] = []
        while number > 0:
            number, step = parents[number]
            steps.append(step)
        return steps[::-1]

    while queue:
        world = queue.popleft()
        here = numbers[world]
        label = ""
        try:
            check(world)
            if is_settled(world, told=model.setting.stock):
                settled.append(here)
            for label, fault, following in model.moves(world):
                count += 1
                there = numbers.get(following)
                if there is None:
                    there = numbers[following] = len(parents)
                    parents.append((here, label))
                    depths.append(depths[here] + 1)
                    quiet.append([])
                    queue.append(following)
                if not fault:
                    quiet[there].append(here)
        except (Violation, MachineError) as err:
            raise Found(f"{type(err).__name__}: {err}", [*data_path(here), f"… after {label}"]) from err
        if len(parents) > limit:
            raise Found(f"more than {limit} worlds", [])
    _all_settle(quiet, settled, data_path, list(numbers))
    return Coverage(len(parents), count, max(depths), len(settled))


def _all_settle(
    quiet: list[list[int]], settled: list[int], data_path: Callable[[int], list[str]], worlds: list[World]
) -> None:
    reached = bytearray(len(quiet))
    todo = list(settled)
    for number in settled:
        reached[number] = 1
    while todo:
        for before in quiet[todo.pop()]:
            if not reached[before]:
                reached[before] = 1
                todo.append(before)
    if (number := reached.find(0)) >= 0:
        raise Found("never settles, though nothing breaks any more", [*data_path(number), str(worlds[number])])


def walk(model: Model, seed: int, steps: int, quiet: int = 4000) -> int:
    """One random walk, then a fault-free one to a settled world. How many steps it took. Raises ``Found``."""
    dice = random.Random(seed)
    world, data_path = model.first(), []
    try:
        for number in range(steps + quiet):
            check(world)
            if number >= steps and is_settled(world, told=model.setting.stock):
                return number
            choices = [move for move in model.moves(world) if number < steps or not move[1]]
            if number < steps:
                # Faults are many among the moves: rarer, so that the walks go further.
                choices = [move for move in choices if not move[1] or dice.random() < 0.1] or choices
            if not choices:
                break
            label, _, world = dice.choice(choices)
            data_path.append(label)
    except (Violation, MachineError) as err:
        raise Found(f"seed {seed}: {type(err).__name__}: {err}", data_path) from err
    if not is_settled(world, told=model.setting.stock):
        raise Found(f"seed {seed}: never settles, though nothing breaks any more", [*data_path, str(world)])
    return len(data_path)
