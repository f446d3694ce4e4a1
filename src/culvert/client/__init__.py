"""culvert from a program: what the ``culvert`` command does, as an asyncio API. See docs/client.md.

::

    async with client.connect(uri) as host:
        async with host.migrate("guest", destination) as migration:
            async for progress in migration:
                print(progress.percent)

The names here are the public ones. What is raised is ``culvert.ground.errors``, and three of its kinds that have
more to say: ``Unreachable``, ``NotArrived`` and ``JobGoesOn``.
"""

from culvert.client.domains import Domain
from culvert.client.history import Line, Record, WaitingGuest
from culvert.client.host import Host, connect
from culvert.client.job import JobGoesOn, JobInfo
from culvert.client.migration import Migration, Notice
from culvert.client.options import MigrateOptions
from culvert.client.progress import Progress
from culvert.client.sighting import Place, Sighting
from culvert.client.target import ENVIRONMENT_URI, Unreachable, default_uri
from culvert.client.verdict import Location, NotArrived, Result, Verdict
from culvert.client.whereabouts import Whereabouts

__all__ = [
    "ENVIRONMENT_URI",
    "Domain",
    "Host",
    "JobGoesOn",
    "JobInfo",
    "Line",
    "Location",
    "MigrateOptions",
    "Migration",
    "NotArrived",
    "Notice",
    "Place",
    "Progress",
    "Record",
    "Result",
    "Sighting",
    "Unreachable",
    "Verdict",
    "WaitingGuest",
    "Whereabouts",
    "connect",
    "default_uri",
]
