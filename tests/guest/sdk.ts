// Every host function by the SDK, as sdk.c and sdk.rs call them: all three reply the same.
import * as gw from "../../sdk/assemblyscript/gasworks";

const GASWORKS_TOOL = '{"description": "All of the SDK", "inputSchema": {"type": "object", "properties": {"a": {"type": "string"}}}}';

function bytesOf(text: string): Uint8Array {
  return Uint8Array.wrap(String.UTF8.encode(text));
}

function textOf(bytes: Uint8Array | null): string {
  return bytes ? String.UTF8.decodeUnsafe(bytes.dataStart, bytes.length) : "";
}

function line(name: string, text: string): void {
  gw.replyText(name + "=" + text + "\n");
}

function number(name: string, value: u64): void {
  line(name, value.toString());
}

function orNothing(text: string | null): string {
  return text ? text : "";
}

function request(): void {
  line("method", gw.method());
  line("target", gw.target());
  line("path", gw.path());
  line("query", gw.query());
  line("parameter", orNothing(gw.queryParameter("a")));
  line("header", orNothing(gw.header("x-in")));
  number("missing", gw.header("x-none") === null ? 1 : 0);
  for (let i: u32 = 0; ; i++) {
    const name = gw.headerName(i);
    if (name === null) break;
    if (name == "x-in") line("of all", orNothing(gw.headerValue(i)));
  }
  number("body size", gw.body().length);
  line("body", textOf(gw.body()));
}

function values(): void {
  gw.stateSet("key", bytesOf("value"));
  line("get", textOf(gw.stateGet("key")));
  number("exists", gw.stateExists("key") ? 1 : 0);
  gw.stateDelete("key");
  number("deleted", gw.stateGet("key") === null && !gw.stateExists("key") ? 1 : 0);
  gw.stateAdd("number", 7);
  gw.stateAdd("number", -2);
  const added = gw.stateGet("number");
  number("added", added ? added[0] : 0);
  gw.stateWrite("parts", 3, bytesOf("abc"));
  number("size", gw.stateSize("parts"));
  const part = new Uint8Array(8), size = gw.stateRead("parts", 3, part);
  line("read", textOf(part.slice(0, size)));
  gw.stateResize("parts", 4);
  number("resized", gw.stateSize("parts"));
  number("no size", gw.stateSize("none") < 0 ? 1 : 0);
}

function scan(name: string, isBackward: bool, limit: u32): void {
  const pairs = gw.stateScan("s", "t", isBackward, limit);
  for (let i = 0; i < pairs.length; i++) {
    line(name, pairs[i].key);
    line("with", textOf(pairs[i].value));
  }
}

export function handle(): void {
  gw.replyStatus(201);
  gw.replyHeader("X-Out", "out");
  gw.replyType("text/plain");
  request();
  values();
  gw.stateSet("s1", bytesOf("one"));
  gw.stateSet("s2", bytesOf("twelve"));
  scan("scan", false, 9);
  scan("last", true, 1);
  const keys = gw.stateKeys("s", "t", false, 9);
  for (let i = 0; i < keys.length; i++) {
    line("key", keys[i].key);
    number("of size", keys[i].size);
  }
  gw.log("logged");
  number("gas", gw.gasLeft() > 1000 ? 1 : 0);
  number("clock", gw.clock() > 1577836800000 ? 1 : 0);
  const bytes = new Uint8Array(16);
  gw.random(bytes);
  number("random", textOf(bytes) == textOf(new Uint8Array(16)) ? 0 : 1);
}
