"""Decides as it goes: it may call the plugins that its step grants under `tools`."""

from heddle import Failure, log, tools


def run(goal, state=None):
    name = goal["name"].strip()
    if not name:
        raise Failure("no_name", "the name is empty; say who is to be greeted")
    log.info(f"may call: {', '.join(tools.names()) or 'nothing'}")
    return {"greeting": f"Hello, {name}!", "letters": len(name)}
