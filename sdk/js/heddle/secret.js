// Secrets, without their values: what is handed over stands for the value, and the host puts that in on the way out.
import { get as find } from "heddle:host/secret@0.1.0";
import { Failure, payload } from "./failure.js";

export function get(name) {
  try {
    return find(name);
  } catch (thrown) {
    throw Failure.permanent("secret_denied", String(payload(thrown)));
  }
}
