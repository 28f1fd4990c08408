// Lines for the operator.
import { write } from "heddle:host/log@0.1.0";

const line = (level) => (message) => write(level, String(message));
export const trace = line("trace");
export const debug = line("debug");
export const info = line("info");
export const warn = line("warn");
export const error = line("error");
