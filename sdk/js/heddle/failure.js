// How a plugin says that it failed. The plugin knows whether trying again may help; how often and when to try again is
// the workflow's to decide.
import { running } from "./random.js";
import "./text.js";

/** Thrown to end a call. Anything else that is thrown is a permanent failure with the code `unexpected`. */
export class Failure extends Error {
  constructor(tag, val) {
    super((val.detail ?? val).message);
    this.name = "Failure";
    this.tag = tag;
    this.val = val;
  }
  /** A stable word that a workflow can match. */
  get code() {
    return (this.val.detail ?? this.val).code;
  }
  /** The same call will fail again. */
  static permanent(code, message, data) {
    return new Failure("permanent", detail(code, message, data));
  }
  /** The same call may succeed later. */
  static retryable(code, message, data) {
    return new Failure("retryable", detail(code, message, data));
  }
  /** The same call may succeed after so many milliseconds. */
  static rateLimited(retryAfterMs, code, message, data) {
    return new Failure("rate-limited", {
      retryAfterMs: Math.max(0, Math.ceil(retryAfterMs)),
      detail: detail(code, message, data),
    });
  }
}

function detail(code, message, data) {
  return { code, message, data: data === undefined ? undefined : JSON.stringify(data) };
}

// What a host call throws where its WIT result is an error: the value itself, or an error that carries it.
export function payload(thrown) {
  return thrown !== null && typeof thrown === "object" && "payload" in thrown ? thrown.payload : thrown;
}

// A failure of a host call as one of ours.
export function failed(thrown) {
  const said = payload(thrown);
  return said !== null && typeof said === "object" && "tag" in said && "val" in said
    ? new Failure(said.tag, said.val)
    : thrown;
}

// Runs what the author wrote, and gives its answer as the host wants it.
export function ended(run, name, args, write) {
  if (typeof run !== "function") {
    throw wire(Failure.permanent("no_function", `the plugin exports no function \`${name}\``));
  }
  running();
  try {
    const value = run(...args);
    if (value instanceof Promise) {
      throw Failure.permanent("promise", `\`${name}\` gave a promise; calls of the host block, so write it without async`);
    }
    return write(value);
  } catch (thrown) {
    throw wire(thrown);
  }
}

/** An agent's way to go on later: it is started afresh with this state, and what came before is never repeated. */
export function checkpoint(state) {
  return new Checkpoint(state);
}
class Checkpoint {
  constructor(state) {
    this.state = state;
  }
}

// How a segment of an agent's work ended.
export function outcome(value) {
  return value instanceof Checkpoint ? { tag: "continue", val: text(value.state) } : { tag: "done", val: text(value) };
}

// A value as JSON text.
export function text(value) {
  const said = JSON.stringify(value ?? null);
  if (said === undefined) throw Failure.permanent("no_output", `a ${typeof value} is no value of JSON`);
  return said;
}

function wire(thrown) {
  if (thrown instanceof Failure) {
    return { tag: thrown.tag, val: thrown.val };
  }
  const said = payload(thrown);
  const message = said instanceof Error ? `${said.name}: ${said.message}` : String(said?.message ?? said);
  return { tag: "permanent", val: { code: "unexpected", message, data: undefined } };
}
