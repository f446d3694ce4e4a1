"""Limits that cannot work are refused."""

from __future__ import annotations

from typing import Any

import pytest

from culvert.ground import errors
from culvert.ground.units import MiB
from culvert.tunnel.limits import ChannelLimits


@pytest.mark.parametrize(
    "fields",
    [{"chunk": 0}, {"chunk": 2 * MiB}, {"window": 0}, {"inbound": 0}, {"heartbeat": 0.0}, {"dead": 1.0}],
)
def test_limits_that_cannot_work(fields: dict[str, Any]) -> None:
    with pytest.raises(errors.InvalidArgument):
        ChannelLimits(**fields)
