//! What do 10,000 loops at once cost, beside 10,000 of the least loop?
//!
//! Unit: 10,000 loops of 10 turns in one thread, over a provider that waits 10 ms before each reply.
//! Floor and phi run in processes of their own, in turns, so that each has a peak of its own. Memory
//! and processor time are read from `/proc` and left out where there is none.

use std::fmt;
use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use benches::{NoopTool, SlowProvider, Subject, floor, prompt, runtime};
use futures_util::future::join_all;
use phi_types::Transcript;

const LOOPS: usize = 10_000;
const TURNS: u32 = 10;
const WAIT: Duration = Duration::from_millis(10);
const ROUNDS: usize = 3;

/// What one process came to.
#[derive(Debug, Clone, Copy)]
struct Cost {
    wall: Duration,
    cpu: Option<Duration>,
    peak_kib: Option<u64>,
}

fn main() {
    let who = std::env::args().nth(1).unwrap_or_default();
    let runtime = runtime();
    match who.as_str() {
        "floor" => print(&cost(|| runtime.block_on(floors()))),
        "phi" => print(&cost(|| runtime.block_on(loops()))),
        _ => compare(),
    }
}

async fn floors() {
    join_all((0..LOOPS).map(|_| async {
        let (provider, tool) = (SlowProvider::new(TURNS, WAIT), NoopTool::default());
        let mut history = vec![prompt()];
        floor::run(&provider, &tool, &mut history).await
    }))
    .await;
}

async fn loops() {
    join_all((0..LOOPS).map(|_| async {
        let provider = Arc::new(SlowProvider::new(TURNS, WAIT));
        let prepared = Subject::prepare_with(Transcript::new(), provider);
        Subject::begin(prepared).drain().await
    }))
    .await;
}

fn cost(work: impl FnOnce()) -> Cost {
    let began = Instant::now();
    work();
    Cost {
        wall: began.elapsed(),
        cpu: cpu(),
        peak_kib: peak_kib(),
    }
}

/// Linux counts processor time in hundredths of a second: fields 14 and 15, the name of the program
/// in parentheses being the second.
fn cpu() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields = rest.split(' ').skip(11).take(2);
    let ticks: u64 = fields
        .map(|it| it.parse::<u64>().ok())
        .sum::<Option<u64>>()?;
    Some(Duration::from_millis(ticks * 10))
}

fn peak_kib() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Prints microseconds and KiB, a minus for what is not known.
fn print(cost: &Cost) {
    let or_minus = |value: Option<u128>| value.map_or("-".to_owned(), |it| it.to_string());
    let cpu = or_minus(cost.cpu.map(|it| it.as_micros()));
    let peak = or_minus(cost.peak_kib.map(u128::from));
    let line = format!("{} {cpu} {peak}", cost.wall.as_micros());
    eprintln!("{line}");
}

fn compare() {
    let (mut floors, mut loops) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        floors.push(run("floor"));
        loops.push(run("phi"));
    }
    let median = |costs: &mut Vec<Cost>| {
        costs.sort_by_key(|cost| cost.wall);
        *costs.get(ROUNDS / 2).expect("there are rounds")
    };
    let (floor, phi) = (median(&mut floors), median(&mut loops));
    eprintln!("{LOOPS} loops of {TURNS} turns, each reply after {WAIT:?}");
    eprintln!("  floor: {floor}");
    eprintln!("  phi:   {phi}");
    let ratio = phi.wall.as_secs_f64() / floor.wall.as_secs_f64();
    eprintln!("  wall of phi: {ratio:.1} times the floor");
}

fn run(who: &str) -> Cost {
    let this = std::env::current_exe().expect("the bench has a path");
    let done = Command::new(this).arg(who).output();
    let done = done.expect("the bench starts itself");
    let said = String::from_utf8_lossy(&done.stderr);
    let mut words = said.split_whitespace().map(|word| word.parse::<u64>().ok());
    let mut next = || words.next().flatten();
    Cost {
        wall: Duration::from_micros(next().expect("it says how long it took")),
        cpu: next().map(Duration::from_micros),
        peak_kib: next(),
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} s wall", self.wall.as_secs_f64())?;
        if let Some(cpu) = self.cpu {
            write!(f, ", {:.2} s processor", cpu.as_secs_f64())?;
        }
        if let Some(peak) = self.peak_kib {
            write!(f, ", {} MB at most", peak / 1024)?;
        }
        Ok(())
    }
}
