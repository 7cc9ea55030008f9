//! Gasworks functions in Rust: safe wrappers of the host functions of module "gasworks".
//!
//! ```ignore
//! #[path = "sdk/rust/gasworks.rs"]
//! mod gasworks;
//! fn hello() { gasworks::reply(b"hello\n"); }
//! gasworks::handler!(hello);
//! ```
//! Build with `/usr/bin/rustc --target wasm32-unknown-unknown --crate-type cdylib -C opt-level=3 -C panic=abort -g FILE.rs -o FILE.wasm`.
//! The path leads from FILE.rs to this file, or is absolute.
#![allow(dead_code)]

mod host {
    #[link(wasm_import_module = "gasworks")]
    extern "C" {
        pub fn request_method(out: *mut u8, capacity: usize) -> usize;
        pub fn request_target(out: *mut u8, capacity: usize) -> usize;
        pub fn request_path(out: *mut u8, capacity: usize) -> usize;
        pub fn request_query(out: *mut u8, capacity: usize) -> usize;
        pub fn request_header(name: *const u8, name_size: usize, out: *mut u8, capacity: usize) -> usize;
        pub fn request_header_name(index: usize, out: *mut u8, capacity: usize) -> usize;
        pub fn request_header_value(index: usize, out: *mut u8, capacity: usize) -> usize;
        pub fn request_body_size() -> usize;
        pub fn request_body(offset: usize, out: *mut u8, capacity: usize) -> usize;
        pub fn reply_status(status: u32);
        pub fn reply_header(name: *const u8, name_size: usize, value: *const u8, value_size: usize);
        pub fn reply(bytes: *const u8, size: usize);
        pub fn state_get(key: *const u8, key_size: usize, out: *mut u8, capacity: usize) -> usize;
        pub fn state_set(key: *const u8, key_size: usize, value: *const u8, value_size: usize);
        pub fn state_delete(key: *const u8, key_size: usize);
        pub fn state_exists(key: *const u8, key_size: usize) -> i32;
        pub fn state_add(key: *const u8, key_size: usize, delta: i64);
        pub fn state_size(key: *const u8, key_size: usize) -> usize;
        pub fn state_read(key: *const u8, key_size: usize, offset: u64, out: *mut u8, capacity: usize) -> usize;
        pub fn state_write(key: *const u8, key_size: usize, offset: u64, bytes: *const u8, size: usize);
        pub fn state_resize(key: *const u8, key_size: usize, size: u64);
        pub fn state_scan(first: *const u8, first_size: usize, end: *const u8, end_size: usize, flags: u32, limit: u32, out: *mut u8, capacity: usize) -> i32;
        pub fn log(text: *const u8, size: usize);
        pub fn gas_left() -> u64;
        pub fn clock_ms() -> u64;
        pub fn random(out: *mut u8, size: usize);
    }
}

/// What the host answers when there is no such item.
const NONE: usize = usize::MAX;

/// Calls `copy` with a buffer, and once more when the item did not fit in it.
fn copy_out(copy: impl Fn(*mut u8, usize) -> usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0u8; 256];
    loop {
        match copy(bytes.as_mut_ptr(), bytes.len()) {
            NONE => return None,
            size if size <= bytes.len() => {
                bytes.truncate(size);
                return Some(bytes);
            }
            size => bytes.resize(size, 0),
        }
    }
}

fn copy_text(copy: impl Fn(*mut u8, usize) -> usize) -> String {
    String::from_utf8_lossy(&copy_out(copy).unwrap_or_default()).into_owned()
}

/// The request's method, like "GET".
pub fn method() -> String {
    copy_text(|out, capacity| unsafe { host::request_method(out, capacity) })
}

/// The path and the query as they were sent, from "/f/NAME" on.
pub fn target() -> String {
    copy_text(|out, capacity| unsafe { host::request_target(out, capacity) })
}

/// What follows the function's name in the path.
pub fn path() -> String {
    copy_text(|out, capacity| unsafe { host::request_path(out, capacity) })
}

/// The query string without the question mark, as it was sent.
pub fn query() -> String {
    copy_text(|out, capacity| unsafe { host::request_query(out, capacity) })
}

/// The value of NAME=VALUE in the query string, as it was sent.
pub fn query_parameter(name: &str) -> Option<String> {
    query().split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
}

pub fn header(name: &str) -> Option<String> {
    copy_out(|out, capacity| unsafe { host::request_header(name.as_ptr(), name.len(), out, capacity) })
        .map(|value| String::from_utf8_lossy(&value).into_owned())
}

/// All headers as names and values, in their order.
pub fn headers() -> Vec<(String, String)> {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (0..)
        .map_while(|index| {
            let name = copy_out(|out, capacity| unsafe { host::request_header_name(index, out, capacity) })?;
            let value = copy_out(|out, capacity| unsafe { host::request_header_value(index, out, capacity) })?;
            Some((text(name), text(value)))
        })
        .collect()
}

pub fn body() -> Vec<u8> {
    let mut bytes = vec![0u8; unsafe { host::request_body_size() }];
    let size = unsafe { host::request_body(0, bytes.as_mut_ptr(), bytes.len()) };
    bytes.truncate(size);
    bytes
}

/// Status of the reply; 200 unless said otherwise.
pub fn reply_status(status: u32) {
    unsafe { host::reply_status(status) }
}

pub fn reply_header(name: &str, value: &str) {
    unsafe { host::reply_header(name.as_ptr(), name.len(), value.as_ptr(), value.len()) }
}

pub fn reply_type(media_type: &str) {
    reply_header("Content-Type", media_type)
}

/// A reply that is an error: the status and one sentence.
pub fn reply_error(status: u32, sentence: &str) {
    reply_status(status);
    reply_type("text/plain; charset=utf-8");
    reply(format!("{sentence}\n"))
}

/// Appends to the reply's body.
pub fn reply(bytes: impl AsRef<[u8]>) {
    let bytes = bytes.as_ref();
    unsafe { host::reply(bytes.as_ptr(), bytes.len()) }
}

/// Reads the function's own state; one invocation is one transaction.
pub fn state_get(key: impl AsRef<[u8]>) -> Option<Vec<u8>> {
    let key = key.as_ref();
    copy_out(|out, capacity| unsafe { host::state_get(key.as_ptr(), key.len(), out, capacity) })
}

/// Kept only if the invocation succeeds.
pub fn state_set(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
    let (key, value) = (key.as_ref(), value.as_ref());
    unsafe { host::state_set(key.as_ptr(), key.len(), value.as_ptr(), value.len()) }
}

pub fn state_delete(key: impl AsRef<[u8]>) {
    let key = key.as_ref();
    unsafe { host::state_delete(key.as_ptr(), key.len()) }
}

pub fn state_exists(key: impl AsRef<[u8]>) -> bool {
    let key = key.as_ref();
    unsafe { host::state_exists(key.as_ptr(), key.len()) != 0 }
}

/// Adds to the number that the value's 8 bytes are, least first, modulo 2^64; no value is 0. Never conflicts with other adds.
pub fn state_add(key: impl AsRef<[u8]>, delta: i64) {
    let key = key.as_ref();
    unsafe { host::state_add(key.as_ptr(), key.len(), delta) }
}

/// The size of a value.
pub fn state_size(key: impl AsRef<[u8]>) -> Option<usize> {
    let key = key.as_ref();
    let size = unsafe { host::state_size(key.as_ptr(), key.len()) };
    (size != NONE).then_some(size)
}

/// Reads a part of a value, up to 1 GiB of which are stored in chunks; how many bytes that were.
pub fn state_read(key: impl AsRef<[u8]>, offset: u64, out: &mut [u8]) -> Option<usize> {
    let key = key.as_ref();
    let size = unsafe { host::state_read(key.as_ptr(), key.len(), offset, out.as_mut_ptr(), out.len()) };
    (size != NONE).then_some(size)
}

/// Writes a part of a value, which is made when there is none, and grows.
pub fn state_write(key: impl AsRef<[u8]>, offset: u64, bytes: impl AsRef<[u8]>) {
    let (key, bytes) = (key.as_ref(), bytes.as_ref());
    unsafe { host::state_write(key.as_ptr(), key.len(), offset, bytes.as_ptr(), bytes.len()) }
}

/// Cuts a value off, or adds zeros.
pub fn state_resize(key: impl AsRef<[u8]>, size: u64) {
    let key = key.as_ref();
    unsafe { host::state_resize(key.as_ptr(), key.len(), size) }
}

fn scan(first: &[u8], end: &[u8], flags: u32, limit: u32, out: &mut Vec<u8>) {
    loop {
        let size = unsafe {
            host::state_scan(first.as_ptr(), first.len(), end.as_ptr(), end.len(), flags, limit, out.as_mut_ptr(), out.len())
        };
        if size >= 0 {
            return out.truncate(size as usize);
        }
        out.resize(-size as usize, 0); // the first pair alone needs that
    }
}

const SCAN_BACKWARD: u32 = 1;
const SCAN_KEYS: u32 = 2;

/// Keys, the sizes of their values, and these where `flags` say so.
fn scan_all(first: &[u8], end: &[u8], flags: u32, limit: usize) -> Vec<(Vec<u8>, usize, Vec<u8>)> {
    let (mut first, mut end) = (first.to_vec(), end.to_vec());
    let mut pairs: Vec<(Vec<u8>, usize, Vec<u8>)> = Vec::new();
    while pairs.len() < limit {
        let mut page = vec![0u8; 16384];
        scan(&first, &end, flags, (limit - pairs.len()).min(u32::MAX as usize) as u32, &mut page);
        if page.is_empty() {
            break;
        }
        let number = |at: usize| u32::from_le_bytes([page[at], page[at + 1], page[at + 2], page[at + 3]]) as usize;
        let mut at = 0;
        while at < page.len() {
            let (size, is_large) = (number(at + 4) & 0x7fff_ffff, number(at + 4) >> 31 == 1);
            let there = if is_large || flags & SCAN_KEYS != 0 { 0 } else { size };
            let (key, value) = (at + 8 + number(at), at + 8 + number(at) + there);
            pairs.push((page[at + 8..key].to_vec(), size, page[key..value].to_vec()));
            at = value;
        }
        let last = &pairs[pairs.len() - 1].0;
        if flags & SCAN_BACKWARD != 0 {
            end = last.clone();
        } else {
            first = [last.as_slice(), &[0]].concat(); // the least key behind it
        }
    }
    pairs
}

/// Pairs with keys from `first` to before `end` in order, or backwards; an empty bound is none. At most `limit`.
/// A value that is stored in chunks comes empty.
pub fn state_scan(first: impl AsRef<[u8]>, end: impl AsRef<[u8]>, is_backward: bool, limit: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let pairs = scan_all(first.as_ref(), end.as_ref(), is_backward as u32, limit);
    pairs.into_iter().map(|(key, _, value)| (key, value)).collect()
}

/// The same keys, and the sizes of their values, which are not read.
pub fn state_keys(first: impl AsRef<[u8]>, end: impl AsRef<[u8]>, is_backward: bool, limit: usize) -> Vec<(Vec<u8>, usize)> {
    let pairs = scan_all(first.as_ref(), end.as_ref(), is_backward as u32 | SCAN_KEYS, limit);
    pairs.into_iter().map(|(key, size, _)| (key, size)).collect()
}

/// A line for the function's log.
pub fn log(text: &str) {
    unsafe { host::log(text.as_ptr(), text.len()) }
}

pub fn gas_left() -> u64 {
    unsafe { host::gas_left() }
}

/// Milliseconds since 1970.
pub fn clock_ms() -> u64 {
    unsafe { host::clock_ms() }
}

pub fn random(out: &mut [u8]) {
    unsafe { host::random(out.as_mut_ptr(), out.len()) }
}

/// Logs the message of a panic, which then traps.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|info| log(&info.to_string())));
}

/// Makes a function the one that requests call.
#[macro_export]
macro_rules! handler {
    ($function:path) => {
        #[no_mangle]
        pub extern "C" fn handle() {
            $crate::gasworks::log_panics();
            $function()
        }
    };
}

/// Makes the function a tool for models (docs/mcp.md): `gasworks::tool!(r#"{"description": "...", "inputSchema": {...}}"#);`. Once,
/// outside of functions.
#[macro_export]
macro_rules! tool {
    ($json:expr) => {
        #[link_section = "gasworks.tool"]
        #[used]
        static GASWORKS_TOOL: [u8; $json.len()] = {
            let (mut bytes, mut i) = ([0u8; $json.len()], 0);
            while i < bytes.len() {
                bytes[i] = $json.as_bytes()[i];
                i += 1;
            }
            bytes
        };
    };
}

// Where the module is: `gasworks::handler!` beside `handler!`.
pub use crate::{handler, tool};
