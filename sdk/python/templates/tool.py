"""Acts on the world within its grants. Name what it needs under `uses` in plugin.toml, such as `http`."""

from heddle import Failure, context, log


def call(input):
    name = input["name"].strip()
    if not name:
        raise Failure("no_name", "the name is empty; say who is to be greeted")
    log.info(f"greeting {name} in run {context.current().run}")
    return {"greeting": f"Hello, {name}!", "letters": len(name)}
