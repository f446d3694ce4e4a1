"""Long computations beside the event loop: descriptions of domains that are read, completed, compared and written.

They have threads of their own. The loop's other threads wait for disks, some for a long time; who only wants to know
what a definition says must not stand in line behind these. Two are enough: threads of Python take turns, each more
would only hold the loop for one more turn (``sys.getswitchinterval``, 5 ms).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_THREADS = ThreadPoolExecutor(max_workers=2, thread_name_prefix="apart")


async def run(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """``work(*args)``, in a thread; raises what that raises. ``work`` uses values only, nothing that may change.

    Cancelled, ``work`` goes on to its end, and nobody hears of it.
    """
    return await asyncio.get_running_loop().run_in_executor(_THREADS, lambda: work(*args, **kwargs))
