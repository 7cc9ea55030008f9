//! Functions that a host calls by name with strings and bytes, as Gasworks' Node.js package does.
//!
//! ```ignore
//! #[path = "sdk/rust/call.rs"]
//! mod call;
//! call::export! {
//!     pub fn greet(name: &str) -> String { format!("Hello, {name}!") }
//!     pub fn first(text: &str) -> Result<String, &'static str> { text.split(' ').next().map(String::from).ok_or("no words") }
//! }
//! call::import! { "env" { fn fetch(url: &str) -> String; } }
//! ```
//! Parameters are numbers, `bool`, `&str`, `&[u8]` and `Json`. Results are numbers, `bool`, `String`, `Vec<u8>`, `Json`, and
//! `Result<T, E>` where T is one of these last three or `()`, and E has `Display`.
//!
//! In Wasm a string or bytes are an address and a size. The caller takes room for its own from `gasworks_alloc` and frees it. A result is
//! one i64: the size above the address, and the topmost bit where it is the text of an error. The caller frees it with
//! `gasworks_free`. The custom section "gasworks.abi" has a line for each function, like `greet(str,)->str`.
//!
//! Build with `/usr/bin/rustc --target wasm32-unknown-unknown --crate-type cdylib -C opt-level=3 -C panic=abort FILE.rs -o FILE.wasm`.
//! The path leads from FILE.rs to this file, or is absolute.
#![allow(dead_code, unused_macros, unused_imports)]

use std::alloc::{alloc, dealloc, handle_alloc_error, Layout};

/// JSON as text, which JavaScript sees as a value.
pub struct Json(pub String);

#[no_mangle]
extern "C" fn gasworks_alloc(size: usize) -> *mut u8 {
    let layout = Layout::from_size_align(size.max(1), 1).unwrap();
    let place = unsafe { alloc(layout) };
    if place.is_null() {
        handle_alloc_error(layout);
    }
    place
}

#[no_mangle]
unsafe extern "C" fn gasworks_free(place: *mut u8, size: usize) {
    dealloc(place, Layout::from_size_align_unchecked(size.max(1), 1))
}

/// Bytes of the caller, for as long as the call lasts.
#[doc(hidden)]
pub unsafe fn bytes<'a>(place: *const u8, size: usize) -> &'a [u8] {
    if size == 0 { &[] } else { std::slice::from_raw_parts(place, size) }
}

/// Text of the caller. What is not UTF-8 is not text, so the call traps.
#[doc(hidden)]
pub unsafe fn text<'a>(place: *const u8, size: usize) -> &'a str {
    std::str::from_utf8(bytes(place, size)).expect("the argument is UTF-8")
}

/// Hands bytes over to the caller.
#[doc(hidden)]
pub fn give(bytes: Vec<u8>) -> u64 {
    let bytes = bytes.into_boxed_slice();
    let size = bytes.len() as u64;
    let place = if size == 0 { 0 } else { Box::into_raw(bytes) as *mut u8 as usize };
    size << 32 | place as u64
}

#[doc(hidden)]
pub fn give_result<T: Into<Given>, E: std::fmt::Display>(result: Result<T, E>) -> u64 {
    match result {
        Ok(value) => give(value.into().0),
        Err(error) => give(error.to_string().into_bytes()) | 1 << 63,
    }
}

#[doc(hidden)]
pub struct Given(pub Vec<u8>);

impl From<String> for Given {
    fn from(text: String) -> Self { Given(text.into_bytes()) }
}
impl From<Vec<u8>> for Given {
    fn from(bytes: Vec<u8>) -> Self { Given(bytes) }
}
impl From<Json> for Given {
    fn from(json: Json) -> Self { Given(json.0.into_bytes()) }
}
impl From<()> for Given {
    fn from(_: ()) -> Self { Given(Vec::new()) }
}

/// The line of a function in the custom section.
#[doc(hidden)]
pub const fn line<const N: usize>(text: &str) -> [u8; N] {
    let (bytes, mut out, mut i) = (text.as_bytes(), [0; N], 0);
    while i < N {
        out[i] = bytes[i];
        i += 1;
    }
    out
}

#[link(wasm_import_module = "gasworks_abi")]
extern "C" {
    fn take(place: *mut u8);
}

/// What a host function gave, of which its call said the size.
#[doc(hidden)]
pub fn taken(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    unsafe { take(bytes.as_mut_ptr()) };
    bytes
}

/// Makes functions callable by name.
#[macro_export]
macro_rules! export {
    () => {};
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($params:tt)*) $body:block $($rest:tt)*) => {
        $(#[$meta])* $vis fn $name($($params)*) $body
        $crate::export!(@params $name [$($params)*] [] [] [] [""] (give_nothing) [""] []);
        $crate::export!($($rest)*);
    };
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($params:tt)*) -> String $body:block $($rest:tt)*) => {
        $(#[$meta])* $vis fn $name($($params)*) -> String $body
        $crate::export!(@params $name [$($params)*] [] [] [] [""] (give_text) ["->str"] [u64]);
        $crate::export!($($rest)*);
    };
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($params:tt)*) -> Vec<u8> $body:block $($rest:tt)*) => {
        $(#[$meta])* $vis fn $name($($params)*) -> Vec<u8> $body
        $crate::export!(@params $name [$($params)*] [] [] [] [""] (give_bytes) ["->bytes"] [u64]);
        $crate::export!($($rest)*);
    };
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($params:tt)*) -> Json $body:block $($rest:tt)*) => {
        $(#[$meta])* $vis fn $name($($params)*) -> $crate::call::Json $body
        $crate::export!(@params $name [$($params)*] [] [] [] [""] (give_json) ["->json"] [u64]);
        $crate::export!($($rest)*);
    };
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($params:tt)*) -> Result<String, $error:ty> $body:block $($rest:tt)*) => {
        $(#[$meta])* $vis fn $name($($params)*) -> Result<String, $error> $body
        $crate::export!(@params $name [$($params)*] [] [] [] [""] (give_result) ["->str!"] [u64]);
        $crate::export!($($rest)*);
    };
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($params:tt)*) -> Result<Vec<u8>, $error:ty> $body:block $($rest:tt)*) => {
        $(#[$meta])* $vis fn $name($($params)*) -> Result<Vec<u8>, $error> $body
        $crate::export!(@params $name [$($params)*] [] [] [] [""] (give_result) ["->bytes!"] [u64]);
        $crate::export!($($rest)*);
    };
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($params:tt)*) -> Result<Json, $error:ty> $body:block $($rest:tt)*) => {
        $(#[$meta])* $vis fn $name($($params)*) -> Result<$crate::call::Json, $error> $body
        $crate::export!(@params $name [$($params)*] [] [] [] [""] (give_result) ["->json!"] [u64]);
        $crate::export!($($rest)*);
    };
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($params:tt)*) -> Result<(), $error:ty> $body:block $($rest:tt)*) => {
        $(#[$meta])* $vis fn $name($($params)*) -> Result<(), $error> $body
        $crate::export!(@params $name [$($params)*] [] [] [] [""] (give_result) ["->!"] [u64]);
        $crate::export!($($rest)*);
    };
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($params:tt)*) -> $result:ident $body:block $($rest:tt)*) => {
        $(#[$meta])* $vis fn $name($($params)*) -> $result $body
        $crate::export!(@params $name [$($params)*] [] [] [] [""] (give_number) [concat!("->", stringify!($result))] [$result]);
        $crate::export!($($rest)*);
    };

    // One parameter at a time: [left] [Wasm's parameters] [what makes them Rust's] [arguments] [kinds] (results).
    (@params $name:ident [$p:ident: &str $(, $($left:tt)*)?] [$($flat:tt)*] [$($let:tt)*] [$($arg:tt)*] [$($kind:tt)*] $($to:tt)*) => {
        $crate::export!(@params $name [$($($left)*)?] [$($flat)* place: *const u8, size: usize,]
            [$($let)* let $p = unsafe { $crate::call::text(place, size) };] [$($arg)* $p,] [$($kind)*, "str,"] $($to)*);
    };
    (@params $name:ident [$p:ident: &[u8] $(, $($left:tt)*)?] [$($flat:tt)*] [$($let:tt)*] [$($arg:tt)*] [$($kind:tt)*] $($to:tt)*) => {
        $crate::export!(@params $name [$($($left)*)?] [$($flat)* place: *const u8, size: usize,]
            [$($let)* let $p = unsafe { $crate::call::bytes(place, size) };] [$($arg)* $p,] [$($kind)*, "bytes,"] $($to)*);
    };
    (@params $name:ident [$p:ident: Json $(, $($left:tt)*)?] [$($flat:tt)*] [$($let:tt)*] [$($arg:tt)*] [$($kind:tt)*] $($to:tt)*) => {
        $crate::export!(@params $name [$($($left)*)?] [$($flat)* place: *const u8, size: usize,]
            [$($let)* let $p = $crate::call::Json(unsafe { $crate::call::text(place, size) }.to_string());] [$($arg)* $p,] [$($kind)*, "json,"] $($to)*);
    };
    (@params $name:ident [$p:ident: $type:ident $(, $($left:tt)*)?] [$($flat:tt)*] [$($let:tt)*] [$($arg:tt)*] [$($kind:tt)*] $($to:tt)*) => {
        $crate::export!(@params $name [$($($left)*)?] [$($flat)* $p: $type,] [$($let)*] [$($arg)* $p,]
            [$($kind)*, concat!(stringify!($type), ",")] $($to)*);
    };
    (@params $name:ident [] [$($flat:tt)*] [$($let:tt)*] [$($arg:tt)*] [$($kind:tt)*] ($give:ident) [$result:expr] [$($type:ident)?]) => {
        const _: () = {
            const LINE: &str = concat!(stringify!($name), "(", $($kind)*, ")", $result, "\n");
            #[link_section = "gasworks.abi"]
            #[used]
            static SIGNATURE: [u8; LINE.len()] = $crate::call::line(LINE);
            #[no_mangle]
            extern "C" fn $name($($flat)*) $(-> $type)? {
                $($let)*
                $crate::export!(@$give self::$name($($arg)*))
            }
        };
    };
    (@give_nothing $call:expr) => { $call };
    (@give_number $call:expr) => { $call };
    (@give_text $call:expr) => { $crate::call::give($call.into_bytes()) };
    (@give_bytes $call:expr) => { $crate::call::give($call) };
    (@give_json $call:expr) => { $crate::call::give($call.0.into_bytes()) };
    (@give_result $call:expr) => { $crate::call::give_result($call) };
}

/// Declares functions of the host.
#[macro_export]
macro_rules! import {
    ($module:literal { $($functions:tt)* }) => { $crate::import!(@each $module $($functions)*); };
    (@each $module:literal) => {};
    (@each $module:literal $vis:vis fn $name:ident($($params:tt)*); $($rest:tt)*) => {
        $crate::import!(@params $module [$vis] $name [$($params)*] [] [] [] [""] (take_number) [""] [()] [()]);
        $crate::import!(@each $module $($rest)*);
    };
    (@each $module:literal $vis:vis fn $name:ident($($params:tt)*) -> String; $($rest:tt)*) => {
        $crate::import!(@params $module [$vis] $name [$($params)*] [] [] [] [""] (take_text) ["->str"] [usize] [String]);
        $crate::import!(@each $module $($rest)*);
    };
    (@each $module:literal $vis:vis fn $name:ident($($params:tt)*) -> Vec<u8>; $($rest:tt)*) => {
        $crate::import!(@params $module [$vis] $name [$($params)*] [] [] [] [""] (take_bytes) ["->bytes"] [usize] [Vec<u8>]);
        $crate::import!(@each $module $($rest)*);
    };
    (@each $module:literal $vis:vis fn $name:ident($($params:tt)*) -> $result:ident; $($rest:tt)*) => {
        $crate::import!(@params $module [$vis] $name [$($params)*] [] [] [] [""] (take_number) [concat!("->", stringify!($result))] [$result] [$result]);
        $crate::import!(@each $module $($rest)*);
    };
    (@params $module:literal [$vis:vis] $name:ident [$p:ident: &str $(, $($left:tt)*)?] [$($flat:tt)*] [$($arg:tt)*] [$($rust:tt)*] [$($kind:tt)*] $($to:tt)*) => {
        $crate::import!(@params $module [$vis] $name [$($($left)*)?] [$($flat)* place: *const u8, size: usize,]
            [$($arg)* $p.as_ptr(), $p.len(),] [$($rust)* $p: &str,] [$($kind)*, "str,"] $($to)*);
    };
    (@params $module:literal [$vis:vis] $name:ident [$p:ident: &[u8] $(, $($left:tt)*)?] [$($flat:tt)*] [$($arg:tt)*] [$($rust:tt)*] [$($kind:tt)*] $($to:tt)*) => {
        $crate::import!(@params $module [$vis] $name [$($($left)*)?] [$($flat)* place: *const u8, size: usize,]
            [$($arg)* $p.as_ptr(), $p.len(),] [$($rust)* $p: &[u8],] [$($kind)*, "bytes,"] $($to)*);
    };
    (@params $module:literal [$vis:vis] $name:ident [$p:ident: $type:ident $(, $($left:tt)*)?] [$($flat:tt)*] [$($arg:tt)*] [$($rust:tt)*] [$($kind:tt)*] $($to:tt)*) => {
        $crate::import!(@params $module [$vis] $name [$($($left)*)?] [$($flat)* $p: $type,]
            [$($arg)* $p,] [$($rust)* $p: $type,] [$($kind)*, concat!(stringify!($type), ",")] $($to)*);
    };
    (@params $module:literal [$vis:vis] $name:ident [] [$($flat:tt)*] [$($arg:tt)*] [$($rust:tt)*] [$($kind:tt)*] ($take:ident) [$result:expr] [$raw:ty] [$type:ty]) => {
        $vis fn $name($($rust)*) -> $type {
            const LINE: &str = concat!("import ", $module, ".", stringify!($name), "(", $($kind)*, ")", $result, "\n");
            #[link_section = "gasworks.abi"]
            #[used]
            static SIGNATURE: [u8; LINE.len()] = $crate::call::line(LINE);
            #[link(wasm_import_module = $module)]
            extern "C" {
                fn $name($($flat)*) -> $raw;
            }
            $crate::import!(@$take unsafe { $name($($arg)*) })
        }
    };
    (@take_number $call:expr) => { $call };
    (@take_text $call:expr) => { String::from_utf8($crate::call::taken($call)).expect("the host gave UTF-8") };
    (@take_bytes $call:expr) => { $crate::call::taken($call) };
}

// Where the module is: `call::export!` beside `export!`.
pub use crate::{export, import};
