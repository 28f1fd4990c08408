// Decides as it goes: it may call the plugins that its step grants under `tools`.
import { Failure, log, tools } from "heddle";

export function run(goal) {
  const name = goal.name.trim();
  if (name === "") throw Failure.permanent("no_name", "the name is empty; say who is to be greeted");
  const granted = tools.list().map((tool) => tool.name);
  log.info(`may call: ${granted.join(", ") || "nothing"}`);
  return { greeting: `Hello, ${name}!`, letters: [...name].length };
}
