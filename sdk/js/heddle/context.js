// Who is being run, and for whom.
import { current as now } from "heddle:host/context@0.1.0";

// The engine has `null` where there is nothing, and whole numbers as they fit.
export function current() {
  const said = now();
  const numbers = { deadlineMs: Number(said.deadlineMs), fuelLeft: Number(said.fuelLeft) };
  return { ...said, ...numbers, item: said.item ?? undefined, traceparent: said.traceparent ?? undefined };
}
