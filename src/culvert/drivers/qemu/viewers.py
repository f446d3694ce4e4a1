"""Who looks at a guest by SPICE follows it to another host: QEMU's ``client_migrate_info``.

Source: qemu/qemu_migration.c of libvirt 9.0 (qemuMigrationSrcGraphicsRelocate, qemuMigrationSrcWaitForSpice).
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from culvert.drivers.qemu.migration import QemuGuest
from culvert.drivers.qemu.monitor import Event
from culvert.hypervisor import viewer
from culvert.hypervisor.viewer import Screen


def screen(domain: QemuGuest) -> Screen | None:
    """Of the guest that waits here."""
    run = domain.require_active()
    return viewer.of(run.definition, run.spice_subject)


async def send(domain: QemuGuest, there: Screen) -> None:
    """Raises QEMU's refusal, for one whose server is no SPICE's."""
    told = {"protocol": "spice", "hostname": there.listen}
    ports = {name: port for name, port in (("port", there.port), ("tls-port", there.tls_port)) if port > 0}
    subject = {"cert-subject": there.subject} if there.subject else {}
    run = domain.require_active()
    await domain.monitor.execute("client_migrate_info", {**told, **ports, **subject})
    run.viewers_sent = True


async def gone(domain: QemuGuest) -> None:
    """Wait for QEMU to have sent them all over. The caller has a deadline."""
    if not domain.require_active().viewers_sent:
        return
    done = asyncio.Event()

    def heard(event: Event) -> None:
        if event["event"] == "SPICE_MIGRATE_COMPLETED":
            done.set()

    unsubscribe = domain.monitor.subscribe(heard)
    try:
        if not (await domain.monitor.execute("query-spice")).get("migrated", True):
            await done.wait()
    finally:
        unsubscribe()


def subject(folder: Path) -> str:
    """Of the certificate that servers here show; empty where there is none. Reads a file: call it in a thread."""
    from cryptography import x509  # noqa: PLC0415 - see io.tls_context: it takes long, and most hosts have no SPICE

    try:
        data = (folder / "server-cert.pem").read_bytes()
        # In the certificate's own order, as viewers compare it; the text of RFC 4514 has the other one.
        parts = x509.load_pem_x509_certificate(data).subject.rdns
        return x509.Name([one for part in reversed(parts) for one in part]).rfc4514_string()
    except (OSError, ValueError):
        return ""
