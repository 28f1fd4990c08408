/** What a plugin has of its host. Each namespace is there where `uses` of `plugin.toml` names it, but for `log`. */
declare module "heddle" {
  /** Any value that JSON has. */
  export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

  /** Thrown to end a call. Anything else that is thrown is a permanent failure with the code `unexpected`. */
  export class Failure extends Error {
    readonly code: string;
    /** The same call will fail again. */
    static permanent(code: string, message: string, data?: Json): Failure;
    /** The same call may succeed later. */
    static retryable(code: string, message: string, data?: Json): Failure;
    /** The same call may succeed after so many milliseconds. */
    static rateLimited(retryAfterMs: number, code: string, message: string, data?: Json): Failure;
  }
  /** An agent's way to go on later: it is started afresh with this state, and what came before is never repeated. */
  export function checkpoint(state: Json): unknown;

  /** The randomness of the kind; `Math.random` draws from it as well. */
  export namespace random {
    function bytes(count: number): Uint8Array;
  }
  /** Lines for the operator. */
  export namespace log {
    function trace(message: unknown): void;
    function debug(message: unknown): void;
    function info(message: unknown): void;
    function warn(message: unknown): void;
    function error(message: unknown): void;
  }
  /** Who is being run, and for whom. Tools and agents. */
  export namespace context {
    interface Context {
      tenant: string;
      run: string;
      step: string;
      item?: number;
      attempt: number;
      /** Equal for every attempt of the same step, item and call of an agent. */
      idempotencyKey: string;
      deadlineMs: number;
      fuelLeft: number;
      traceparent?: string;
    }
    function current(): Context;
  }
  /** How far along the work is. Tools and agents. */
  export namespace progress {
    function report(stage: string, percent?: number, message?: string): void;
  }
  /** Requests to services outside, as granted. */
  export namespace http {
    interface Options {
      method?: string;
      headers?: Record<string, string>;
      timeoutMs?: number;
    }
    interface Response {
      status: number;
      /** Names in lower case. */
      headers: Record<string, string>;
      body: Uint8Array;
      text(): string;
      json(): any;
    }
    /** A body that is neither text nor bytes is sent as JSON. A redirect is an answer like any other. */
    function send(request: Options & { url: string; body?: Uint8Array | string | Json }): Response;
    function get(url: string, options?: Options): Response;
    function post(url: string, body: Uint8Array | string | Json, options?: Options): Response;
  }
  /** Secrets, without their values. */
  export namespace secret {
    /** A text that stands for the value: put it into a header, the address or the body of a request. */
    function get(name: string): string;
  }
  /** What the operator tells the plugin. */
  export namespace config {
    function get(name: string): any;
    function names(): string[];
  }
  /** Values that the plugin keeps for itself. */
  export namespace kv {
    interface Entry {
      value: Uint8Array;
      version: number;
      text(): string;
    }
    function get(key: string): Entry | undefined;
    function set(key: string, value: Uint8Array | string, ttlMs?: number): number;
    function setIf(key: string, value: Uint8Array | string, version: number, ttlMs?: number): number;
    function increment(key: string, by?: number): number;
    function remove(key: string): boolean;
    function keys(prefix?: string, after?: string, limit?: number): string[];
  }
  /** Files that the run keeps, for people or for later steps. */
  export namespace artifacts {
    interface Artifact {
      name: string;
      mediaType: string;
      digest: string;
      size: number;
    }
    function put(name: string, mediaType: string, value: Uint8Array | string): Artifact;
    function get(digest: string): { value: Uint8Array; text(): string };
  }
  /** Language models, for agents, as the operator grants them. */
  export namespace model {
    interface ToolUse {
      id: string;
      name: string;
      /** As the model wrote it: meant to be JSON, and not always so. */
      arguments: string;
    }
    interface Spec {
      name: string;
      description?: string;
      parameters: Json;
    }
    interface Ask {
      model?: string;
      tools?: Spec[];
      /** `auto`, `never`, `required`, or the name of a tool. */
      choice?: string;
      /** JSON Schema of the answer. */
      schema?: Json;
      temperature?: number;
      maxTokens?: number;
      timeoutMs?: number;
    }
    interface Completion {
      text: string;
      calls: ToolUse[];
      finish: "stop" | "tool-calls" | "length" | "filtered";
      model: string;
      inputTokens: number;
      outputTokens: number;
      cachedTokens: number;
      costMicros: number;
    }
    interface Message {
      role: "system" | "user" | "assistant" | "tool";
      text?: string;
      calls?: ToolUse[];
      id?: string;
      failed?: boolean;
    }
    class Thread {
      readonly messages: Message[];
      append(message: Message): void;
      system(text: string): void;
      user(text: string): void;
      answer(call: ToolUse, text: string, failed?: boolean): void;
      complete(ask?: Ask): Completion;
    }
    function models(): string[];
    function budget(): Record<string, number | undefined>;
    function converse(thread: Thread, ask?: Ask): Completion;
  }
  /** Other plugins, for agents: what the step grants. */
  export namespace tools {
    interface Tool {
      name: string;
      title: string;
      description: string;
      inputSchema: Json;
      outputSchema: Json;
    }
    function list(): Tool[];
    function call(name: string, input: Json): any;
  }
}
