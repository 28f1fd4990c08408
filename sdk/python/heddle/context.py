"""Who is being run, and for whom. Tools and agents."""

from wit_world.imports import context as _host


def current() -> _host.Context:
    """Its `tenant`, `run`, `step`, `item`, `attempt`, `idempotency_key`, `deadline_ms`, `fuel_left`, `traceparent`."""
    return _host.current()
