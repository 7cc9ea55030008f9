//! What examples/service.js serves.
#[path = "../../../sdk/rust/call.rs"]
mod call;

call::export! {
    /// The words of a text, counted: the most frequent first.
    pub fn words(text: &str) -> Json {
        let mut counts = std::collections::HashMap::new();
        for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
            *counts.entry(word.to_lowercase()).or_insert(0u32) += 1;
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let rows: Vec<_> = counts.iter().map(|(word, n)| format!("[\"{word}\",{n}]")).collect();
        call::Json(format!("[{}]", rows.join(",")))
    }

    /// The n-th prime.
    pub fn prime(n: &str) -> Result<String, String> {
        let n: usize = n.trim().parse().map_err(|_| format!("{n:?} is not a number"))?;
        let mut found = Vec::new();
        let mut candidate = 2u64;
        while found.len() < n {
            if found.iter().take_while(|p| **p * **p <= candidate).all(|p| candidate % p != 0) {
                found.push(candidate);
            }
            candidate += 1;
        }
        found.last().map(u64::to_string).ok_or_else(|| "there is no prime number 0".to_string())
    }

    /// Never ends; its gas does.
    pub fn spin(_input: &str) -> String { loop {} }
}
