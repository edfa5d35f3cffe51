//! Tool calls and callers change what the model reads; what does not fit is refused and says what
//! would be right, and no call ever loses its result.

use phi_loop::{ContextRefused, Input, Machine, Rejected, ToolReport};
use phi_types::{
    AskedBy, Configuration, ContextChange, EffectId, EventKind, OverlayId, Prune, RequestPart,
    Revert, RevertCategory, SurfaceChanged, Tag, Tags, ToolEnding, ToolResult, Transcript,
};

use crate::facts::{check, refused, request, results, words};
use crate::support::{Bench, prompt, queue_id, restarted, user};

const LONG: &str = "line after line after line after line after line after line of a file";

/// A loop with this many turns behind it, each one call with a long result.
fn worked(turns: usize, configuration: Configuration) -> Bench {
    let mut bench = Bench::started(configuration, "Do it.");
    for turn in 0..turns {
        bench.call(&["pure"]);
        for effect in bench.tools() {
            bench.end_tool(effect, &format!("{turn}: {LONG}"));
        }
    }
    bench
}

fn prune(entries: &[u64], memo: Option<&str>) -> ContextChange {
    ContextChange::Prune(Prune {
        tags: entries.iter().map(|entry| Tag::entry(*entry)).collect(),
        memo: memo.map(str::to_owned),
    })
}

fn revert(to: u64) -> ContextChange {
    ContextChange::Revert(Revert {
        to: Tag::entry(to),
        category: RevertCategory::DeadEnd,
        summary: "Not there.".into(),
    })
}

fn wish(bench: &mut Bench, effect: EffectId, change: ContextChange) {
    let result = ToolResult::text("As you wish.").with_change(change);
    bench.handle(Input::ToolEnded(effect, ToolReport::returned(result)));
}

fn view(bench: &Bench) -> Vec<String> {
    words(bench.machine.transcript().view())
}

fn newest_overlay(bench: &Bench) -> OverlayId {
    let newest = bench.machine.transcript().overlays().last();
    newest.cloned().expect("an overlay was laid")
}

const SUMMARY: &str =
    "user: [What followed was taken back (dead end). What is left of it:]\nNot there.";

#[test]
fn a_call_prunes_when_its_whole_turn_has_its_results() {
    let mut bench = worked(2, Configuration::default());
    bench.call(&["pure", "pure"]);
    let calls = bench.tools();
    wish(
        &mut bench,
        calls[0].clone(),
        prune(&[2], Some("The file is long.")),
    );
    assert!(!bench.kinds().contains(&"context_pruned".to_owned()));
    bench.end_tool(calls[1].clone(), "ok");
    let kinds = bench.kinds();
    let ended = kinds.iter().rposition(|it| it == "tool_ended").unwrap();
    assert_eq!(
        kinds[ended + 1..ended + 3],
        ["context_pruned", "turn_ended"]
    );
    let expected = [
        "user: Do it.",
        "model: pure",
        "results: The file is long.",
        "model: pure",
        &format!("results: 1: {LONG}"),
        "model: pure,pure",
        "results: As you wish. | ok",
    ];
    assert_eq!(words(&request(&bench).view), expected);
    let whole = words(bench.machine.transcript().history());
    assert_eq!(
        whole[2],
        format!("results: 0: {LONG}"),
        "the history keeps it"
    );
    bench.say("Done.");
    check(&bench);
}

#[test]
fn without_a_memo_a_note_stands_for_each_result_and_a_memo_for_the_oldest() {
    let mut bench = worked(3, Configuration::default());
    bench.handle(Input::Change(prune(&[4, 2], None)));
    let note = "results: [This result was pruned.]";
    assert_eq!([&view(&bench)[2], &view(&bench)[4]], [note, note]);
    bench.handle(Input::Change(prune(&[6, 4], Some("Nothing."))));
    let now = view(&bench);
    assert_eq!(
        [&now[2], &now[4], &now[6]],
        [note, "results: Nothing.", note]
    );
}

#[test]
fn a_call_reverts_and_keeps_its_own_pair() {
    let mut bench = worked(3, Configuration::default());
    bench.call(&["pure"]);
    let calls = bench.tools();
    wish(&mut bench, calls[0].clone(), revert(2));
    let expected = [
        "user: Do it.",
        "model: pure",
        &format!("results: 0: {LONG}"),
        SUMMARY,
        "model: pure",
        "results: As you wish.",
    ];
    assert_eq!(words(&request(&bench).view), expected);
    assert_eq!(bench.machine.transcript().history().len(), 9);
    let event = bench.events.iter().find_map(|event| match &event.kind {
        EventKind::ContextReverted(reverted) => Some(reverted),
        _ => None,
    });
    let reverted = event.unwrap();
    let effect = calls[0].clone();
    assert_eq!(reverted.by, AskedBy::Call { effect });
    assert_eq!((reverted.block.first, reverted.block.count), (3, 4));
    bench.say("Done.");
    check(&bench);
}

#[test]
fn a_wish_that_does_not_fit_is_an_error_that_says_what_would_be_right() {
    let many = "a long memo ".repeat(60);
    let cases = [
        (
            prune(&[9], None),
            "there is no n9: the entries are n0 to n5",
        ),
        (prune(&[1], None), "n1 is no tool result"),
        (prune(&[], None), "give the tag of at least one"),
        (prune(&[2], Some(" ")), "the memo is blank"),
        (prune(&[2], Some(&many)), "name more, or say less"),
        (
            revert(1),
            "n1 asks for tools and would lose their results: name n2",
        ),
        (
            revert(4),
            "nothing that may go follows n4: name an earlier entry",
        ),
        (
            revert(2),
            "n4 is a message of the user, which stays: name n4",
        ),
        (revert(u64::MAX), "there is no n18446744073709551615"),
    ];
    for (change, expected) in cases {
        let mut bench = worked(1, Configuration::default());
        bench.handle(Input::Steer(queue_id("a"), user("Look there.")));
        bench.say("I do.");
        let text = format!("{change:?}");
        bench.call(&["pure"]);
        let before = view(&bench);
        let calls = bench.tools();
        wish(&mut bench, calls[0].clone(), change);
        let (_, ending, said) = results(&bench).pop().unwrap();
        assert_eq!(ending, ToolEnding::Failed, "{text}");
        assert!(
            said.contains("The context stays as it is: "),
            "{text}: {said}"
        );
        assert!(said.contains(expected), "{text}: {said}");
        assert_eq!(view(&bench)[..before.len()], before, "{text}");
        check(&bench);
    }
}

#[test]
fn what_no_longer_fits_when_the_turn_ends_is_left_out() {
    let mut bench = worked(2, Configuration::default());
    bench.call(&["pure", "pure"]);
    let calls = bench.tools();
    wish(&mut bench, calls[0].clone(), prune(&[4], None));
    // Its caller takes the same entry back before the turn has ended.
    bench.handle(Input::Change(revert(2)));
    wish(&mut bench, calls[1].clone(), prune(&[2], None));
    let pruned = bench
        .kinds()
        .iter()
        .filter(|it| *it == "context_pruned")
        .count();
    assert_eq!(pruned, 1);
    let expected = [
        "user: Do it.",
        "model: pure",
        "results: [This result was pruned.]",
        SUMMARY,
        "model: pure,pure",
        "results: As you wish. | As you wish.",
    ];
    assert_eq!(view(&bench), expected);
    bench.say("Done.");
    check(&bench);
}

#[test]
fn the_caller_changes_the_context_at_any_time_and_the_next_request_shows_it() {
    // While the model answers: what it was asked stays as it was.
    let mut bench = worked(2, Configuration::default());
    let asked = request(&bench).view.clone();
    bench.handle(Input::Change(revert(2)));
    assert_eq!(request(&bench).view, asked);
    bench.call(&["pure"]);
    // While a call runs: its answer stays.
    bench.handle(Input::Change(prune(&[2], None)));
    let why = ContextRefused::NothingFollows { tag: Tag::entry(5) };
    let late = refused(&mut bench, Input::Change(revert(5)));
    assert_eq!(late, Rejected::Context(why));
    for effect in bench.tools() {
        bench.end_tool(effect, "ok");
    }
    let expected = [
        "user: Do it.",
        "model: pure",
        "results: [This result was pruned.]",
        SUMMARY,
        "model: pure",
        "results: ok",
    ];
    assert_eq!(words(&request(&bench).view), expected);
    let broken = bench.events.iter().filter_map(|event| match &event.kind {
        EventKind::CacheBroken(broken) => Some(broken.part),
        _ => None,
    });
    assert_eq!(
        broken.collect::<Vec<_>>(),
        [RequestPart::Entry { index: 2 }]
    );
    bench.say("Done.");
    check(&bench);
}

#[test]
fn an_overlay_below_newer_ones_is_taken_off_and_the_newer_ones_stay() {
    let mut bench = worked(3, Configuration::default());
    let whole = view(&bench);
    let before = bench.machine.transcript().estimated_tokens();
    bench.handle(Input::Change(prune(&[2], None)));
    let pruned = newest_overlay(&bench);
    bench.handle(Input::Change(revert(4)));
    let reverted = newest_overlay(&bench);
    let after = bench.machine.transcript().estimated_tokens();
    assert!(after < before, "{after} of {before}");
    bench.handle(Input::Restore(pruned.clone()));
    let mut expected = whole[..5].to_vec();
    expected.push(SUMMARY.to_owned());
    assert_eq!(view(&bench), expected);
    let again = refused(&mut bench, Input::Restore(pruned));
    assert!(
        again
            .to_string()
            .contains("there is no overlay s.default.1#"),
        "{again}"
    );
    bench.handle(Input::Restore(reverted));
    assert_eq!(view(&bench), whole);
    let transcript = bench.machine.transcript();
    assert!(transcript.view().is_same_path(transcript.history()));
    assert_eq!(transcript.estimated_tokens(), before);
    bench.say("Done.");
    check(&bench);
}

#[test]
fn the_first_task_stays_and_only_a_caller_takes_messages_of_the_user_back() {
    let mut bench = worked(1, Configuration::default());
    bench.handle(Input::Steer(queue_id("a"), user("No, there.")));
    bench.call(&["pure"]);
    for effect in bench.tools() {
        bench.end_tool(effect, "ok");
    }
    bench.call(&["pure"]);
    let calls = bench.tools();
    wish(&mut bench, calls[0].clone(), revert(0));
    assert_eq!(results(&bench).pop().unwrap().1, ToolEnding::Failed);
    bench.handle(Input::Change(revert(0)));
    assert_eq!(view(&bench), ["user: Do it.", SUMMARY]);
    bench.say("Done.");
    check(&bench);
}

#[test]
fn a_restored_view_that_exceeds_the_window_is_refused() {
    let mut bench = worked(3, Configuration::default());
    let tokens = bench.machine.transcript().estimated_tokens();
    bench.handle(Input::Change(prune(&[2, 4], None)));
    let overlay = newest_overlay(&bench);
    let window = |tokens| {
        let models = crate::support::surface().models;
        let models = models.iter().cloned().map(|mut model| {
            model.window_tokens = Some(tokens);
            model
        });
        Input::SurfaceChanged(SurfaceChanged {
            models: Some(models.collect()),
            ..SurfaceChanged::default()
        })
    };
    bench.handle(window(tokens - 1));
    let why = ContextRefused::TooLarge {
        tokens,
        window_tokens: tokens - 1,
    };
    let refused = refused(&mut bench, Input::Restore(overlay.clone()));
    assert_eq!(refused, Rejected::Context(why));
    bench.handle(window(tokens));
    bench.handle(Input::Restore(overlay));
}

#[test]
fn nothing_changes_while_the_view_is_made_smaller() {
    let configuration = Configuration {
        compaction: true,
        compact_at: Some(phi_types::CompactAt::Tokens(1)),
        ..Configuration::default()
    };
    let mut bench = Bench::started(configuration, "Do it.");
    let late = refused(&mut bench, Input::Change(prune(&[0], None)));
    assert!(
        late.to_string().contains("is making its view smaller"),
        "{late}"
    );
}

#[test]
fn a_crash_between_the_last_result_and_the_change_loses_nothing() {
    let mut bench = worked(2, Configuration::default());
    bench.call(&["pure"]);
    let calls = bench.tools();
    wish(&mut bench, calls[0].clone(), revert(2));
    let kinds = bench.kinds();
    let changed = kinds
        .iter()
        .position(|it| it == "context_reverted")
        .unwrap();
    for cut in changed..=changed + 1 {
        let mut again = restarted(&bench.events[..cut], bench.now);
        assert_eq!(view(&again), view(&bench), "cut at {cut}");
        again.say("Done.");
        check(&again);
    }
}

#[test]
fn overlays_outlive_their_loop() {
    let mut first = worked(2, Configuration::default());
    first.handle(Input::Change(revert(2)));
    let overlay = newest_overlay(&first);
    first.say("Done.");
    let before: Transcript = first.machine.transcript().clone();
    let mut start = crate::support::start(Configuration::default());
    start.loop_id = phi_types::LoopId::numbered(&start.session, &start.configuration.id, 2);
    start.transcript = before.clone();
    let mut bench = Bench::with(Machine::new(start));
    bench.handle(prompt("And then?"));
    assert_eq!(view(&bench).len(), 6);
    bench.handle(Input::Restore(overlay));
    assert_eq!(view(&bench).len(), 7);
    bench.say("Nothing.");
    assert_eq!(view(&bench).len(), 8);
    assert_eq!(
        Machine::restore(&before, &bench.events).unwrap(),
        bench.machine
    );
    phi_loop::replay(&before, &bench.events).unwrap();
}

#[test]
fn tags_stay_or_decay_as_the_configuration_says() {
    let tagged = |tags| Configuration {
        tags,
        ..Configuration::default()
    };
    let shown = |tags| {
        let mut bench = worked(2, tagged(tags));
        bench.call(&["pure", "pure"]);
        for effect in bench.tools() {
            bench.end_tool(effect, "ok");
        }
        let seen = words(&request(&bench).view);
        bench.say("Done.");
        check(&bench);
        let places = [0, 2, 4, 6];
        let broken = bench.kinds().contains(&"cache_broken".to_owned());
        (places.map(|at| seen[at].clone()), broken)
    };
    let (one, two) = (format!("0: {LONG}"), format!("1: {LONG}"));
    let untagged = [
        "user: Do it.".into(),
        format!("results: {one}"),
        format!("results: {two}"),
    ];
    let (seen, broken) = shown(None);
    assert_eq!((&seen[..3], broken), (&untagged[..], false));
    let all = [
        "user: [n0] Do it.".to_owned(),
        format!("results: [n2] {one}"),
        format!("results: [n4] {two}"),
        "results: [n6.0] ok | [n6.1] ok".to_owned(),
    ];
    assert_eq!(shown(Some(Tags::Stay)), (all.clone(), false));
    let (seen, broken) = shown(Some(Tags::Newest(3)));
    assert_eq!((&seen[..2], broken), (&untagged[..2], true));
    assert_eq!(seen[2..], all[2..]);
}
