//! What test/wasi.test.js runs: a program that uses its world.
use std::io::{Read, Write};
use std::time::{Duration, Instant};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("sleep") => {
            let (start, ms) = (Instant::now(), args[2].parse().unwrap());
            std::thread::sleep(Duration::from_millis(ms));
            assert!(start.elapsed() >= Duration::from_millis(ms));
            println!("slept");
        }
        Some("read") => print!("{}", std::fs::read_to_string(&args[2]).unwrap_or_else(|e| format!("{:?}", e.kind()))),
        Some("write") => match std::fs::write(&args[2], "written") {
            Ok(()) => println!("ok"),
            Err(error) => println!("{:?}", error.raw_os_error()),
        },
        Some("panic") => panic!("on purpose"),
        Some("exit") => std::process::exit(args[2].parse().unwrap()),
        _ => {
            let mut input = String::new();
            std::io::stdin().read_to_string(&mut input).unwrap();
            println!("{} {}", std::env::var("NAME").unwrap_or_default(), input.to_uppercase());
            writeln!(std::io::stderr(), "{args:?}").unwrap();
        }
    }
}
