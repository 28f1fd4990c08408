// Language models, for agents: as the operator has set them up and granted them. What a model says is recorded with what it
// was asked, so nothing is paid twice.
import { Thread as HostThread, models as granted, spent } from "heddle:host/model@0.1.0";
import { call as callTool, list as listTools } from "heddle:host/tools@0.1.0";
import { Failure, failed } from "./failure.js";

/** Errors of tools in a row after which `converse` gives up. */
const ERRORS_IN_A_ROW = 5;
/** Characters of a tool's answer that a model is given. */
const ANSWER_CHARACTERS = 64 * 1024;

/** The names of the models that are granted, the default first; empty where there are none. */
export const models = () => granted();

/** What is left and what was spent: `{callsLeft, tokensLeft, costMicrosLeft, calls, tokens, costMicros}`. */
export function budget() {
  const now = spent();
  return Object.fromEntries(Object.entries(now).map(([name, value]) => [name, value == null ? undefined : Number(value)]));
}

/** Messages in their order, which the host keeps. */
export class Thread {
  constructor() {
    this.inner = new HostThread();
    this.messages = [];
  }
  append(message) {
    this.inner.append(lowered(message));
    this.messages.push(message);
  }
  system(text) {
    this.append({ role: "system", text });
  }
  user(text) {
    this.append({ role: "user", text });
  }
  /** What a tool gave, for a call of the model. */
  answer(call, text, isFailed = false) {
    this.append({ role: "tool", id: call.id, text, failed: isFailed });
  }
  /** Asks the model with all messages, and adds its answer to them; throws a `Failure`. */
  complete({ model, tools = [], choice = "auto", schema, temperature, maxTokens, timeoutMs } = {}) {
    let said;
    try {
      said = this.inner.complete({
        model,
        tools: tools.map(({ name, description = "", parameters }) => ({ name, description, parameters: JSON.stringify(parameters) })),
        choice: ["auto", "never", "required"].includes(choice) ? { tag: choice } : { tag: "named", val: choice },
        outputSchema: schema === undefined ? undefined : JSON.stringify(schema),
        temperature,
        maxTokens,
        timeoutMs: timeoutMs === undefined ? undefined : BigInt(Math.ceil(timeoutMs)),
      });
    } catch (thrown) {
      throw failed(thrown);
    }
    const { text, calls, finish, model: by } = said;
    this.messages.push({ role: "assistant", text, calls });
    return {
      text: text ?? "",
      calls,
      finish,
      model: by,
      inputTokens: Number(said.inputTokens),
      outputTokens: Number(said.outputTokens),
      cachedTokens: Number(said.cachedTokens),
      costMicros: Number(said.costMicros),
    };
  }
}

function lowered({ role, text, calls, id, failed: isFailed }) {
  if (role === "system" || role === "user") return { tag: role, val: text };
  if (role === "assistant") return { tag: "assistant", val: { text, calls: calls ?? [] } };
  return { tag: "tool", val: { id, text, failed: isFailed ?? false } };
}

/** The name of a granted plugin as models take it: `tool:orders/get` becomes `tool_orders_get`. */
export const wireName = (name) => name.replaceAll(/[^a-zA-Z0-9_-]/g, "_").slice(0, 64);

/** Asks, calls the granted plugins that the model wants called, and asks again, until it answers without wanting more. */
export function converse(thread, ask = {}) {
  const known = new Map(listTools().map((tool) => [wireName(tool.name), tool]));
  const tools = ask.tools ?? [...known].map(([name, tool]) => ({
    name,
    description: tool.description || tool.title,
    parameters: JSON.parse(tool.inputSchema),
  }));
  let [choice, errors] = [ask.choice ?? "auto", 0];
  for (;;) {
    const said = thread.complete({ ...ask, tools, choice });
    if (said.calls.length === 0) return said;
    for (const call of said.calls) {
      const [text, isFailed] = answered(call, known);
      errors = isFailed ? errors + 1 : 0;
      thread.answer(call, text.length > ANSWER_CHARACTERS ? `${text.slice(0, ANSWER_CHARACTERS)}… (cut)` : text, isFailed);
    }
    if (errors >= ERRORS_IN_A_ROW) {
      throw Failure.permanent("tools_failing", `${errors} calls of tools in a row have failed; the last: ${thread.messages.at(-1).text}`);
    }
    if (choice !== "never") choice = "auto";
  }
}

function answered(call, known) {
  const tool = known.get(call.name);
  if (tool === undefined) return [`there is no tool \`${call.name}\`; there are: ${[...known.keys()].join(", ")}`, true];
  let input;
  try {
    input = JSON.parse(call.arguments.trim() || "{}");
  } catch (fault) {
    return [`the arguments are not JSON: ${fault.message}`, true];
  }
  try {
    const output = callTool({ name: tool.name, input: JSON.stringify(input) });
    const value = JSON.parse(output);
    return [typeof value === "string" ? value : output, false];
  } catch (thrown) {
    const failure = failed(thrown);
    return [`${failure.code}: ${failure.message}`, true];
  }
}
