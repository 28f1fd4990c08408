// What comes out follows from the input alone: the same input, the same output, and it is cached.
import { Failure } from "heddle";

interface Input {
  name: string;
}

export function apply(input: Input) {
  const name = input.name.trim();
  if (name === "") throw Failure.permanent("no_name", "the name is empty; say who is to be greeted");
  return { greeting: `Hello, ${name}!`, letters: [...name].length };
}
