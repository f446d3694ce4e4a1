"""The REMOTE program: the rows of its modules in one table.

``remote_domain.DOMAIN_GET_STATE`` is a row, ``remote_domain.DomainGetStateRet`` its result. A row is there when
culvert serves it or may come to; a procedure without a handler is answered as libvirt answers what its driver has
not, as is one without a row that libvirt has.
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
    remote_network,
    remote_object,
    remote_register,
    remote_save,
    remote_secret,
    remote_snapshot,
    remote_stats,
    remote_storage,
    remote_tune,
    remote_unserved,
)
from culvert.protocol.procedure import Program

MODULES = (
    remote_connect,
    remote_list,
    remote_object,
    remote_storage,
    remote_network,
    remote_secret,
    remote_domain,
    remote_change,
    remote_save,
    remote_snapshot,
    remote_stats,
    remote_tune,
    remote_guest,
    remote_job,
    remote_migrate,
    remote_register,
    remote_event,
)
"""In the order in which docs/wire.md has them."""

PROGRAM = Program.of_modules(
    "REMOTE",
    0x20008086,  # REMOTE_PROGRAM
    1,  # REMOTE_PROTOCOL_VERSION
    *MODULES,
    others=remote_unserved.UNSERVED,
    function=remote_unserved.function,
)
