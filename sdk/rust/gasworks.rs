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

// Where the module is: `gasworks::handler!` beside `handler!`.
pub use crate::handler;
