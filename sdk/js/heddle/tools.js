// Other plugins, for agents: what the step grants.
import { list as all, call as ask } from "heddle:host/tools@0.1.0";
import { failed } from "./failure.js";

/** `{name, title, description, inputSchema, outputSchema}` of each, by name. */
export function list() {
  return all().map((tool) => ({
    ...tool,
    inputSchema: JSON.parse(tool.inputSchema),
    outputSchema: JSON.parse(tool.outputSchema),
  }));
}
/** Calls one and gives its output; throws its `Failure`. */
export function call(name, input) {
  try {
    return JSON.parse(ask({ name, input: JSON.stringify(input ?? null) }));
  } catch (thrown) {
    throw failed(thrown);
  }
}
