// Rust: channels, scoped threads and a B-tree, checked at every step.
use std::{collections::BTreeMap, env, io::Write, path::Path, sync::mpsc, thread, time::Duration};

fn say(text: String) {
    let mut out = std::io::stdout();
    writeln!(out, "{text}").and_then(|_| out.flush()).expect("stdout");
}

fn main() {
    let stop = env::args().nth(1).expect("stop file");
    let (to, from_main) = mpsc::channel::<u64>();
    let (back, results) = mpsc::channel::<u64>();
    thread::spawn(move || {
        for v in from_main {
            back.send(v * v).expect("main lives");
        }
    });
    let mut tree = BTreeMap::new();
    say("ready".into());
    for n in 1u64.. {
        if Path::new(&stop).exists() {
            break;
        }
        say(format!("step {n}"));
        to.send(n).expect("thread lives");
        assert_eq!(results.recv(), Ok(n * n), "FAIL channel");
        tree.insert(n, vec![n; 500]);
        tree.remove(&n.wrapping_sub(40));
        let sum: u64 = thread::scope(|s| {
            let parts: Vec<_> = tree.values().map(|v| s.spawn(move || v.iter().sum::<u64>())).collect();
            parts.into_iter().map(|p| p.join().expect("FAIL thread")).sum()
        });
        assert_eq!(sum, tree.keys().map(|k| k * 500).sum::<u64>(), "FAIL sums");
        thread::sleep(Duration::from_millis(8));
    }
    say("PASS".into());
}
