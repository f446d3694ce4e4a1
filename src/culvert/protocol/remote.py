"""The REMOTE program: every row of its modules under one name, and ``PROGRAM``, the table itself.

``remote.DOMAIN_GET_STATE`` is the row, ``remote.DomainGetStateRet`` its result. A row is here when culvert serves it
or may come to; a procedure without a handler is answered "unknown procedure", as is one without a row.
"""

from __future__ import annotations

from culvert.protocol import (
    remote_change,
    remote_connect,
    remote_domain,
    remote_event,
    remote_guest,
    remote_job,
    remote_list,
    remote_migrate,
    remote_object,
    remote_register,
    remote_save,
    remote_snapshot,
    remote_stats,
    remote_storage,
)
from culvert.protocol.procedure import Program

# One table in fourteen files: the star is the point here.
from culvert.protocol.remote_change import *  # noqa: F403
from culvert.protocol.remote_connect import *  # noqa: F403
from culvert.protocol.remote_domain import *  # noqa: F403
from culvert.protocol.remote_event import *  # noqa: F403
from culvert.protocol.remote_guest import *  # noqa: F403
from culvert.protocol.remote_job import *  # noqa: F403
from culvert.protocol.remote_list import *  # noqa: F403
from culvert.protocol.remote_migrate import *  # noqa: F403
from culvert.protocol.remote_object import *  # noqa: F403
from culvert.protocol.remote_register import *  # noqa: F403
from culvert.protocol.remote_save import *  # noqa: F403
from culvert.protocol.remote_snapshot import *  # noqa: F403
from culvert.protocol.remote_stats import *  # noqa: F403
from culvert.protocol.remote_storage import *  # noqa: F403
from culvert.protocol.shapes import *  # noqa: F403

PROGRAM = Program.of_modules(
    "REMOTE",
    0x20008086,  # REMOTE_PROGRAM
    1,  # REMOTE_PROTOCOL_VERSION
    remote_connect,
    remote_list,
    remote_object,
    remote_storage,
    remote_domain,
    remote_change,
    remote_save,
    remote_snapshot,
    remote_stats,
    remote_guest,
    remote_job,
    remote_migrate,
    remote_register,
    remote_event,
)
