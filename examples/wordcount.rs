//! Counts the words of standard input, as a CGI program or on the command line.
//! `?format=json` or `Accept: application/json` gives JSON.
use std::collections::BTreeMap; // ordered and without random seeds: equal inputs cost equal gas
use std::env;
use std::io::{self, Read, Write};

const SHOWN_WORDS: usize = 10;

struct Count {
    bytes: usize,
    lines: usize,
    words: usize,
    by_word: BTreeMap<String, usize>,
}

fn count(bytes: &[u8]) -> Count {
    let text = String::from_utf8_lossy(bytes);
    let mut by_word = BTreeMap::new();
    let mut words = 0;
    for word in text.split_whitespace() {
        words += 1;
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
        if !bare.is_empty() {
            *by_word.entry(bare).or_insert(0) += 1;
        }
    }
    Count { bytes: bytes.len(), lines: text.lines().count(), words, by_word }
}

/// The most frequent words; equal ones in alphabetical order.
fn top(count: &Count) -> Vec<(&String, &usize)> {
    let mut all: Vec<_> = count.by_word.iter().collect();
    all.sort_by(|a, b| b.1.cmp(a.1));
    all.truncate(SHOWN_WORDS);
    all
}

fn as_text(count: &Count) -> String {
    let mut out = format!(
        "{} words, {} different, {} lines, {} bytes\n",
        count.words, count.by_word.len(), count.lines, count.bytes
    );
    for (word, n) in top(count) {
        out += &format!("{:>7}  {}\n", n, word);
    }
    out
}

/// A word holds letters and digits at its ends, but may hold anything in between.
fn json_string(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => { out.push('\\'); out.push(c) }
            c if (c as u32) < 0x20 => out += &format!("\\u{:04x}", c as u32),
            c => out.push(c),
        }
    }
    out + "\""
}

fn as_json(count: &Count) -> String {
    let top: Vec<String> =
        top(count).iter().map(|(word, n)| format!("{{\"word\":{},\"count\":{}}}", json_string(word), n)).collect();
    format!(
        "{{\"words\":{},\"different\":{},\"lines\":{},\"bytes\":{},\"top\":[{}]}}\n",
        count.words, count.by_word.len(), count.lines, count.bytes, top.join(",")
    )
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

fn main() -> io::Result<()> {
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes)?;
    let count = count(&bytes);
    let wants_json = variable("QUERY_STRING").split('&').any(|pair| pair == "format=json")
        || variable("HTTP_ACCEPT").contains("application/json")
        || env::args().any(|argument| argument == "--json");
    let (kind, body) = if wants_json { ("application/json", as_json(&count)) } else { ("text/plain; charset=utf-8", as_text(&count)) };
    let mut out = io::stdout().lock();
    if env::var("REQUEST_METHOD").is_ok() {
        write!(out, "Content-Type: {}\n\n", kind)?;
    }
    out.write_all(body.as_bytes())?;
    out.flush()
}
