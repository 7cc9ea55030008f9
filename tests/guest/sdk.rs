//! Every host function by the SDK, as sdk.c and sdk.ts call them: all three reply the same.
#[path = "../../sdk/rust/gasworks.rs"]
mod gasworks;
use gasworks::*;

gasworks::tool!(r#"{"description": "All of the SDK", "inputSchema": {"type": "object", "properties": {"a": {"type": "string"}}}}"#);

fn line(name: &str, bytes: impl AsRef<[u8]>) {
    reply([name.as_bytes(), b"=", bytes.as_ref(), b"\n"].concat())
}

fn number(name: &str, value: u64) {
    line(name, value.to_string())
}

fn request() {
    line("method", method());
    line("target", target());
    line("path", path());
    line("query", query());
    line("parameter", query_parameter("a").unwrap_or_default());
    line("header", header("x-in").unwrap_or_default());
    number("missing", header("x-none").is_none() as u64);
    for (_, value) in headers().iter().filter(|(name, _)| name == "x-in") {
        line("of all", value);
    }
    number("body size", body().len() as u64);
    line("body", body());
}

fn values() {
    state_set("key", "value");
    line("get", state_get("key").unwrap_or_default());
    number("exists", state_exists("key") as u64);
    state_delete("key");
    number("deleted", (state_get("key").is_none() && !state_exists("key")) as u64);
    state_add("number", 7);
    state_add("number", -2);
    number("added", state_get("number").unwrap_or_default()[0] as u64);
    state_write("parts", 3, "abc");
    number("size", state_size("parts").unwrap_or(0) as u64);
    let mut part = [0u8; 8];
    let size = state_read("parts", 3, &mut part).unwrap_or(0);
    line("read", &part[..size]);
    state_resize("parts", 4);
    number("resized", state_size("parts").unwrap_or(0) as u64);
    number("no size", state_size("none").is_none() as u64);
}

fn scan(name: &str, is_backward: bool, limit: usize) {
    for (key, value) in state_scan("s", "t", is_backward, limit) {
        line(name, key);
        line("with", value);
    }
}

fn all() {
    reply_status(201);
    reply_header("X-Out", "out");
    reply_type("text/plain");
    request();
    values();
    state_set("s1", "one");
    state_set("s2", "twelve");
    scan("scan", false, 9);
    scan("last", true, 1);
    for (key, size) in state_keys("s", "t", false, 9) {
        line("key", key);
        number("of size", size as u64);
    }
    log("logged");
    number("gas", (gas_left() > 1000) as u64);
    number("clock", (clock_ms() > 1577836800000) as u64);
    let mut bytes = [0u8; 16];
    random(&mut bytes);
    number("random", (bytes != [0u8; 16]) as u64);
}

gasworks::handler!(all);
