"""``python -m demo``: run the demonstration; the last line printed is one JSON object."""

from __future__ import annotations

import argparse
import sys

from demo import figures
from demo.scenario import Demo, DemoFailed
from guests import cache, domain_xml, linux
from tests.support.daemon import DaemonFailed


def main() -> int:
    """0 when the guest moved there and back unharmed, 1 when not, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--mib", type=int, default=256, help="memory the guest fills (%(default)s)")
    parser.add_argument("--dirty-mib", type=int, default=64, help="how much of it is rewritten (%(default)s)")
    parser.add_argument("--dirty-mib-s", type=float, default=20, help="MiB rewritten in a second (%(default)s)")
    parser.add_argument("--machine", choices=domain_xml.MACHINES, default="q35", help="machine type (%(default)s)")
    options = parser.parse_args()
    parameters = linux.LinuxParameters(
        mib=options.mib, dirty_mib=options.dirty_mib, dirty_mib_s=options.dirty_mib_s, pass_s=2
    )
    try:
        with Demo(parameters, options.machine) as demo:
            outcome = demo.run()
    except (DemoFailed, DaemonFailed, cache.BuildFailed, AssertionError) as err:
        print(f"\nfailed: {err}", flush=True)
        print(figures.failure(str(err).splitlines()[0] if str(err) else type(err).__name__))
        return 1
    except KeyboardInterrupt:
        print(figures.failure("interrupted"))
        return 130
    print()
    print(outcome.text())
    print(outcome.json())
    return 0


if __name__ == "__main__":
    sys.exit(main())
