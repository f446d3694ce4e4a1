"""``python -m guests``: build both guests into the cache and say where they are."""

from __future__ import annotations

import sys

from guests import cache, linux, tiny


def main() -> int:
    """Build everything; 0 when all is there."""
    try:
        print(f"tiny guest: {len(tiny.program())} bytes")
        print(f"kernel:     {linux.kernel()}")
        print(f"initramfs:  {linux.initramfs()}")
    except cache.BuildFailed as err:
        print(f"error: {err}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
