"""What comes out follows from the input alone: the same input, the same output, and it is cached."""

from heddle import Failure


def apply(input):
    name = input["name"].strip()
    if not name:
        raise Failure("no_name", "the name is empty; say who is to be greeted")
    return {"greeting": f"Hello, {name}!", "letters": len(name)}
