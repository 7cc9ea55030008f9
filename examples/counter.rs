//! A persistent counter for every path: GET shows it, POST adds one, DELETE forgets it.
#[path = "../sdk/rust/gasworks.rs"]
mod gasworks;

fn count() {
    let path = gasworks::path();
    let key = if path.is_empty() { "/" } else { path.as_str() };
    let method = gasworks::method();
    if method == "DELETE" {
        gasworks::state_delete(key);
        return gasworks::reply_status(204);
    }
    let stored = gasworks::state_get(key).and_then(|value| String::from_utf8(value).ok());
    let mut count: u64 = stored.and_then(|digits| digits.parse().ok()).unwrap_or(0);
    if method == "POST" {
        count += 1;
        gasworks::state_set(key, count.to_string());
    }
    gasworks::reply_header("Content-Type", "text/plain; charset=utf-8");
    gasworks::reply(format!("{}\n", count));
}

handler!(count);
