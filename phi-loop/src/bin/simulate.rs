//! Runs the simulation of the machine from the command line.

use std::io::{self, Write as _};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::Instant;

use phi_loop::simulation::{
    Anything, Interleavings, Simulation, Tally, Violation, every_interleaving,
};

const USAGE: &str =
    "simulate [--seeds N] [--from S] [--seed S] [--crashes N] [--enumerate] [--calls N] [--threads N]

  --seeds N    run N seeds (10000)
  --from S     begin with the seed S (0)
  --seed S     run the seed S alone
  --crashes N  of the first N of them, let the process end at every event too (0)
  --enumerate  try every interleaving of turns of a few calls too
  --calls N    at most so many calls (3)
  --threads N  run in so many threads (as many as there are cores)
";

/// What the command line asks for.
#[derive(Debug)]
struct Arguments {
    from: u64,
    seeds: u64,
    crashes: u64,
    enumerate: bool,
    calls: usize,
    threads: NonZeroUsize,
}

/// Why nothing is run.
#[derive(Debug)]
enum Told {
    Help,
    Wrong(String),
}

fn main() -> ExitCode {
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(Told::Help) => {
            let said = io::stdout().write_all(USAGE.as_bytes());
            return ExitCode::from(if said.is_ok() { 0 } else { 3 });
        }
        Err(Told::Wrong(wrong)) => {
            let said = write!(io::stderr(), "{wrong}\n\n{USAGE}");
            return ExitCode::from(if said.is_ok() { 2 } else { 3 });
        }
    };
    // A panic is a violation that is printed with its scenario, not once for each attempt.
    std::panic::set_hook(Box::new(|_| {}));
    match simulate(&arguments, &mut io::stdout().lock()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(_) => ExitCode::from(3),
    }
}

/// Says whether every promise was kept.
fn simulate(arguments: &Arguments, out: &mut impl io::Write) -> io::Result<bool> {
    let simulation = Simulation::new(Anything).threads(arguments.threads);
    let Arguments { from, seeds, .. } = *arguments;
    let end = from.saturating_add(seeds);
    let crashes = from.saturating_add(arguments.crashes.min(seeds));
    writeln!(
        out,
        "seeds {from} to {}, {} threads",
        end.saturating_sub(1),
        arguments.threads
    )?;
    let kept = report(out, || simulation.run(from..end))?;
    if !kept {
        return Ok(false);
    }
    if crashes > from {
        writeln!(out, "a crash at every event of {} of them", crashes - from)?;
        if !report(out, || simulation.crash_everywhere(from..crashes))? {
            return Ok(false);
        }
    }
    if !arguments.enumerate {
        return Ok(true);
    }
    writeln!(
        out,
        "every interleaving of turns of up to {} calls",
        arguments.calls
    )?;
    let mut found = Interleavings::default();
    let kept = report(out, || {
        found = every_interleaving(arguments.calls, arguments.threads)?;
        Ok(found.tally)
    })?;
    if kept {
        let Interleavings {
            cases,
            states,
            transitions,
            ends,
            ..
        } = found;
        writeln!(
            out,
            "  turns     {cases}, of each effect class, way to run and kind of hook"
        )?;
        writeln!(out, "  states    {states}, of which {ends} are ends")?;
        writeln!(
            out,
            "  moves     {transitions}, each from every state in which it may happen"
        )?;
    }
    Ok(kept)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a pace is measured; nothing that is simulated depends on it"
)]
fn report(
    out: &mut impl io::Write,
    work: impl FnOnce() -> Result<Tally, Box<Violation>>,
) -> io::Result<bool> {
    let began = Instant::now();
    let tally = match work() {
        Ok(tally) => tally,
        Err(violation) => {
            writeln!(out, "VIOLATION\n{violation}")?;
            return Ok(false);
        }
    };
    let seconds = began.elapsed().as_secs_f64();
    let Tally {
        worlds,
        steps,
        live_steps,
        events,
        restores,
        resumes,
        crashes,
        refusals,
        replays,
    } = tally;
    writeln!(
        out,
        "  worlds    {worlds}, each ended, {replays} replayed to the same log"
    )?;
    writeln!(
        out,
        "  steps     {steps}, of which {live_steps} of live machines"
    )?;
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let pace = (steps as f64 / seconds, live_steps as f64 / seconds);
    writeln!(
        out,
        "  pace      {:.0} steps/s, {:.0} live, in {seconds:.1} s",
        pace.0, pace.1
    )?;
    writeln!(out, "  events    {events}")?;
    writeln!(
        out,
        "  restores  {restores}, all equal; {resumes} resumed, none added more than interruptions"
    )?;
    writeln!(out, "  crashes   {crashes}")?;
    writeln!(out, "  refusals  {refusals}, none changed anything")?;
    Ok(true)
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, Told> {
    let mut arguments = Arguments {
        from: 0,
        seeds: 10_000,
        crashes: 0,
        enumerate: false,
        calls: 3,
        threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
    };
    while let Some(word) = words.next() {
        let mut number = || -> Result<u64, Told> {
            let wrong = |text: &str| Told::Wrong(format!("{word} takes a number{text}"));
            let text = words.next().ok_or_else(|| wrong(""))?;
            text.parse().map_err(|_| wrong(&format!(", not {text:?}")))
        };
        match word.as_str() {
            "--seeds" => arguments.seeds = number()?,
            "--from" => arguments.from = number()?,
            "--seed" => (arguments.from, arguments.seeds) = (number()?, 1),
            "--crashes" => arguments.crashes = number()?,
            "--enumerate" => arguments.enumerate = true,
            "--calls" => arguments.calls = usize::try_from(number()?).unwrap_or(usize::MAX),
            "--threads" => {
                let threads = usize::try_from(number()?).ok().and_then(NonZeroUsize::new);
                let few = || Told::Wrong("--threads takes at least 1".to_owned());
                arguments.threads = threads.ok_or_else(few)?;
            }
            "--help" | "-h" => return Err(Told::Help),
            _ => return Err(Told::Wrong(format!("unknown argument {word:?}"))),
        }
    }
    Ok(arguments)
}
