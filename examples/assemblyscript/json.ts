// Formats JSON: ?indent=2 (0 puts it on one line). What is not JSON gets 400 and the byte where it stops being so.
import { body, queryParameter, reply, replyHeader, replyStatus, replyText } from "../../sdk/assemblyscript/gasworks";

const MAX_DEPTH = 512;
const CHUNK = 16384;

/** Recursive descent over the bytes; run once without and once with output. */
class Formatter {
  at: i32 = 0;
  depth: i32 = 0;
  problem: string = "";
  private out: Uint8Array = new Uint8Array(CHUNK);
  private filled: i32 = 0;

  constructor(private input: Uint8Array, private indent: i32, private writes: bool) {}

  /** Whether the whole input is one JSON text. */
  run(): bool {
    if (!this.value()) return false;
    this.space();
    if (this.at < this.input.length) return this.fail("more text after the value");
    this.put(0x0a);
    this.flush();
    return true;
  }

  private fail(problem: string): bool {
    if (this.problem.length == 0) this.problem = problem;
    return false;
  }

  private flush(): void {
    if (this.writes && this.filled > 0) reply(this.out, this.filled);
    this.filled = 0;
  }

  private put(byte: u8): void {
    if (!this.writes) return;
    if (this.filled == CHUNK) this.flush();
    this.out[this.filled++] = byte;
  }

  private line(): void {
    if (this.indent == 0) return;
    this.put(0x0a);
    for (let i = 0, n = this.depth * this.indent; i < n; i++) this.put(0x20);
  }

  /** The next byte, or 0 at the end. */
  private peek(): u8 {
    return this.at < this.input.length ? this.input[this.at] : 0;
  }

  private take(): u8 {
    const byte = this.peek();
    if (this.at < this.input.length) this.at++;
    this.put(byte);
    return byte;
  }

  private space(): void {
    while (this.at < this.input.length) {
      const byte = this.peek();
      if (byte != 0x20 && byte != 0x09 && byte != 0x0a && byte != 0x0d) return;
      this.at++;
    }
  }

  private value(): bool {
    this.space();
    const byte = this.peek();
    if (byte == 0x7b) return this.group(0x7d, true);
    if (byte == 0x5b) return this.group(0x5d, false);
    if (byte == 0x22) return this.text();
    if (byte == 0x74) return this.word("true");
    if (byte == 0x66) return this.word("false");
    if (byte == 0x6e) return this.word("null");
    if (byte == 0x2d || isDigit(byte)) return this.number();
    return this.fail("expected a value");
  }

  /** An object or an array. */
  private group(close: u8, isObject: bool): bool {
    this.take();
    this.space();
    if (this.peek() == close) {
      this.take();
      return true;
    }
    if (++this.depth > MAX_DEPTH) return this.fail("nested too deeply");
    do {
      this.line();
      if (isObject && !this.key()) return false;
      if (!this.value()) return false;
      this.space();
    } while (this.comma());
    this.depth--;
    if (this.peek() != close) return this.fail(isObject ? "expected ',' or '}'" : "expected ',' or ']'");
    this.line();
    this.take();
    return true;
  }

  private comma(): bool {
    if (this.peek() != 0x2c) return false;
    this.take();
    return true;
  }

  private key(): bool {
    this.space();
    if (this.peek() != 0x22) return this.fail("expected a key in quotes");
    if (!this.text()) return false;
    this.space();
    if (this.peek() != 0x3a) return this.fail("expected ':'");
    this.take();
    if (this.indent > 0) this.put(0x20);
    return true;
  }

  private text(): bool {
    this.take();
    while (this.at < this.input.length) {
      if (this.peek() < 0x20) return this.fail("a control character in a string");
      const byte = this.take();
      if (byte == 0x22) return true;
      if (byte == 0x5c && !this.escape()) return false;
    }
    return this.fail("a string without an end");
  }

  private escape(): bool {
    const byte = this.peek();
    if (byte == 0x75) {
      this.take();
      for (let i = 0; i < 4; i++) {
        if (!isHexDigit(this.peek())) return this.fail("expected four hexadecimal digits");
        this.take();
      }
      return true;
    }
    if (byte == 0 || !'"\\/bfnrt'.includes(String.fromCharCode(byte))) return this.fail("an unknown escape");
    this.take();
    return true;
  }

  private word(text: string): bool {
    for (let i = 0; i < text.length; i++) {
      if (this.peek() != <u8>text.charCodeAt(i)) return this.fail("expected " + text);
      this.take();
    }
    return true;
  }

  private digits(): bool {
    if (!isDigit(this.peek())) return this.fail("expected a digit");
    while (isDigit(this.peek())) this.take();
    return true;
  }

  private number(): bool {
    if (this.peek() == 0x2d) this.take();
    if (this.peek() == 0x30) {
      this.take();
    } else if (!this.digits()) {
      return false;
    }
    if (this.peek() == 0x2e) {
      this.take();
      if (!this.digits()) return false;
    }
    if ((this.peek() | 0x20) == 0x65) {
      this.take();
      if (this.peek() == 0x2b || this.peek() == 0x2d) this.take();
      return this.digits();
    }
    return true;
  }
}

function isDigit(byte: u8): bool {
  return byte >= 0x30 && byte <= 0x39;
}

function isHexDigit(byte: u8): bool {
  const low: u8 = byte | 0x20;
  return isDigit(byte) || (low >= 0x61 && low <= 0x66);
}

function requestedIndent(): i32 {
  const text = queryParameter("indent");
  if (text == null || text.length != 1) return 2;
  const digit = text.charCodeAt(0) - 0x30;
  return digit >= 0 && digit <= 8 ? digit : 2;
}

export function handle(): void {
  const input = body();
  const indent = requestedIndent();
  const check = new Formatter(input, indent, false);
  if (check.run()) {
    replyHeader("Content-Type", "application/json");
    new Formatter(input, indent, true).run();
    return;
  }
  replyStatus(400);
  replyHeader("Content-Type", "text/plain; charset=utf-8");
  replyText("not JSON: " + check.problem + " (at byte " + check.at.toString() + ")\n");
}
