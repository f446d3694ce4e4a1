"""A virsh at a terminal."""

from __future__ import annotations

import pytest

from tests.support.terminal import CTRL_C, Terminal

NOWHERE = "test:///default"  # libvirt's built-in driver: needs no daemon


def test_commands_are_typed_and_their_output_is_read() -> None:
    with Terminal(NOWHERE) as terminal:
        terminal.wait_for("virsh # ")
        terminal.press("list --all\n")
        assert "running" in terminal.wait_for("virsh # ", 2)
        terminal.press("quit\n")
        assert terminal.finish() == 0


def test_ctrl_c_reaches_it_as_a_signal() -> None:
    with Terminal(NOWHERE, "event", "--loop", "--event", "lifecycle") as terminal:
        terminal.wait(lambda shown: terminal.process.poll() is None, "it runs")
        with pytest.raises(AssertionError, match="not within"):
            terminal.wait_for("never shown", timeout=0.5)
        terminal.press(CTRL_C)
        terminal.finish()
        assert "event loop interrupted" in terminal.shown


def test_its_end_is_told() -> None:
    with Terminal(NOWHERE, "hostname") as terminal:
        with pytest.raises(AssertionError, match="it has ended"):
            terminal.wait_for("never shown")
        assert terminal.finish() == 0
        assert terminal.shown.strip()
