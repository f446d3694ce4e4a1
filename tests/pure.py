"""Which tests are pure, and what holds them to it.

A pure test starts no process, and reaches nothing through a socket but what it holds the other end of
(``socketpair``). It needs Python and the pinned requirements alone: no Debian package, no daemon, no QEMU, no root.
``make check`` runs these and no others. Threads, files below ``tmp_path`` and reading /proc are allowed.

This module is the one place where that is declared: tests in ``FOLDERS`` are pure, but for those in ``REAL``. A pure
test has the mark ``pure``, and wherever it runs, in ``make test`` too, it is watched: what it must not do raises
``NotPure`` at the spot, and fails the test also when something in between has swallowed that.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from multiprocessing import util
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

TESTS = Path(__file__).resolve().parent

ALL = ("",)  # every test of a module

FOLDERS = (
    *("ground", "xdr", "wire", "protocol", "domain", "io", "rpc", "tunnel", "channels"),
    *("hypervisor", "drivers", "migration", "client", "daemon", "cli"),
    *("benchmarks", "demo", "faults", "generations", "guests", "project"),
)
"""Folders of pure tests, in the order of the floors."""

OTHERS = ("interop", "model", "released", "support", "system")
"""Folders of tests that are not; ``support`` has helpers, and tests of those."""

REAL: dict[str, tuple[str, ...]] = {
    "io/test_connector.py": (
        "test_deadline_and_a_queue_that_gets_room",
        "test_refused",
        "test_tcp",
        "test_tls_to_nobody",
        "test_unix_with_a_long_path",
        "test_unknown_host",
        "test_what_no_resolver_would_be_asked_for",
    ),
    "io/test_listener.py": ALL,
    "io/test_ssh.py": ALL,
    "io/test_tcp_owner.py": ("test_our_own",),
    "io/test_tls.py": ("test_a_server_that_does_not_confirm",),
    "io/test_unix_sockets.py": ALL,
    "rpc/test_client.py": (
        "test_body_exceptions_come_out_bare",
        "test_calls_over_real_sockets",
        "test_cannot_connect",
    ),
    "rpc/test_prologue.py": ALL,
    "rpc/test_server.py": ALL,
    "rpc/test_tls.py": ALL,
    "rpc/test_virsh.py": ALL,
    "tunnel/test_data_connection.py": ALL,
    "tunnel/test_pump.py": ALL,
    "tunnel/test_pump_cut.py": ALL,
    "tunnel/test_pump_ends.py": ALL,
    "tunnel/test_pump_rules.py": ALL,
    "channels/test_pump_path.py": ALL,
    "drivers/abilities/test_emulators.py": ALL,
    "drivers/abilities/test_machines.py": (
        "test_a_running_qemu_says_the_same_as_the_probed_one",
        "test_a_damaged_memory_is_made_anew",
        "test_an_emulator_that_is_none",
        "test_probe_and_memory_of_it",
    ),
    "drivers/command/test_elements.py": ALL,
    "drivers/test_chain.py": (
        "test_a_base_of_which_nothing_is_said",
        "test_a_chain_of_three",
        "test_one_that_stands_alone",
    ),
    "drivers/command/test_fit.py": ("test_a_real_one_has_what_the_golden_definitions_ask_for",),
    "drivers/command/test_command.py": (
        "test_qemu_starts",
        "test_qemu_has_cards_of_every_kind",
        "test_what_travels_starts_a_qemu_that_takes_the_state",
    ),
    "drivers/test_adoption.py": ALL,
    "drivers/test_agent.py": ALL,
    "drivers/test_announce.py": ALL,
    "drivers/test_apart.py": ALL,
    "drivers/test_cards.py": ("test_one_card_and_all", "test_who_does_not_run_is_not_announced"),
    "drivers/test_console.py": ALL,
    "drivers/test_cpu_check.py": (
        "test_no_lesser_cpu_is_started",
        "test_who_gets_what_he_insists_on_starts",
    ),
    "drivers/test_cpu_seen.py": ("test_what_qemu_has_given_is_told_of_what_runs",),
    "drivers/test_domain.py": ALL,
    "drivers/test_driver.py": ALL,
    "drivers/test_keeping.py": ALL,
    "drivers/test_image.py": ("test_a_qcow2_image",),
    "drivers/test_dump.py": ALL,
    "drivers/test_migration_setup.py": ALL,
    "drivers/test_monitor.py": ALL,
    "drivers/test_network.py": (
        "test_a_tap_lives_as_long_as_its_descriptor",
        "test_a_tap_on_a_bridge",
        "test_a_guest_on_a_bridge",
        "test_a_bridge_that_is_not_there",
    ),
    "drivers/test_process.py": ALL,
    "drivers/test_scratch.py": ALL,
    "drivers/test_screenshot.py": ALL,
    "drivers/test_strays.py": ALL,
    "drivers/test_vnc.py": ALL,
    "migration/convergence/test_autopilot.py": ("test_a_real_guest_is_slowed_down_until_it_arrives",),
    "migration/destination/test_destination.py": ALL,
    "migration/journal/test_journal.py": ("test_a_writer_that_is_killed_leaves_what_it_has_said",),
    "migration/test_incoming_failure.py": ALL,
    "migration/test_postcopy_channels.py": ALL,
    "migration/test_postcopy_recovery.py": ALL,
    "daemon/test_loop_guard.py": ("test_a_process_that_is_not_let_run_is_not_told_of",),
    "daemon/test_notify.py": ALL,
    "daemon/test_start.py": ALL,
    "client/test_host.py": ALL,
    "client/test_migration.py": ALL,
    "client/test_target.py": (
        "test_a_domain_is_found_by_id_uuid_and_name",
        "test_no_daemon_is_said_with_its_uri",
        "test_what_the_block_raises_comes_out_as_it_is",
    ),
    "client/test_whereabouts.py": ALL,
    "cli/test_domains.py": ALL,
    "cli/test_main.py": (
        "test_a_session",
        "test_json_lines_of_a_migration",
        "test_no_daemon_is_code_3",
        "test_migrate_without_a_daemon_still_has_last_words",
    ),
    "cli/test_migrate.py": ALL,
    "benchmarks/test_emulator.py": ALL,
    "benchmarks/test_hosts.py": ALL,
    "benchmarks/test_meter.py": ALL,
    "benchmarks/test_monitor.py": ALL,
    "benchmarks/test_stage_kept.py": ALL,
    "demo/test_demo.py": ALL,
    "faults/test_bite.py": ALL,
    "faults/test_matrix.py": ALL,
    "guests/test_cache.py": (
        "test_a_failed_build_leaves_nothing_and_the_next_works",
        "test_a_missing_program_is_named",
    ),
    "guests/test_domain_xml.py": ALL,
    "guests/test_linux.py": ALL,
    "guests/test_tiny.py": ALL,
    "project/test_pure.py": ("test_it_is_forbidden", "test_what_is_swallowed_still_fails", "test_the_marks"),
    "project/test_repository.py": (
        "test_every_file_at_the_root_is_explained",
        "test_make_help_names_every_verb",
    ),
}
"""Modules in those folders whose tests are not pure, all of them or those named."""

FORBIDDEN = frozenset(
    {
        *("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.system"),
        *(
            "socket.bind",
            "socket.connect",
            "socket.sendto",
            "socket.getaddrinfo",
            "socket.gethostbyname",
            "socket.gethostbyaddr",
        ),
    }
)
"""Python's audit events (library reference, "Audit events table") that a pure test raises none of."""


class NotPure(RuntimeError):
    """A pure test has started a process or used a socket of the outside."""


def in_pure_folder(path: Path) -> bool:
    """Whether ``path``, a module of tests or a folder, is in one of the folders of pure tests."""
    return path.is_relative_to(TESTS) and path.relative_to(TESTS).parts[:1] in {(folder,) for folder in FOLDERS}


def is_pure(path: Path, test: str) -> bool:
    """Whether ``test``, the name of a function in the module ``path``, is declared pure."""
    if not in_pure_folder(path):
        return False
    real = REAL.get(path.relative_to(TESTS).as_posix(), ())
    return real != ALL and test not in real


class Watch:
    """Forbids what is not pure while ``on``, in all threads, and remembers what has been tried since."""

    def __init__(self) -> None:
        self.tried: list[str] = []
        self._on = False
        sys.addaudithook(self._hook)  # for the life of the interpreter: it cannot be taken back

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._on and event in FORBIDDEN:
            self._forbid(event, arguments)

    def _forbid(self, event: str, arguments: tuple[Any, ...]) -> None:
        told = f"{event}{arguments!r}"
        self.tried.append(told)
        raise NotPure(f"{told}: a pure test must not; see tests/pure.py")

    @contextmanager
    def on(self) -> Iterator[None]:
        """Forbid it in the block."""
        self.tried.clear()

        def listen(sock: socket.socket, *arguments: int) -> None:
            self._forbid("socket.listen", (sock, *arguments))

        def spawn(*arguments: object) -> None:
            self._forbid("multiprocessing", arguments)

        # These two have no audit event of their own.
        with mock.patch.object(socket.socket, "listen", listen), mock.patch.object(util, "spawnv_passfds", spawn):
            self._on = True
            try:
                yield
            finally:
                self._on = False


class Plugin:
    """pytest's side: marks the pure tests, and watches each phase of each."""

    def __init__(self) -> None:
        self._watch = Watch()

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        if is_pure(item.path, getattr(item, "originalname", item.name)):
            item.add_marker("pure")

    def watched(self, item: pytest.Item) -> Generator[None, object, object]:
        """Around one phase of a test: pure ones fail when they have tried what is forbidden."""
        if item.get_closest_marker("pure") is None:
            return (yield)
        with self._watch.on():
            result = yield
        if self._watch.tried:
            tried = "\n  ".join(self._watch.tried)
            pytest.fail(f"declared pure (tests/pure.py), and it has tried:\n  {tried}", pytrace=False)
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        return (yield from self.watched(item))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        return (yield from self.watched(item))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        return (yield from self.watched(item))

    def pytest_ignore_collect(self, collection_path: Path, config: pytest.Config) -> bool | None:
        """With ``-m pure`` what has no pure test is not even imported: that would take a third of the time."""
        if config.option.markexpr != "pure" or collection_path in (TESTS, *TESTS.parents):
            return None
        return None if is_pure(collection_path, "") else True
