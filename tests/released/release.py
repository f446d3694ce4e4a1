"""Which culvert was released last: the one place that says so.

This checkout must understand it, and be understood by it, both ways. Both lines move when a version is released, in
the commit after the released one, together with the date in the changelog's heading.
"""

from __future__ import annotations

VERSION = "0.1.0"
COMMIT = "40842c41c23f345e4fe4cbe58982be0b099e4ff2"
