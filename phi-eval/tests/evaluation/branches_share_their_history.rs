//! Branches share the history that they start from: nothing of it is copied.

use std::sync::Arc;

use crate::support::{At, branch, model, soon};
use phi_eval::Evaluation;
use phi_testkit::Reply;
use phi_types::{
    AssistantMessage, AssistantPart, Entry, History, Origin, Outcome, SessionId, StopReason,
    TextPart, Transcript, Usage, UserMessage,
};

fn long(messages: usize) -> History {
    let user = |_| Entry::User(Arc::new(UserMessage::text("m".repeat(1_024))));
    (0..messages).map(user).collect()
}

#[tokio::test(start_paused = true)]
async fn sixty_four_branches_share_one_long_history() {
    let history = long(10_000);
    let branches = (0..64).map(|at| branch(&format!("b{at}"), model([Reply::text("x")])));
    let session = SessionId::new("s").unwrap();
    let evaluation = Evaluation::new(session, Transcript::from_history(history.clone()))
        .branches(branches.collect())
        .prompt("Go.")
        .at_once(64);
    let evaluated = soon(evaluation.run(&At(63))).await;
    assert_eq!(evaluated.place(), Ok(Some(63)));
    for branch in evaluated.branches() {
        assert_eq!(branch.outcome, Outcome::Completed {});
        let after = branch.transcript.history();
        assert_eq!(after.len(), 10_002);
        assert!(after.prefix(10_000).is_same_path(&history));
        assert!(after.is_same_path(branch.transcript.view()));
    }
}

#[tokio::test(start_paused = true)]
async fn branches_continue_a_conversation_without_a_prompt() {
    let history = long(1);
    let session = SessionId::new("s").unwrap();
    let branches = ["a", "b"].map(|it| branch(it, model([Reply::text(it)])));
    let evaluation = Evaluation::new(session, Transcript::from_history(history.clone()))
        .branches(branches.to_vec());
    let evaluated = soon(evaluation.run(&At(0))).await;
    for (branch, said) in evaluated.branches().iter().zip(["a", "b"]) {
        let after = branch.transcript.history();
        assert!(after.prefix(1).is_same_path(&history));
        let Some(Entry::Assistant(answer)) = after.last() else {
            panic!("{after:?}")
        };
        assert_eq!((after.len(), answer.text().as_str()), (2, said));
    }
}

#[tokio::test(start_paused = true)]
async fn the_conversation_that_was_given_stays_as_it_was() {
    let mut history = long(1);
    let answer = AssistantMessage {
        parts: vec![AssistantPart::Text(TextPart::new("hello"))],
        stop_reason: StopReason::EndTurn,
        stop_reason_raw: None,
        usage: Usage::default(),
        origin: Origin::default(),
    };
    history.push(Entry::Assistant(Arc::new(answer)));
    let before = Transcript::from_history(history);
    let branches = vec![branch("a", model([Reply::new(), Reply::text("x")]))];
    let evaluation = Evaluation::new(SessionId::new("s").unwrap(), before.clone())
        .branches(branches)
        .prompt("Go.");
    let evaluated = soon(evaluation.run(&At(0))).await;
    assert_eq!(evaluated.branches()[0].transcript.history().len(), 4);
    assert_eq!(before.history().len(), 2);
}
