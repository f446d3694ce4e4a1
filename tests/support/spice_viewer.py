"""A real SPICE client without a window: ``python3 spice_viewer.py HOST PORT [CA]`` says where its main channel is.

It runs in the system's own interpreter (package gir1.2-spiceclientglib-2.0). Each line is a word and the port that
the session has: ``opened`` and other events of the main channel, ``none`` when a migration of the session is over.
"""

from __future__ import annotations

import sys
from typing import Any

import gi  # type: ignore[import-not-found]

gi.require_version("SpiceClientGLib", "2.0")
from gi.repository import GLib, GObject, SpiceClientGLib  # type: ignore[import-not-found]  # noqa: E402


def main(host: str, port: str, ca: str = "") -> None:
    session = SpiceClientGLib.Session()
    session.props.host = host
    session.set_property("tls-port" if ca else "port", port)
    if ca:
        session.set_property("ca-file", ca)

    def say(word: str) -> None:
        print(word, session.get_property("tls-port" if ca else "port"), flush=True)

    def on_channel(_: Any, channel: Any) -> None:
        if isinstance(channel, SpiceClientGLib.MainChannel):
            on = GObject.GObject.connect
            on(channel, "channel-event", lambda _, event: say(event.value_nick))
        SpiceClientGLib.Channel.connect(channel)

    GObject.GObject.connect(session, "channel-new", on_channel)
    GObject.GObject.connect(
        session, "notify::migration-state", lambda *_: say(session.get_property("migration-state").value_nick)
    )
    GObject.GObject.connect(session, "disconnected", lambda *_: say("disconnected"))
    SpiceClientGLib.Session.connect(session)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(*sys.argv[1:])
