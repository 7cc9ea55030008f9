// Functions in AssemblyScript that a host calls by name with strings and bytes, as Gasworks' Node.js package does:
//
//   export { gasworks_alloc, gasworks_free } from "../../sdk/assemblyscript/call";
//   import { text, giveText } from "../../sdk/assemblyscript/call";
//   export function upper(place: usize, size: usize): u64 { return giveText(text(place, size).toUpperCase()); }
//
// A string or bytes are an address and a size; a result is one u64 of both. AssemblyScript has no custom sections, so who compiles
// the module says what the functions are: `engine.compile(bytes, { signatures: { upper: "(str) -> str" } })`.
//
// Build with `asc FILE.ts -o FILE.wasm -O3 --debug --exportStart _initialize --runtime stub`, or another runtime.

export function gasworks_alloc(size: usize): usize {
  return heap.alloc(size);
}

export function gasworks_free(place: usize, size: usize): void {
  heap.free(place);
}

/** A str or json parameter. */
export function text(place: usize, size: usize): string {
  return String.UTF8.decodeUnsafe(place, size);
}

/** A bytes parameter, copied. */
export function bytes(place: usize, size: usize): Uint8Array {
  const out = new Uint8Array(<i32>size);
  memory.copy(out.dataStart, place, size);
  return out;
}

/** A bytes result. */
export function give(result: Uint8Array): u64 {
  const place = heap.alloc(result.length);
  memory.copy(place, result.dataStart, result.length);
  return (<u64>result.length << 32) | <u64>place;
}

/** A str or json result. */
export function giveText(result: string): u64 {
  return give(Uint8Array.wrap(String.UTF8.encode(result)));
}

/** The error of a function whose signature ends in "!". */
export function giveError(message: string): u64 {
  return giveText(message) | (1 << 63);
}
