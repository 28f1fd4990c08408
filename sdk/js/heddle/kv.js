// Values that a plugin keeps for itself. Bytes in, bytes out; text is written as UTF-8.
import * as host from "heddle:host/kv@0.1.0";
import { Failure, payload } from "./failure.js";
import { decode, encode } from "./text.js";

const bytes = (value) => (typeof value === "string" ? encode(value) : value);
const ttl = (ms) => (ms === undefined ? undefined : Math.ceil(ms));

function tried(call) {
  try {
    return call();
  } catch (thrown) {
    const fault = payload(thrown);
    if (fault === null || typeof fault !== "object" || !("tag" in fault)) throw thrown;
    const message =
      fault.tag === "conflict" ? `it has version ${fault.val}, and another one was expected` : String(fault.val);
    throw Failure[fault.tag === "failed" ? "retryable" : "permanent"](`kv_${fault.tag.replaceAll("-", "_")}`, message);
  }
}

/** `{value, version, text()}`, or `undefined` where there is none. */
export function get(key) {
  const entry = tried(() => host.get(key));
  if (entry === undefined || entry === null) return undefined;
  return { value: entry.value, version: Number(entry.version), text: () => decode(entry.value) };
}
/** Writes a value, and gives its version. */
export const set = (key, value, ttlMs) => Number(tried(() => host.set(key, bytes(value), ttl(ttlMs))));
/** Only if it has this version; `0` for one that is not there. */
export const setIf = (key, value, version, ttlMs) =>
  Number(tried(() => host.setIf(key, bytes(value), Number(version), ttl(ttlMs))));
/** Adds, and gives the sum. */
export const increment = (key, by = 1) => Number(tried(() => host.increment(key, Number(by))));
/** Whether there was one. */
export const remove = (key) => tried(() => host["delete"](key));
/** Keys that begin so, behind `after`. */
export const keys = (prefix = "", after = "", limit = 1000) => tried(() => host.keys(prefix, after, limit));
