//! A counter for every path, kept in state: GET shows it, POST adds one. examples/service.js serves it.
#[path = "../../../sdk/rust/gasworks.rs"]
mod gasworks;

fn hits() {
    let path = gasworks::path();
    let stored = gasworks::state_get(&path).and_then(|value| String::from_utf8(value).ok());
    let mut n: u64 = stored.and_then(|digits| digits.parse().ok()).unwrap_or(0);
    if gasworks::method() == "POST" {
        n += 1;
        gasworks::state_set(&path, n.to_string());
    }
    gasworks::reply_header("Content-Type", "application/json");
    gasworks::reply(n.to_string());
}

gasworks::handler!(hits);
