//! Restore: the log of a loop folds to the machine that wrote it, at every step and from every cut.

use std::sync::atomic::{AtomicUsize, Ordering};

use phi_loop::simulation::{Anything, Dice, Setting, Simulation};
use phi_loop::{IllegalSequence, Machine};
use phi_types::{Configuration, Event, LoopId, Outcome, Transcript};

use crate::support::{Bench, prompt};

/// Worlds whose logs are folded by hand, from every cut.
#[derive(Default)]
struct Cut(AtomicUsize);

impl Setting for Cut {
    fn before(&self, _: &mut Dice) -> Transcript {
        Transcript::new()
    }

    fn check(&self, events: &[Event], machine: &Machine) -> Result<(), String> {
        for cut in 1..=events.len() {
            let restored = Machine::restore(&Transcript::new(), &events[..cut]);
            let restored = restored.map_err(|error| format!("cut {cut}: {error}"))?;
            if cut == events.len() && restored != *machine {
                return Err("the log folds to another machine".to_owned());
            }
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

#[test]
fn the_fold_equals_the_live_machine_at_every_step() {
    let tally = Simulation::new(Anything).run(1_000..1_040);
    let tally = tally.unwrap_or_else(|violation| panic!("{violation}"));
    // The simulation holds the fold against the live machine wherever that waits, and restores at
    // every event.
    assert!(
        tally.restores == tally.events && tally.events > 300,
        "{tally:?}"
    );
}

#[test]
fn every_prefix_of_a_log_is_a_log() {
    let cut = Cut::default();
    let tally = Simulation::new(&cut).run(2_000..2_020);
    let tally = tally.unwrap_or_else(|violation| panic!("{violation}"));
    let cuts = u64::try_from(cut.0.load(Ordering::Relaxed)).unwrap();
    assert!(cuts > 200 && cuts <= tally.events, "{cuts} of {tally:?}");
}

#[test]
fn what_is_not_the_log_of_one_loop_is_refused_with_the_place() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    bench.say("Done.");
    let log = bench.events;
    let before = Transcript::new();
    let restore = |log: &[Event]| Machine::restore(&before, log).err();
    assert_eq!(restore(&log), None);
    assert_eq!(restore(&[]), Some(IllegalSequence::NotStarted));
    assert!(restore(&log[1..]).is_some());

    let mut gap = log.clone();
    gap.remove(3);
    let expected = IllegalSequence::Gap {
        expected: 4,
        found: 5,
    };
    assert_eq!(restore(&gap), Some(expected));

    let mut twice = log.clone();
    twice.insert(3, log[3].clone());
    assert!(matches!(restore(&twice), Some(IllegalSequence::Gap { .. })));

    let mut stranger = log.clone();
    stranger[4].loop_id = Some(LoopId::new("other.default.1").unwrap());
    let expected = IllegalSequence::Stranger { seq: 5 };
    assert_eq!(restore(&stranger), Some(expected));

    let mut late = log.clone();
    let mut event = log[2].clone();
    event.seq = u64::try_from(log.len()).unwrap() + 1;
    late.push(event);
    assert!(matches!(
        restore(&late),
        Some(IllegalSequence::Impossible { .. })
    ));
}

#[test]
fn the_next_loop_continues_the_conversation() {
    let mut first = Bench::started(Configuration::default(), "Do it.");
    first.say("Done.");
    let before = first.machine.transcript().clone();
    let mut start = crate::support::start(Configuration::default());
    start.loop_id = LoopId::numbered(&start.session, &start.configuration.id, 2);
    start.transcript = before.clone();
    let mut bench = Bench::with(Machine::new(start));
    bench.handle(prompt("And then?"));
    let view = crate::facts::words(&crate::facts::request(&bench).view);
    assert_eq!(view, ["user: Do it.", "model: Done.", "user: And then?"]);
    bench.say("Nothing.");
    assert_eq!(bench.machine.outcome(), Some(&Outcome::Completed {}));
    let restored = Machine::restore(&before, &bench.events).unwrap();
    assert_eq!(restored, bench.machine);
}
