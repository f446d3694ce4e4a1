"""Another machine than the guest's waits at the destination of a migration that a client drives: nothing is sent.

virsh passes on what it was given; another client may not.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from culvert.ground import errors
from culvert.migration.options import cookie
from culvert.migration.options.parameters import Options
from culvert.protocol import remote_list, remote_migrate
from culvert.protocol.constants_migrate import MigrateFlag
from tests.support.daemon import DaemonProcess
from tests.support.guest import running_tiny
from tests.system.test_handover import connected

LIVE = int(MigrateFlag.LIVE)
CHANGED = [
    ("<vcpu placement='static'>1<", "<vcpu placement='static'>2<", "/domain/vcpu"),
    ("slot='0x02'", "slot='0x13'", "/domain/devices/"),
    ("</devices>", "<watchdog model='ib700' action='reset'/></devices>", "/domain/devices/watchdog count"),
]


async def test_a_client_that_changes_the_machine(host_a: DaemonProcess, host_b: DaemonProcess, folder: Path) -> None:
    with running_tiny(host_a, folder, boot="disk") as guest:
        async with connected(host_a) as at_a, connected(host_b) as at_b:
            dom = (await at_a.call(remote_list.DOMAIN_LOOKUP_BY_NAME, remote_list.NameArgs(guest.name))).dom
            for before, after, path in CHANGED:
                begun = await at_a.call(
                    remote_migrate.DOMAIN_MIGRATE_BEGIN3_PARAMS, remote_migrate.Begin3ParamsArgs(dom, [], LIVE)
                )
                assert before in begun.xml
                changed = begun.xml.replace(before, after, 1)
                named = Options(destination_xml=changed, destination_name=guest.name).to_typed()
                prepared = await at_b.call(
                    remote_migrate.DOMAIN_MIGRATE_PREPARE3_PARAMS,
                    remote_migrate.Prepare3ParamsArgs(named, begun.cookie_out, LIVE),
                )
                where = Options(migrate_uri=prepared.uri_out).to_typed()
                perform = remote_migrate.Perform3ParamsArgs(dom, None, where, prepared.cookie_out, LIVE)
                with pytest.raises(errors.RemoteError, match="would not be the same machine") as refused:
                    await at_a.call(remote_migrate.DOMAIN_MIGRATE_PERFORM3_PARAMS, perform)
                assert path in refused.value.message
                assert "ticket" not in refused.value.message
                with pytest.raises(errors.RemoteError):
                    await at_b.call(
                        remote_migrate.DOMAIN_MIGRATE_FINISH3_PARAMS,
                        remote_migrate.Finish3ParamsArgs(named, b"", LIVE, 1),
                    )
                await at_a.call(
                    remote_migrate.DOMAIN_MIGRATE_CONFIRM3_PARAMS,
                    remote_migrate.Confirm3ParamsArgs(dom, [], b"", LIVE, 1),
                )
        host_b.assert_no_leftovers()
        guest.assert_runs_only_on(host_a, host_b)


async def test_what_waits_is_told_to_those_who_cannot_ask(
    host_a: DaemonProcess, host_b: DaemonProcess, folder: Path
) -> None:
    """And to nobody else: a source that drives the migration asks by itself."""
    with running_tiny(host_a, folder) as guest:
        async with connected(host_a) as at_a, connected(host_b) as at_b:
            dom = (await at_a.call(remote_list.DOMAIN_LOOKUP_BY_NAME, remote_list.NameArgs(guest.name))).dom
            for flags in (LIVE, LIVE | MigrateFlag.PEER2PEER):
                begun = await at_a.call(
                    remote_migrate.DOMAIN_MIGRATE_BEGIN3_PARAMS, remote_migrate.Begin3ParamsArgs(dom, [], LIVE)
                )
                named = Options(destination_xml=begun.xml, destination_name=guest.name).to_typed()
                prepared = await at_b.call(
                    remote_migrate.DOMAIN_MIGRATE_PREPARE3_PARAMS,
                    remote_migrate.Prepare3ParamsArgs(named, begun.cookie_out, flags),
                )
                told = cookie.parse(prepared.cookie_out).machine_xml
                assert (told is None) == bool(flags & MigrateFlag.PEER2PEER)
                with pytest.raises(errors.RemoteError):
                    await at_b.call(
                        remote_migrate.DOMAIN_MIGRATE_FINISH3_PARAMS,
                        remote_migrate.Finish3ParamsArgs(named, b"", flags, 1),
                    )
                await at_a.call(
                    remote_migrate.DOMAIN_MIGRATE_CONFIRM3_PARAMS,
                    remote_migrate.Confirm3ParamsArgs(dom, [], b"", LIVE, 1),
                )
