//! One piece of work, timed as phi does it and as its floor does it.

use std::fmt;
use std::time::{Duration, Instant};

/// The times of one piece of work, each for one unit of it: a turn, a delta, a call.
#[derive(Debug)]
pub struct Pair {
    name: String,
    units: u32,
    floor: Vec<Duration>,
    phi: Vec<Duration>,
}

impl Pair {
    /// Makes a pair without times for a work of so many units.
    #[must_use]
    pub fn new(name: impl Into<String>, units: u32) -> Self {
        Self {
            name: name.into(),
            units,
            floor: Vec::new(),
            phi: Vec::new(),
        }
    }

    /// Times the floor and returns the time of one unit, added up over all rounds. Making the work
    /// ready and dropping what it leaves are outside of the time.
    pub fn time_floor<S, L>(
        &mut self,
        rounds: u64,
        ready: impl FnMut() -> S,
        work: impl FnMut(S) -> L,
    ) -> Duration {
        let units = self.units;
        timed(rounds, ready, work, |it| self.floor.push(it / units)) / units
    }

    /// Times phi, like [`Pair::time_floor`].
    pub fn time_phi<S, L>(
        &mut self,
        rounds: u64,
        ready: impl FnMut() -> S,
        work: impl FnMut(S) -> L,
    ) -> Duration {
        let units = self.units;
        timed(rounds, ready, work, |it| self.phi.push(it / units)) / units
    }
}

/// The medians of one unit and their ratio.
impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (phi, floor) = (median(&self.phi), median(&self.floor));
        let ratio = phi.as_secs_f64() / floor.as_secs_f64();
        let name = &self.name;
        write!(f, "{name}: phi {phi:?}, floor {floor:?}, ratio {ratio:.1}")
    }
}

fn timed<S, L>(
    rounds: u64,
    mut ready: impl FnMut() -> S,
    mut work: impl FnMut(S) -> L,
    mut each: impl FnMut(Duration),
) -> Duration {
    let mut sum = Duration::ZERO;
    for _ in 0..rounds {
        let subject = ready();
        let begin = Instant::now();
        let left = work(subject);
        let time = begin.elapsed();
        drop(left);
        each(time);
        sum += time;
    }
    sum
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
