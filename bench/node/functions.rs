//! What bench/node/run measures, in Rust. The same in JavaScript is in plain.js.
#[path = "../../sdk/rust/call.rs"]
mod call;

use std::collections::HashMap;

// --- JSON: parsed to values, written again without spaces ---------------------------------------------------------------------

enum Value<'a> {
    Word(&'a str), // null, true, false and numbers, as they are
    Text(&'a str), // with its escapes
    List(Vec<Value<'a>>),
    Map(Vec<(&'a str, Value<'a>)>),
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn peek(&mut self) -> u8 {
        let bytes = self.text.as_bytes();
        while self.at < bytes.len() && bytes[self.at].is_ascii_whitespace() {
            self.at += 1;
        }
        bytes.get(self.at).copied().unwrap_or(0)
    }

    fn expect(&mut self, byte: u8) -> Result<(), String> {
        if self.peek() != byte {
            return Err(format!("{:?} expected at {}", byte as char, self.at));
        }
        self.at += 1;
        Ok(())
    }

    fn string(&mut self) -> Result<&'a str, String> {
        self.expect(b'"')?;
        let (bytes, start) = (self.text.as_bytes(), self.at);
        while self.at < bytes.len() && bytes[self.at] != b'"' {
            self.at += if bytes[self.at] == b'\\' { 2 } else { 1 };
        }
        let text = self.text.get(start..self.at).ok_or("a string without an end")?;
        self.expect(b'"')?;
        Ok(text)
    }

    fn list(&mut self) -> Result<Value<'a>, String> {
        let mut items = Vec::new();
        self.expect(b'[')?;
        while self.peek() != b']' {
            items.push(self.value()?);
            if self.peek() != b',' { break; }
            self.at += 1;
        }
        self.expect(b']')?;
        Ok(Value::List(items))
    }

    fn map(&mut self) -> Result<Value<'a>, String> {
        let mut items = Vec::new();
        self.expect(b'{')?;
        while self.peek() != b'}' {
            let key = self.string()?;
            self.expect(b':')?;
            items.push((key, self.value()?));
            if self.peek() != b',' { break; }
            self.at += 1;
        }
        self.expect(b'}')?;
        Ok(Value::Map(items))
    }

    fn value(&mut self) -> Result<Value<'a>, String> {
        match self.peek() {
            b'"' => Ok(Value::Text(self.string()?)),
            b'[' => self.list(),
            b'{' => self.map(),
            _ => {
                let (bytes, start) = (self.text.as_bytes(), self.at);
                while self.at < bytes.len() && !b",]} \n".contains(&bytes[self.at]) {
                    self.at += 1;
                }
                if self.at == start { Err(format!("no value at {start}")) } else { Ok(Value::Word(&self.text[start..self.at])) }
            }
        }
    }
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Word(word) => out.push_str(word),
        Value::Text(text) => { out.push('"'); out.push_str(text); out.push('"'); }
        Value::List(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 { out.push(','); }
                write(item, out);
            }
            out.push(']');
        }
        Value::Map(items) => {
            out.push('{');
            for (i, (key, item)) in items.iter().enumerate() {
                if i > 0 { out.push(','); }
                out.push('"');
                out.push_str(key);
                out.push_str("\":");
                write(item, out);
            }
            out.push('}');
        }
    }
}

// --- regular expressions: literals, ., classes, *, +, ?, |, groups; backtracking ------------------------------------------------

enum Node {
    Byte(u8),
    Any,
    Class(Box<[bool; 256]>),
    Group(Vec<Vec<Node>>),
    Repeat(Box<Node>, usize, usize), // from, to
}

fn class(pattern: &[u8], at: &mut usize) -> Node {
    let mut set = Box::new([false; 256]);
    while pattern[*at] != b']' {
        let from = pattern[*at];
        let to = if pattern[*at + 1] == b'-' { *at += 2; pattern[*at] } else { from };
        for byte in from..=to { set[byte as usize] = true; }
        *at += 1;
    }
    *at += 1;
    Node::Class(set)
}

fn alternatives(pattern: &[u8], at: &mut usize) -> Vec<Vec<Node>> {
    let mut all = vec![Vec::new()];
    while *at < pattern.len() && pattern[*at] != b')' {
        let byte = pattern[*at];
        *at += 1;
        let node = match byte {
            b'|' => { all.push(Vec::new()); continue; }
            b'(' => { let inner = alternatives(pattern, at); *at += 1; Node::Group(inner) }
            b'[' => class(pattern, at),
            b'.' => Node::Any,
            b'\\' => { *at += 1; Node::Byte(pattern[*at - 1]) }
            _ => Node::Byte(byte),
        };
        let node = match pattern.get(*at) {
            Some(b'*') => { *at += 1; Node::Repeat(Box::new(node), 0, usize::MAX) }
            Some(b'+') => { *at += 1; Node::Repeat(Box::new(node), 1, usize::MAX) }
            Some(b'?') => { *at += 1; Node::Repeat(Box::new(node), 0, 1) }
            _ => node,
        };
        all.last_mut().unwrap().push(node);
    }
    all
}

fn one(node: &Node, byte: u8) -> bool {
    match node {
        Node::Byte(wanted) => *wanted == byte,
        Node::Any => byte != b'\n',
        Node::Class(set) => set[byte as usize],
        _ => false,
    }
}

/// Where a match of `nodes` from `at` ends.
fn matches(nodes: &[Node], text: &[u8], at: usize) -> Option<usize> {
    let (node, rest) = match nodes.split_first() { None => return Some(at), Some(split) => split };
    match node {
        Node::Group(all) => all.iter().find_map(|nodes| matches(rest, text, matches(nodes, text, at)?)),
        Node::Repeat(inner, from, to) => {
            let mut n = 0;
            while n < *to && at + n < text.len() && one(inner, text[at + n]) { n += 1; }
            loop {
                if n < *from { return None; }
                if let Some(end) = matches(rest, text, at + n) { return Some(end); }
                if n == 0 { return None; }
                n -= 1;
            }
        }
        _ => if at < text.len() && one(node, text[at]) { matches(rest, text, at + 1) } else { None },
    }
}

// --- SHA-256 ----------------------------------------------------------------------------------------------------------------------

/// The first 32 bits behind the point of the square or cube roots of the first primes, as FIPS 180-4 wants them.
fn roots(n: usize, root: fn(f64) -> f64) -> Vec<u32> {
    (2u32..).filter(|c| (2..*c).all(|d| c % d != 0)).take(n).map(|p| (root(p as f64).fract() * 4294967296.0) as u32).collect()
}

fn sha256(message: &[u8]) -> Vec<u8> {
    let k = roots(64, f64::cbrt);
    let mut h = roots(8, f64::sqrt);
    let mut padded = message.to_vec();
    padded.push(0x80);
    padded.resize((padded.len() + 8 + 63) / 64 * 64 - 8, 0);
    padded.extend_from_slice(&(message.len() as u64 * 8).to_be_bytes());
    let mut w = [0u32; 64];
    for block in padded.chunks_exact(64) {
        for (i, word) in block.chunks_exact(4).enumerate() {
            w[i] = u32::from_be_bytes([word[0], word[1], word[2], word[3]]);
        }
        for i in 16..64 {
            let (a, b) = (w[i - 15], w[i - 2]);
            let s0 = a.rotate_right(7) ^ a.rotate_right(18) ^ a >> 3;
            let s1 = b.rotate_right(17) ^ b.rotate_right(19) ^ b >> 10;
            w[i] = w[i - 16].wrapping_add(s0).wrapping_add(w[i - 7]).wrapping_add(s1);
        }
        let mut v = [h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7]];
        for i in 0..64 {
            let s1 = v[4].rotate_right(6) ^ v[4].rotate_right(11) ^ v[4].rotate_right(25);
            let t1 = v[7].wrapping_add(s1).wrapping_add(v[4] & v[5] ^ !v[4] & v[6]).wrapping_add(k[i]).wrapping_add(w[i]);
            let s0 = v[0].rotate_right(2) ^ v[0].rotate_right(13) ^ v[0].rotate_right(22);
            let t2 = s0.wrapping_add(v[0] & v[1] ^ v[0] & v[2] ^ v[1] & v[2]);
            v = [t1.wrapping_add(t2), v[0], v[1], v[2], v[3].wrapping_add(t1), v[4], v[5], v[6]];
        }
        for (total, part) in h.iter_mut().zip(v) { *total = total.wrapping_add(part); }
    }
    h.iter().flat_map(|word| word.to_be_bytes()).collect()
}

call::export! {
    /// Numbers of words and of different ones, and the most frequent.
    pub fn words(text: &str) -> String {
        let mut counts: HashMap<&str, u32> = HashMap::new();
        let mut total = 0;
        for word in text.split_ascii_whitespace() {
            *counts.entry(word).or_insert(0) += 1;
            total += 1;
        }
        let most = counts.iter().max_by(|a, b| a.1.cmp(b.1).then_with(|| b.0.cmp(a.0))).map_or("", |entry| entry.0);
        format!("{total} {} {most}", counts.len())
    }

    /// A blur: each byte becomes the mean of the nine around it; edges stay.
    pub fn blur(image: &[u8], width: u32) -> Vec<u8> {
        let (width, mut out) = (width as usize, image.to_vec());
        for y in 1..(image.len() / width).saturating_sub(1) {
            let (above, here, below) = (&image[(y - 1) * width..][..width], &image[y * width..][..width], &image[(y + 1) * width..][..width]);
            let line = &mut out[y * width..][..width];
            for x in 1..width - 1 {
                let mut sum = 0u32;
                for from in [above, here, below] { sum += from[x - 1] as u32 + from[x] as u32 + from[x + 1] as u32; }
                line[x] = (sum / 9) as u8;
            }
        }
        out
    }

    /// The same JSON without spaces.
    pub fn json(text: &str) -> Result<String, String> {
        let mut out = String::with_capacity(text.len());
        write(&Parser { text, at: 0 }.value()?, &mut out);
        Ok(out)
    }

    /// How often a pattern matches.
    pub fn regex(pattern: &str, text: &str) -> u32 {
        let node = [Node::Group(alternatives(pattern.as_bytes(), &mut 0))];
        let (text, mut at, mut n) = (text.as_bytes(), 0, 0);
        while at < text.len() {
            match matches(&node, text, at) {
                Some(end) if end > at => { n += 1; at = end; }
                _ => at += 1,
            }
        }
        n
    }

    pub fn digest(bytes: &[u8]) -> Vec<u8> { sha256(bytes) }

    /// What a call costs.
    pub fn nothing() {}
    pub fn add(a: i32, b: i32) -> i32 { a.wrapping_add(b) }
    pub fn same(bytes: &[u8]) -> Vec<u8> { bytes.to_vec() }
    pub fn spin() { loop {} }
}
