"""``culvert pki``: an authority and certificates for hosts and clients, in a folder of their own."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import update_wrapper
from pathlib import Path
from typing import Any

import click
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from rich.console import Console
from rich.table import Table

from culvert.cli import pki_certificate as certificates
from culvert.cli.exits import Exit
from culvert.cli.pki_folder import Folder, Holder, read
from culvert.ground import errors

ENVIRONMENT_FOLDER = "CULVERT_PKI"
AUTHORITY_DAYS = 3650
DAYS = 825
SOON = 30  # days before the end from which a certificate is called due
_WIDTH = 4096


def default_folder(environment: Mapping[str, str], uid: int, home: Path) -> Path:
    """``$CULVERT_PKI``, or /etc/culvert/pki for root, or the user's configuration folder."""
    if given := environment.get(ENVIRONMENT_FOLDER):
        return Path(given)
    if uid == 0:
        return Path("/etc/culvert/pki")
    return Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "culvert/pki"


@dataclass(frozen=True, slots=True)
class CertificateLine:
    """One certificate as ``show`` tells it."""

    path: str
    purpose: str
    subject: str
    names: list[str]
    until: str
    state: str
    fingerprint: str


def line(path: Path, revoked: Mapping[int, datetime], now: datetime | None = None) -> CertificateLine:
    """What there is to say of the certificate in ``path``. Raises ``InvalidArgument``."""
    now = now or datetime.now(UTC)
    found = read(path)
    end = found.not_valid_after_utc
    left = (end - now).days
    if found.serial_number in revoked:
        state = f"revoked {revoked[found.serial_number]:%Y-%m-%d}"
    elif now > end:
        state = "expired"
    elif now < found.not_valid_before_utc:
        state = "not valid yet"
    else:
        state = f"valid, {left} days left" + (", renew soon" if left < SOON else "")
    return CertificateLine(
        str(path),
        certificates.purpose_of(found),
        certificates.distinguished_name(found),
        _names(found),
        f"{end:%Y-%m-%d}",
        state,
        found.fingerprint(hashes.SHA256()).hex(),
    )


def _names(certificate: x509.Certificate) -> list[str]:
    found = certificates.alternatives(certificate)
    return [str(name.value) for name in found] if found is not None else []


@contextmanager
def _told() -> Iterator[None]:
    """A refusal ends the command with its words and its code."""
    try:
        yield
    except (errors.RequestError, OSError) as err:
        click.echo(f"error: {err}", err=True)
        raise click.exceptions.Exit(Exit.FAILED) from err


def _telling(function: Callable[..., None]) -> Callable[..., None]:
    def run(*args: Any, **kwargs: Any) -> None:
        with _told():
            function(*args, **kwargs)

    return update_wrapper(run, function)


_days = click.option(
    "--days", type=click.IntRange(min=1, max=36500), default=DAYS, show_default=True, help="How long they are valid."
)


@click.group()
@click.option(
    "-d",
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help=f"Where everything is. Default: ${ENVIRONMENT_FOLDER}, /etc/culvert/pki for root, ~/.config/culvert/pki.",
)
@click.pass_context
def pki(context: click.Context, folder: Path | None) -> None:
    """Certificates for TLS: an authority of your own, hosts and clients.

    Two commands make all that two hosts need: "culvert pki init" and "culvert pki host ALPHA BETA".
    """
    context.obj = Folder(folder or default_folder(os.environ, os.geteuid(), Path.home()))


@pki.command()
@click.option("--organization", default="culvert", show_default=True, help="The O= part of every name.")
@click.option("--days", type=click.IntRange(min=1, max=36500), default=AUTHORITY_DAYS, show_default=True)
@click.pass_obj
@_telling
def init(folder: Folder, organization: str, days: int) -> None:
    """Make the authority that signs everything else."""
    click.echo(f"authority made: {folder.init(organization, days)}")
    click.echo(f"Keep {folder.ca_key} to yourself: who has it can be any host.")


@pki.command()
@click.argument("hosts", metavar="NAME[,NAME|ADDRESS...]...", nargs=-1, required=True)
@_days
@click.pass_obj
@_telling
def host(folder: Folder, hosts: tuple[str, ...], days: int) -> None:
    """Make certificates for hosts: one for the daemon's listeners, one that it shows to other daemons.

    Give every name and address under which others connect, the first is what the host goes by:
    "alpha,alpha.example.org,10.0.0.1".
    """
    for holder in folder.add("hosts", [text.split(",") for text in hosts], days):
        click.echo(f"host '{holder.name}': {holder.folder}")
        click.echo("  copy it to the host and name the files in section [tls] of its configuration:")
        for key, name in _CONFIGURATION.items():
            click.echo(f'    {key} = "/etc/culvert/tls/{name}"')


_CONFIGURATION = {
    "ca": "cacert.pem",
    "cert": "servercert.pem",
    "key": "serverkey.pem",
    "client_cert": "clientcert.pem",
    "client_key": "clientkey.pem",
}


@pki.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@_days
@click.pass_obj
@_telling
def client(folder: Folder, names: tuple[str, ...], days: int) -> None:
    """Make certificates for clients, as virsh and culvert are."""
    for holder in folder.add("clients", [[name] for name in names], days):
        click.echo(f"client '{holder.name}': {holder.folder}")
        click.echo(f"  use it by URI: qemu+tls://HOST/system?pkipath={holder.folder.absolute()}")


@pki.command()
@click.argument("files", metavar="[FILE]...", nargs=-1, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_obj
@_telling
def show(folder: Folder, files: tuple[Path, ...], as_json: bool) -> None:
    """Show all certificates of the folder, or those in FILEs: names, purpose, how long they are valid."""
    paths = list(files) or [folder.ca, *(path for each in folder.holders() for path in each.certificates())]
    revoked = folder.revoked()
    lines = [line(path, revoked) for path in paths]
    if as_json:
        for each in lines:
            click.echo(json.dumps(asdict(each), ensure_ascii=False))
        return
    rows = Table("File", "For", "Name", "Also", "Until", "State", box=None, pad_edge=False)
    for each in lines:
        rows.add_row(each.path, each.purpose, each.subject, ", ".join(each.names), each.until, each.state)
    Console(highlight=False, markup=False, width=_WIDTH).print(rows)


@pki.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--all", "everybody", is_flag=True, help="All hosts and clients.")
@click.option("--ca", "authority", is_flag=True, help="The authority; what it has signed stays good.")
@_days
@click.pass_obj
@_telling
def renew(folder: Folder, names: tuple[str, ...], everybody: bool, authority: bool, days: int) -> None:
    """Make certificates valid anew, with the keys and names they have."""
    holders = _chosen(folder, names, everybody)
    if not holders and not authority:
        raise click.UsageError("name a host or client, or use --all or --ca")
    written = folder.renew_authority(AUTHORITY_DAYS) if authority else []
    written += folder.renew(holders, days)
    for path in written:
        click.echo(f"renewed: {path}")
    click.echo("Copy them to their hosts; a daemon takes them up at SIGHUP (systemctl reload culvertd).")


@pki.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.pass_obj
@_telling
def revoke(folder: Folder, names: tuple[str, ...]) -> None:
    """Take back certificates that are in the wrong hands."""
    for path in folder.revoke(_chosen(folder, names, everybody=False)):
        click.echo(f"list of the revoked: {path}")
    click.echo('Copy it to every host, name it in section [tls] of the configuration (crl = "…"), and send SIGHUP.')


def _chosen(folder: Folder, names: tuple[str, ...], everybody: bool) -> list[Holder]:
    return folder.holders() if everybody else folder.find(list(names))
