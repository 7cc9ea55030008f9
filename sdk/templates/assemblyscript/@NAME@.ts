// Greets, and counts its visits in its state.
import { queryParameter, replyHeader, replyText, stateAdd, stateRead } from "./sdk/gasworks";

export function handle(): void {
  const visits = new Uint8Array(8);
  stateRead("visits", 0, visits);
  stateAdd("visits", 1); // visitors at the same time do not wait for each other
  const name = queryParameter("name");
  replyHeader("Content-Type", "text/plain; charset=utf-8");
  replyText("hello, " + (name === null ? "world" : name) + ": visit " + (load<u64>(visits.dataStart) + 1).toString() + "\n");
}
