// Files that a run keeps, for people or for later steps. Bytes in, bytes out; text is written as UTF-8.
import * as host from "heddle:host/artifacts@0.1.0";
import { Failure, payload } from "./failure.js";
import { decode, encode } from "./text.js";

const bytes = (value) => (typeof value === "string" ? encode(value) : value);

function tried(call) {
  try {
    return call();
  } catch (thrown) {
    const fault = payload(thrown);
    if (fault === null || typeof fault !== "object" || !("tag" in fault)) throw thrown;
    const code = `artifacts_${fault.tag.replaceAll("-", "_")}`;
    throw Failure[fault.tag === "failed" ? "retryable" : "permanent"](code, String(fault.val));
  }
}

/** Keeps bytes under a name such as `report.md`: `{name, mediaType, digest, size}`. */
export function put(name, mediaType, value) {
  const kept = tried(() => host.put(name, mediaType, bytes(value)));
  return { name: kept.name, mediaType: kept.mediaType, digest: kept.digest, size: Number(kept.size) };
}
/** `{value, text()}`: a file that this run has kept, by its digest. */
export function get(digest) {
  const value = tried(() => host.get(digest));
  return { value, text: () => decode(value) };
}
