"""What is explored: at every run of the tests, and by ``make model``."""

from __future__ import annotations

from tests.migration.explorer.world import Setting

QUICK: dict[str, Setting] = {
    "two faults": Setting(faults=2, wishes=0),
    "one fault and one wish": Setting(faults=1, wishes=1),
    "two attempts, one fault": Setting(faults=1, wishes=0, attempts=2),
    "two attempts, one wish": Setting(faults=0, wishes=1, attempts=2),
    "QEMU has the data path itself": Setting(faults=1, wishes=1, direct=True),
    "a client drives": Setting(faults=1, wishes=1, client=True),
    "the destination is a libvirtd": Setting(faults=1, wishes=1, stock=True),
    "the guest starts with its host": Setting(faults=2, wishes=0, power=True),
    "post-copy, one fault": Setting(faults=1, wishes=1, postcopy=True),
    "post-copy that is answered, one fault": Setting(faults=1, wishes=1, postcopy=True, answered=True),
}
DEEP: dict[str, Setting] = {
    "four faults": Setting(faults=4, wishes=0),
    "three faults and one wish": Setting(faults=3, wishes=1),
    "two faults and two wishes": Setting(faults=2, wishes=2),
    "two attempts, one fault and one wish": Setting(faults=1, wishes=1, attempts=2),
    "two attempts, two faults": Setting(faults=2, wishes=0, attempts=2),
    "QEMU has the data path itself, three faults": Setting(faults=3, wishes=0, direct=True),
    "a client drives, two faults": Setting(faults=2, wishes=1, client=True),
    "the destination is a libvirtd, two faults": Setting(faults=2, wishes=1, stock=True),
    "the guest starts with its host, three faults": Setting(faults=3, wishes=1, power=True),
    "post-copy, and the guest starts with its host": Setting(faults=2, wishes=1, postcopy=True, power=True),
    "post-copy, two faults": Setting(faults=2, wishes=1, postcopy=True),
    "post-copy that is answered, two faults": Setting(faults=2, wishes=1, postcopy=True, answered=True),
    "post-copy that is answered, QEMU has the data path itself": Setting(
        faults=1, wishes=2, postcopy=True, direct=True, answered=True
    ),
    "post-copy that is answered, and the guest starts with its host": Setting(
        faults=2, wishes=1, postcopy=True, power=True, answered=True
    ),
    "post-copy, a client drives": Setting(faults=1, wishes=1, postcopy=True, client=True),
    "post-copy, QEMU has the data path itself": Setting(faults=1, wishes=2, postcopy=True, direct=True),
}
WALK = Setting(faults=8, wishes=4, attempts=4)
"""What the random walks begin with."""
