// Acts on the world within its grants. Name what it needs under `uses` in plugin.toml, such as `http`.
import { Failure, context, log } from "heddle";

interface Input {
  name: string;
}

export function call(input: Input) {
  const name = input.name.trim();
  if (name === "") throw Failure.permanent("no_name", "the name is empty; say who is to be greeted");
  log.info(`greeting ${name} in run ${context.current().run}`);
  return { greeting: `Hello, ${name}!`, letters: [...name].length };
}
