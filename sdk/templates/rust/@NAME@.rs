//! Greets, and counts its visits in its state.
#[path = "sdk/gasworks.rs"]
mod gasworks;

fn greet() {
    let query = gasworks::query();
    let name = query.split('&').find_map(|pair| pair.strip_prefix("name=")).unwrap_or("world");
    let stored = gasworks::state_get("visits").and_then(|bytes| bytes.try_into().ok());
    let visits = stored.map_or(0, u64::from_le_bytes) + 1;
    gasworks::state_add("visits", 1); // visitors at the same time do not wait for each other
    gasworks::reply_header("Content-Type", "text/plain; charset=utf-8");
    gasworks::reply(format!("hello, {}: visit {}\n", name, visits));
}

handler!(greet);
