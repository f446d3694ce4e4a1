"""libvirt's numbers under their own names, from one place: ``constants.DomainState.RUNNING``.

They live in ``constants_state`` (states, reasons, events, features), ``constants_event`` (what events hold),
``constants_flag`` (flags of the calls) and ``constants_migrate`` (jobs and migration).
"""

# One vocabulary in four files: the star is the point here.
from culvert.protocol.constants_event import *  # noqa: F403
from culvert.protocol.constants_flag import *  # noqa: F403
from culvert.protocol.constants_migrate import *  # noqa: F403
from culvert.protocol.constants_state import *  # noqa: F403
