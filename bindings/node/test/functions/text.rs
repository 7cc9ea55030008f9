//! What test/text.test.js calls.
#[path = "../../../../sdk/rust/call.rs"]
mod call;
use call::Json;

call::import! {
    "env" {
        fn fetch(url: &str) -> String;
        fn digest(bytes: &[u8], rounds: u32) -> Vec<u8>;
        fn note(line: &str);
        fn half(x: f64) -> f64;
    }
}

call::export! {
    pub fn upper(input: &str) -> String { input.to_uppercase() }
    pub fn reverse(bytes: &[u8]) -> Vec<u8> { bytes.iter().rev().copied().collect() }
    pub fn join(a: &str, n: i32, b: &[u8], c: &str) -> String { format!("{a}|{n}|{b:?}|{c}") }
    pub fn count(input: &str) -> u32 { input.chars().count() as u32 }
    pub fn is_even(x: u64) -> bool { x % 2 == 0 }
    pub fn scale(x: f64, by: f32) -> f64 { x * by as f64 }
    pub fn negate(x: i64) -> i64 { -x }
    pub fn nothing() {}
    pub fn wrap(value: Json) -> Json { Json(format!("{{\"wrapped\":{}}}", value.0)) }
    pub fn parse(text: &str) -> Result<String, std::num::ParseIntError> { text.parse::<i32>().map(|n| (n * 2).to_string()) }
    pub fn check(x: i32) -> Result<(), String> { if x > 0 { Ok(()) } else { Err(format!("{x} is not positive")) } }
    pub fn fail() -> u32 { panic!("on purpose") }
    pub fn page(url: &str) -> String {
        note(url);
        let body = fetch(url);
        let digest = digest(body.as_bytes(), 2);
        format!("{body} {digest:?} {}", half(3.0))
    }
    pub fn repeat(text: &str, n: u32) -> String { text.repeat(n as usize) }
    pub fn spin() { loop {} }
}
