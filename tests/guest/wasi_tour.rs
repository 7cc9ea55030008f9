// Guest of wasi_programs.sh: the same kind of tour as wasi_tour.c with Rust's standard library.
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

fn say<T>(what: &str, result: std::io::Result<T>) {
    match result {
        Ok(_) => println!("{what}: done"),
        Err(e) => println!("{what}: {:?}", e.kind()),
    }
}

fn list(path: &str) {
    match fs::read_dir(path) {
        Err(e) => println!("{path}: {:?}", e.kind()),
        Ok(entries) => {
            let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            println!("{path}: {}", names.join(" "));
        }
    }
}

fn files() -> std::io::Result<()> {
    fs::write("/work/a.txt", "hello ")?;
    OpenOptions::new().append(true).open("/work/a.txt")?.write_all(b"world")?;
    println!("{}", fs::read_to_string("/work/a.txt")?);
    let mut file = OpenOptions::new().read(true).write(true).open("/work/a.txt")?;
    file.seek(SeekFrom::Start(6))?;
    file.write_all(b"W")?;
    file.seek(SeekFrom::End(-5))?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    println!("{text}");
    file.set_len(3)?;
    file.sync_all()?;
    println!("{} bytes", file.metadata()?.len());
    fs::copy("/work/a.txt", "/work/b.txt")?;
    fs::rename("/work/b.txt", "/work/c.txt")?;
    fs::create_dir_all("/work/x/y/z")?;
    File::create("/work/x/y/z/file")?;
    list("/work");
    list("/work/x/y/z");
    say("remove a full directory", fs::remove_dir("/work/x"));
    fs::remove_dir_all("/work/x")?;
    println!("{} {}", fs::metadata("/work/given")?.is_file(), fs::symlink_metadata("/work/out")?.is_symlink());
    Ok(())
}

fn main() {
    println!("{:?}", std::env::args().skip(1).collect::<Vec<_>>());
    say("files", files());
    say("missing", File::open("/work/missing"));
    say("create_new", OpenOptions::new().write(true).create_new(true).open("/work/a.txt"));
    println!("outside: {}", File::open("/work/out/secret").is_ok() || File::open("/work/../secret").is_ok());
    let start = Instant::now();
    std::thread::sleep(Duration::from_millis(2));
    println!("slept: {}", start.elapsed() >= Duration::from_millis(1));
    println!("this century: {}", SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() >= 946684800);
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    println!("line: {}", line.trim());
    std::process::exit(4);
}
