// As checkpoint.c, with what Rust brings: its runtime's set-up, collections on the heap, a static that is made once.
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::io::Read;
use std::sync::Mutex;

static USED: Mutex<u32> = Mutex::new(0);

#[derive(Default)]
struct Mix(u64);
impl Hasher for Mix {
    fn finish(&self) -> u64 { self.0 }
    fn write(&mut self, bytes: &[u8]) {
        for b in bytes { self.0 = (self.0 ^ *b as u64).wrapping_mul(0x100000001b3) }
    }
}

fn main() {
    let mut words: HashMap<String, usize, BuildHasherDefault<Mix>> = HashMap::default();
    for i in 0..3000usize { words.insert(format!("word {}", i * 7919 % 3001), i); }
    let name = std::env::args().next().unwrap();
    let query = std::env::var("QUERY_STRING").unwrap();
    let mut body = String::new();
    std::io::stdin().read_to_string(&mut body).unwrap();
    if query == "trap" { panic!("asked to") }
    let sum: usize = words.iter().map(|(k, v)| k.len() * v).sum();
    words.clear();
    let mut used = USED.lock().unwrap();
    println!("Content-Type: text/plain\n\n{} {} {} {}", *used, name, sum, body);
    *used += 1;
}
