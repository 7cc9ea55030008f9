// What test/text.test.js calls in AssemblyScript.
import { bytes, giveText, text } from "../../../../sdk/assemblyscript/call";
export { gasworks_alloc, gasworks_free } from "../../../../sdk/assemblyscript/call";

export function upper(place: usize, size: usize): u64 {
  return giveText(text(place, size).toUpperCase());
}

export function sum(place: usize, size: usize): u32 {
  const all = bytes(place, size);
  let total: u32 = 0;
  for (let i = 0; i < all.length; i++) total += all[i];
  return total;
}
