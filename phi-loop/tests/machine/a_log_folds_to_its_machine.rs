//! Restore: the log of a loop folds to the machine that wrote it, at every step and from every cut.

use phi_loop::{IllegalSequence, Machine};
use phi_types::{Configuration, LoopId, Outcome, Transcript};

use crate::support::{Bench, Dice, configuration, prompt, world_move};

fn world(seed: u64, mut at_each_step: impl FnMut(&Bench)) -> Bench {
    let mut dice = Dice::new(seed);
    let mut bench = Bench::new(configuration(&mut dice));
    bench.handle(prompt("Do it."));
    at_each_step(&bench);
    for step in 0..400 {
        if bench.machine.outcome().is_some() {
            break;
        }
        world_move(&mut bench, &mut dice, step);
        at_each_step(&bench);
    }
    bench
}

#[test]
fn the_fold_equals_the_live_machine_at_every_step() {
    let mut steps = 0;
    for seed in 1_000..1_040 {
        world(seed, |bench| {
            let restored = Machine::restore(&Transcript::new(), &bench.events).unwrap();
            assert_eq!(restored, bench.machine, "seed {seed}: {:?}", bench.kinds());
            steps += 1;
        });
    }
    assert!(steps > 300, "{steps}");
}

#[test]
fn every_prefix_of_a_log_is_a_log() {
    for seed in 2_000..2_010 {
        let bench = world(seed, |_| {});
        for cut in 1..=bench.events.len() {
            let restored = Machine::restore(&Transcript::new(), &bench.events[..cut]);
            assert!(restored.is_ok(), "seed {seed}, cut {cut}");
        }
    }
}

#[test]
fn what_is_not_the_log_of_one_loop_is_refused_with_the_place() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    bench.say("Done.");
    let log = bench.events;
    let before = Transcript::new();
    let restore = |log: &[phi_types::Event]| Machine::restore(&before, log).err();
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
