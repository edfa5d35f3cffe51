//! A list shows what the whole record would, from what was kept of it.

use std::fs;

use crate::scene::{Scratch, at, extension_of, full_session, session};
use phi_session::{SessionFilter, SessionSummary, Store, load};
use proptest::prelude::*;

async fn listed(scratch: &Scratch) -> SessionSummary {
    let mut listed = scratch.store.list(&SessionFilter::default()).await.unwrap();
    assert_eq!(listed.len(), 1);
    listed.pop().unwrap().summary.unwrap()
}

#[tokio::test]
async fn what_is_kept_is_used_brought_up_to_date_and_made_anew() {
    let events = full_session();
    let scratch = Scratch::new().with_segment_bytes_max(2_000);
    scratch.keep(&events[..20]).await;
    let kept = scratch.session_folder().join("summary");
    let mut expected = Vec::new();
    for count in 20..events.len() {
        let writer = scratch.open().await.unwrap();
        writer.append_batch(&events[count..=count]).await.unwrap();
        let summary = listed(&scratch).await;
        let loaded = load(&scratch.store, &session()).await.unwrap();
        assert_eq!(summary, loaded.session().summary(), "after {count}");
        expected.push(summary);
        // Damage to what is kept is no damage to the log.
        let content = fs::read(&kept).unwrap();
        match count % 4 {
            0 => fs::remove_file(&kept).unwrap(),
            1 => fs::write(&kept, &content[..content.len() / 2]).unwrap(),
            2 => fs::write(&kept, String::from_utf8(content).unwrap().replace('1', "2")).unwrap(),
            _ => {}
        }
    }
    // The log is not read where nothing came since: damage in its past is not seen.
    listed(&scratch).await;
    let first = scratch.segments().remove(0);
    let whole = fs::read(&first).unwrap();
    fs::write(&first, &whole[..whole.len() / 2]).unwrap();
    assert_eq!(Some(&listed(&scratch).await), expected.last());
    assert!(!scratch.store.verify(&session()).await.unwrap().is_sound());
    fs::write(&first, &whole).unwrap();
    let writer = scratch.open().await.unwrap();
    writer
        .append_fact(at(900), extension_of("x"))
        .await
        .unwrap();
    assert_eq!(listed(&scratch).await.updated_at, Some(at(900)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_summary_kept_at_any_event_goes_on_to_that_of_all(cuts in prop::collection::vec(1..45_usize, 1..4)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let events = full_session();
            let scratch = Scratch::new().with_segment_bytes_max(3_000);
            scratch.keep(&events[..1]).await;
            let mut done = 1;
            let mut cuts = cuts;
            cuts.sort_unstable();
            for cut in cuts.into_iter().chain([events.len()]) {
                let cut = cut.clamp(done, events.len());
                scratch.open().await.unwrap().append_batch(&events[done..cut]).await.unwrap();
                done = cut;
                let loaded = load(&scratch.store, &session()).await.unwrap();
                assert_eq!(listed(&scratch).await, loaded.session().summary());
            }
        });
    }
}
