// Requests to services outside, as far as the operator has granted them.
import { send as dispatch } from "heddle:host/http@0.1.0";
import { Failure, payload } from "./failure.js";
import { decode, encode } from "./text.js";

/** Sends a request, and gives the answer: `{status, headers, body, text(), json()}`. A redirect is an answer. */
export function send({ method = "GET", url, headers = {}, body, timeoutMs }) {
  let bytes = body;
  const pairs = Object.entries(headers).map(([name, value]) => ({ name, value: String(value) }));
  if (body !== undefined && !(body instanceof Uint8Array)) {
    const isText = typeof body === "string";
    bytes = encode(isText ? body : JSON.stringify(body));
    if (!isText && !pairs.some(({ name }) => name.toLowerCase() === "content-type")) {
      pairs.push({ name: "content-type", value: "application/json" });
    }
  }
  const timeout = timeoutMs === undefined ? undefined : Math.ceil(timeoutMs);
  let answer;
  try {
    answer = dispatch({ method, url, headers: pairs, body: bytes, timeoutMs: timeout });
  } catch (thrown) {
    const fault = payload(thrown);
    if (fault === null || typeof fault !== "object" || !("kind" in fault)) throw thrown;
    const again = fault.kind === "failed" || fault.kind === "timed-out";
    throw Failure[again ? "retryable" : "permanent"](`http_${fault.kind.replaceAll("-", "_")}`, fault.message);
  }
  const text = () => decode(answer.body);
  return {
    status: answer.status,
    headers: Object.fromEntries(answer.headers.map(({ name, value }) => [name, value])),
    body: answer.body,
    text,
    json: () => JSON.parse(text()),
  };
}

export const get = (url, options = {}) => send({ ...options, url });
export const post = (url, body, options = {}) => send({ ...options, method: "POST", url, body });
