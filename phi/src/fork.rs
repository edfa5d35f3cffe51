//! Sessions that share the past of another one.

use phi_session::{Store, StoreError};
use phi_types::SessionId;

use crate::clock::now;

/// Begins a session that shares the past of another one up to a position, from now on.
///
/// Nothing is copied. A loop that was under way at that position goes on with
/// [`crate::Session::resume`] in the fork: a call that must not run twice is reported to the model as
/// interrupted, and the session that was forked is not touched.
///
/// **Cancel safety:** a dropped call may have created the fork.
///
/// # Errors
/// Those of [`Store::fork`].
pub async fn fork(
    store: &dyn Store,
    parent: &SessionId,
    position: u64,
    fork: &SessionId,
) -> Result<(), StoreError> {
    store.fork(parent, position, fork, now()).await.map(drop)
}
