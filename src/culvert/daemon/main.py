"""``culvertd``: the command line, the configuration, and the life of the process."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from dataclasses import replace
from pathlib import Path

import click

from culvert import __version__
from culvert.daemon import config as configuration
from culvert.daemon import listen as listen_addresses
from culvert.daemon import log_queue, loop_guard, memory, priority
from culvert.daemon.config import Config
from culvert.daemon.listen import Address
from culvert.daemon.notify import notify
from culvert.daemon.places import Places
from culvert.daemon.rights import audit
from culvert.daemon.server import serve
from culvert.ground import errors
from culvert.io.loop import Loop

log = logging.getLogger("culvert.daemon.main")  # also when run by -m


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--root", metavar="DIR", type=click.Path(path_type=Path), help="Keep all state, sockets and logs below DIR."
)
@click.option(
    "--listen",
    multiple=True,
    metavar="tls://HOST:PORT",
    help="Also listen there (or tcp://, clear-text); may be repeated.",
)
@click.option(
    "--config", "config_path", metavar="FILE", type=click.Path(path_type=Path), help="Configuration file (TOML)."
)
@click.option("--show-config", is_flag=True, help="Print the configuration in force, annotated, and end.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="Instead of the file's.")
@click.version_option(__version__, prog_name="culvertd")
def main(
    root: Path | None, listen: tuple[str, ...], config_path: Path | None, show_config: bool, log_level: str | None
) -> None:
    """Run and migrate the QEMU guests of this host.

    The UNIX socket is RUN/culvert-sock: DIR/run with --root, /run/culvert for root, the XDG runtime directory
    otherwise. SIGTERM and SIGINT stop the daemon and leave the guests running; the next one finds them again. SIGHUP
    makes it read its certificates again.
    """
    try:
        places = Places.below(root) if root else Places.of_system()
        if config_path is not None and not config_path.exists():
            raise errors.InvalidArgument(f"configuration file {config_path} does not exist")
        config = configuration.load(config_path or places.config)
        config = replace(
            config,
            daemon=replace(
                config.daemon,
                listen=[*config.daemon.listen, *listen],
                log_level=log_level or config.daemon.log_level,
            ),
        )
        if show_config:
            click.echo(configuration.render(config, commented=False))
            return
        addresses = [
            listen_addresses.parse(text, allow_clear_text=config.daemon.allow_clear_text)
            for text in config.daemon.listen
        ]
        places.make()
    except errors.RequestError as err:
        click.echo(f"culvertd: {err}", err=True)
        sys.exit(2)
    # To the log file below a root or in the log directory; also to the terminal or the journal.
    with log_queue.to(places.layout.log / "culvertd.log") as logs, audit.to(places.layout.log):
        logging.basicConfig(level=config.daemon.log_level.upper(), handlers=[logs])
        priority.answer_first()
        memory.settle()
        try:
            with loop_guard.from_environment(), asyncio.Runner(loop_factory=Loop) as runner:
                status = runner.run(_run(places, config, addresses))
        except Exception:
            log.exception("culvertd ends by a fault of its own")
            status = 1
    sys.exit(status)


async def _run(places: Places, config: Config, addresses: list[Address]) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    hostname = config.daemon.hostname or socket.gethostname()
    try:
        async with serve(places, config, hostname, addresses) as running:
            loop.add_signal_handler(signal.SIGHUP, running.reload)
            log.info("culvertd version=%s pid=%d host=%s", __version__, os.getpid(), hostname)
            # One line that programs wait for, on standard output alone.
            print("culvertd ready", *(f"listen={name}" for name in running.addresses), flush=True)
            notify("READY=1")
            async with asyncio.TaskGroup() as tasks:
                keeper = tasks.create_task(memory.give_back(running.under_way), name="memory")
                await stopping.wait()
                keeper.cancel()
            loop.add_signal_handler(signal.SIGHUP, lambda: None)  # too late to reload, and no reason to die
            log.info("culvertd is stopping; guests run on")
            notify("STOPPING=1")
    except errors.RequestError as err:
        log.error("culvertd cannot run: %s", err)
        return 1
    return 0


if __name__ == "__main__":
    main()
