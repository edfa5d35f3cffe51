//! Lets others run in the middle of work that never waits by itself.

use std::future::poll_fn;
use std::task::Poll;

/// Is pending once: everything else that is under way is polled before this goes on.
pub(crate) async fn others_first() {
    let mut polled = false;
    poll_fn(|cx| {
        if polled {
            return Poll::Ready(());
        }
        polled = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
