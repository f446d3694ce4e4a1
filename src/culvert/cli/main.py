"""The ``culvert`` command: options and files in, one coroutine run, words and an exit code out."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Coroutine
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, NoReturn, TypeVar

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from culvert import __version__, client
from culvert.cli import audit, display, domains, history, migrate, progress
from culvert.cli.exits import Exit, table
from culvert.cli.pki import pki
from culvert.client import MigrateOptions
from culvert.ground import errors
from culvert.ground import uri as uris
from culvert.ground.uri import ConnectionURI

T = TypeVar("T")


def _uri(text: str) -> ConnectionURI:
    """A connection URI; an unreadable one is a usage error."""
    try:
        return uris.parse(text)
    except errors.InvalidArgument as err:
        raise click.BadParameter(str(err)) from err


_PIPE_WIDTH = 4096
XML = click.File("r", encoding="utf-8")
# Words of the destination URI's parameters of the same names (docs/migration.md).
ROUTES = ("auto", "direct", "pump", "stream")
COMPRESSIONS = ("off", "auto", "on")
METHODS = ("xbzrle", "zlib", "zstd")


@click.group(epilog=table(), context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-c",
    "--connect",
    "uri",
    type=_uri,
    metavar="URI",
    help=f"Daemon to talk to. Default: ${client.ENVIRONMENT_URI}, or this host's own daemon.",
)
@click.version_option(__version__, prog_name="culvert")
@click.pass_context
def cli(context: click.Context, uri: ConnectionURI | None) -> None:
    """Move running QEMU guests between hosts, inside the management daemons' own connection."""
    try:
        context.obj = uri or uris.parse(client.default_uri(os.environ, os.getuid()))
    except errors.InvalidArgument as err:
        raise click.UsageError(f"${client.ENVIRONMENT_URI}: {err}") from err


@cli.command("list")
@click.option("--all", "everything", is_flag=True, help="Also the domains that are shut off.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_obj
def list_(uri: ConnectionURI, everything: bool, as_json: bool) -> None:
    """List the domains of a daemon."""
    lines = _run(domains.listing(uri, everything=everything))
    if as_json:
        for line in lines:
            click.echo(json.dumps(asdict(line), ensure_ascii=False))
        return
    rows = Table("Id", "Name", "State", "UUID", box=None, pad_edge=False)
    for line in lines:
        rows.add_row("-" if line.id is None else str(line.id), Text(line.name), Text(line.state), line.uuid)
    _console().print(rows)
    for line in lines:
        if line.waits_for:
            click.echo(f"guest '{line.name}' is {line.waits_for}")


@cli.command()
@click.argument("file", type=XML)
@click.pass_obj
def define(uri: ConnectionURI, file: IO[str]) -> None:
    """Define a domain from the domain XML in FILE ("-" for the standard input)."""
    click.echo(_run(domains.define(uri, _text(file))))


@cli.command()
@click.argument("domain")
@click.pass_obj
def start(uri: ConnectionURI, domain: str) -> None:
    """Start a defined DOMAIN (name, UUID or id)."""
    click.echo(_run(domains.start(uri, domain)))


@cli.command()
@click.argument("domain")
@click.pass_obj
def destroy(uri: ConnectionURI, domain: str) -> None:
    """End the guest of DOMAIN at once, as pulling its plug would."""
    click.echo(_run(domains.destroy(uri, domain)))


@cli.command()
@click.argument("domain")
@click.option("--completed", is_flag=True, help="The last job that ended, instead of the one under way.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, with libvirt's names.")
@click.pass_obj
def job(uri: ConnectionURI, domain: str, completed: bool, as_json: bool) -> None:
    """Tell what job DOMAIN has."""
    found = _run(domains.job(uri, domain, completed=completed))
    if as_json:
        click.echo(json.dumps({"type": found.type, **found.values}, ensure_ascii=False))
        return
    click.echo(f"job of domain '{domain}': {found.type}")
    if found.progress is not None:
        click.echo((progress.summary if completed else progress.as_text)(found.progress))
    for name, value in found.values.items():
        click.echo(f"  {name:<26} {value}")


@cli.command()
@click.argument("domain")
@click.pass_obj
def abort(uri: ConnectionURI, domain: str) -> None:
    """Abort the job of DOMAIN and tell where its guest is then."""
    click.echo(_run(domains.abort(uri, domain)))


@cli.command("migrate", epilog=table())
@click.argument("domain")
@click.argument("destination", metavar="DEST-URI", type=_uri)
@click.option("--live/--no-live", default=True, help="Let the guest run meanwhile (default), or pause it first.")
@click.option("--persistent", is_flag=True, help="Define the domain at the destination.")
@click.option("--undefinesource", is_flag=True, help="Undefine the domain at the source afterwards.")
@click.option("--suspend", is_flag=True, help="Leave the guest paused at the destination.")
@click.option("--dname", metavar="NAME", help="The domain's name at the destination.")
@click.option("--xml", type=XML, metavar="FILE", help="Domain XML to start with at the destination.")
@click.option("--persistent-xml", type=XML, metavar="FILE", help="Domain XML to define at the destination.")
@click.option("--offline", is_flag=True, help="Move the definition of a domain that is shut off.")
@click.option("--unsafe", is_flag=True, help="Migrate although disks are not known to be shared.")
@click.option("--abort-on-error", is_flag=True, help="Cancel when a disk fails during the migration.")
@click.option("--bandwidth", type=click.IntRange(min=1), metavar="MiB/s", help="Send no faster.")
@click.option("--parallel", is_flag=True, help="Send memory over several connections at once.")
@click.option("--parallel-connections", type=click.IntRange(1, 255), metavar="N", help="So many of them.")
@click.option("--postcopy", is_flag=True, help="Allow post-copy: the guest runs there before all of it is there.")
@click.option("--postcopy-after-precopy", is_flag=True, help="Go over to it after the first round over the memory.")
@click.option(
    "--postcopy-bandwidth", type=click.IntRange(min=1), metavar="MiB/s", help="In post-copy send no faster."
)
@click.option(
    "--auto-converge", is_flag=True, help="Slow a guest down that changes its memory faster than it can go."
)
@click.option("--auto-converge-initial", type=click.IntRange(1, 99), metavar="%", help="By so much at first.")
@click.option(
    "--auto-converge-increment", type=click.IntRange(1, 99), metavar="%", help="By so much more each round."
)
@click.option("--compressed", is_flag=True, help="Send differences of pages sent before (xbzrle).")
@click.option(
    "--comp-methods", multiple=True, type=click.Choice(METHODS), help="xbzrle; with --parallel zlib or zstd."
)
@click.option("--comp-xbzrle-cache", type=click.IntRange(min=1), metavar="BYTES", help="Room for what was sent.")
@click.option("--comp-zlib-level", type=click.IntRange(0, 9), metavar="N", help="Of zlib.")
@click.option("--comp-zstd-level", type=click.IntRange(0, 20), metavar="N", help="Of zstd.")
@click.option("--route", type=click.Choice(ROUTES), help="How the bytes travel; by default as the source has it.")
@click.option("--compression", type=click.Choice(COMPRESSIONS), help="Compress in the tunnel (zstd).")
@click.option("--auto/--no-auto", default=None, help="Help a guest that does not converge; by default as configured.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), metavar="S", help="Cancel after S seconds.")
@click.option("--timeout-suspend", is_flag=True, help="At the timeout suspend the guest instead: then it ends soon.")
@click.option("--timeout-postcopy", is_flag=True, help="At the timeout go over to post-copy instead.")
@click.option("--json", "as_json", is_flag=True, help="Progress and result as JSON lines.")
@click.pass_obj
def migrate_(
    uri: ConnectionURI,
    /,
    *,
    domain: str,
    destination: ConnectionURI,
    as_json: bool,
    **options: Any,
) -> NoReturn:
    """Migrate DOMAIN to the daemon at DEST-URI, tunnelled through the daemons' connection.

    The daemon at the source drives the migration and connects to DEST-URI itself. Ctrl-C cancels the migration and
    waits for the end; a second one does not wait. The last line always tells where the guest is.
    """
    for name in ("xml", "persistent_xml"):
        if options[name] is not None:
            options[name] = _text(options[name])
    wanted = MigrateOptions(**options)
    if problem := wanted.problem(lambda name: f"--{name.replace('_', '-')}"):
        raise click.UsageError(problem)
    shown = display.choose(_console(), as_json=as_json, out=sys.stdout, err=sys.stderr)
    try:
        ending = asyncio.run(migrate.migrate(uri, domain, destination, wanted, shown))
    except KeyboardInterrupt:
        ending = migrate.not_begun(shown, Exit.CANCELLED, "interrupted")
    sys.exit(ending.exit)


class _OfDomain(click.Group):
    """A group whose first word is a command of it, or else what its option --domain says."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        valued = {
            name for each in self.params if isinstance(each, click.Option) for name in each.opts if not each.is_flag
        }
        place = 0
        while place < len(args) and args[place].startswith("-"):
            place += 2 if args[place] in valued else 1
        if place < len(args) and args[place] not in self.commands:
            if any(word.split("=")[0] == "--domain" for word in args):
                raise click.UsageError(f"of which domain: '{args[place]}', or that of --domain?", ctx)
            args = [*args[:place], "--domain", *args[place:]]
        return super().parse_args(ctx, args)


@cli.group("history", cls=_OfDomain, invoke_without_command=True, subcommand_metavar="[DOMAIN | COMMAND [ARGS]...]")
@click.option(
    "--domain", default="", metavar="DOMAIN", help="Only of this domain (name or UUID), whatever it is called."
)
@click.option("--limit", type=click.IntRange(1, 256), default=20, show_default=True, help="The newest so many.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_context
def history_(context: click.Context, domain: str, limit: int, as_json: bool) -> None:
    """Tell what migrations there were, out of this host and into it, of DOMAIN or of all: one line each, the newest
    first."""
    if context.invoked_subcommand is not None:
        return
    found = _run(history.records(context.obj, domain, limit))
    if as_json:
        for each in found:
            click.echo(json.dumps(each.as_json(), ensure_ascii=False))
        return
    rows = Table("Id", "Began", "Domain", "", "Other end", "Route", "Outcome", "Cause", box=None, pad_edge=False)
    for each in found:
        words = (each.domain, history.ARROWS[each.direction], each.peer, each.route)
        ending = (history.outcome(each), each.cause)
        rows.add_row(str(each.id), history.time(each.began), *(Text(word) for word in (*words, *ending)))
    _console().print(rows)


@history_.command("show")
@click.argument("number", type=click.IntRange(min=1), metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_obj
def history_show(uri: ConnectionURI, number: int, as_json: bool) -> None:
    """Tell all of the migration ID: every phase and its time, figures, decisions, the cause of a failure."""
    found = _run(history.record(uri, number))
    if as_json:
        click.echo(json.dumps(found.as_json(), ensure_ascii=False))
        return
    for line in history.lines(found):
        click.echo(line)


@cli.command()
@click.argument("domain")
@click.option("--running-here", "here", is_flag=True, help="The guest goes on at this host.")
@click.option("--running-there", "there", is_flag=True, help="The guest runs at the destination.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def resolve(uri: ConnectionURI, /, *, domain: str, here: bool, there: bool, yes: bool) -> None:
    """Decide where the guest of DOMAIN runs, when its migration waits for a destination that does not say.

    "culvert list" shows what waits, and for what. The decision is written to the history with who has made it.
    """
    if here is there:
        raise click.UsageError("one of --running-here and --running-there is needed")
    guest = _run(history.find_waiting(uri, domain))
    click.echo(history.warning(guest, here=here), err=True)
    if not yes:
        click.confirm("Is that so?", abort=True, err=True)
    click.echo(_run(history.resolve(uri, guest, here=here)))


@cli.command("audit")
@click.option("--file", "path", type=click.Path(path_type=Path), help="The record; else this host's daemon's own.")
@click.option("--guest", default="", metavar="DOMAIN", help="Only of this domain (name or UUID).")
@click.option("--who", default="", metavar="NAME", help="Only of this client, as a policy calls it: user:alice.")
@click.option("--outcome", type=click.Choice(["done", "refused", "failed"]), help="Only what ended so.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="The newest so many.")
@click.option("--json", "as_json", is_flag=True, help="The lines as they are written.")
def audit_(  # noqa: PLR0917 - click gives them by name
    path: Path | None, guest: str, who: str, outcome: str | None, limit: int, as_json: bool
) -> None:
    """Tell who has done what at this host: every call that changed something or was refused, the newest last."""
    try:
        found = audit.read(path or audit.own(), guest=guest, who=who, outcome=outcome or "", limit=limit)
    except errors.InvalidArgument as err:
        _fail(Exit.FAILED, str(err))
    if as_json:
        for each in found:
            click.echo(each.text)
        return
    rows = Table("Time", "Who", "From", "Call", "Guest", "Outcome", box=None, pad_edge=False)
    for each in found:
        rows.add_row(*(Text(word) for word in each.words()))
    _console().print(rows)


cli.add_command(pki)


def main() -> NoReturn:
    """Run the command line; never returns."""
    cli(prog_name="culvert")
    raise AssertionError("click ends the process itself")


def _console() -> Console:
    # Into a pipe lines go as long as they are; on a terminal rich folds what is too long.
    return Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def _text(file: IO[str]) -> str:
    try:
        return file.read()
    except UnicodeDecodeError as err:
        raise click.UsageError(f"{file.name}: not UTF-8: {err}") from err


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Run one command's work; a refusal ends the process with its words and its code."""
    try:
        return asyncio.run(work)
    except client.Unreachable as err:
        _fail(Exit.UNREACHABLE, f"{err}; nothing was done")
    except errors.RequestError as err:
        _fail(Exit.FAILED, str(err))
    except KeyboardInterrupt:
        _fail(Exit.CANCELLED, "interrupted")


def _fail(code: Exit, words: str) -> NoReturn:
    click.echo(f"error: {words}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
