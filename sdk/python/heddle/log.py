"""Lines for the operator."""

from wit_world.imports import log as _host


def trace(message: object) -> None:
    _host.write(_host.Level.TRACE, str(message))


def debug(message: object) -> None:
    _host.write(_host.Level.DEBUG, str(message))


def info(message: object) -> None:
    _host.write(_host.Level.INFO, str(message))


def warn(message: object) -> None:
    _host.write(_host.Level.WARN, str(message))


def error(message: object) -> None:
    _host.write(_host.Level.ERROR, str(message))
