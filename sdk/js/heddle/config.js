// What the operator tells the plugin.
import { get as find, names as all } from "heddle:host/config@0.1.0";

/** A value by its name; `undefined` where nothing is said. */
export function get(name) {
  const found = find(name);
  return found === undefined || found === null ? undefined : JSON.parse(found);
}
export const names = () => all();
