"""How far along the work is, for whoever watches. Tools and agents."""

from typing import Optional

from wit_world.imports import progress as _host


def report(stage: str, percent: Optional[int] = None, message: str = "") -> None:
    _host.report(stage, percent, message)
