"""Which of libvirt's five steps each state belongs to: the word that people see in job statistics; pure."""

from __future__ import annotations

from culvert.migration.handover import machine_destination as destination
from culvert.migration.handover import machine_source as source

SOURCE_STEPS: dict[source.State, str] = {
    source.State.BEGIN3: "begin",
    source.State.PERFORM3: "perform",
    source.State.SWITCHING: "perform",
    source.State.POSTCOPY: "postcopy",
    source.State.POSTCOPY_FAILED: "postcopy",
    source.State.PERFORM3_DONE: "finish",
    source.State.ASKING: "finish",
    source.State.UNDECIDED: "finish",
    source.State.CONFIRM3: "confirm",
    source.State.CONFIRM3_CANCELLED: "confirm",
    source.State.RETURNED: "confirm",
    source.State.LEFT: "confirm",
    source.State.STAYED: "confirm",
    source.State.LOST: "confirm",
}

DESTINATION_STEPS: dict[destination.State, str] = {
    destination.State.PREPARE: "prepare",
    destination.State.HELD: "prepare",
    destination.State.SWITCHED: "postcopy",
    destination.State.FINISH3: "finish",
    destination.State.STARTING: "finish",
    destination.State.STARTING_POSTCOPY: "postcopy",
    destination.State.POSTCOPY: "postcopy",
    destination.State.ARRIVED: "finish",
    destination.State.GONE: "finish",
    destination.State.LOST: "finish",
}
