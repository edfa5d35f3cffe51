//! What a session and its sub-agents have spent, read off their logs.

use std::collections::BTreeSet;

use phi_loop::Spending;
use phi_session::{SessionFilter, Store, StoreError, read_events};
use phi_types::SessionId;

/// Sums up what a session has spent with all sub-agents below it, however deep.
///
/// A ledger lives as long as its process. A later one goes on where it was with
/// [`phi_loop::Ledger::charge`]:
///
/// ```
/// # async fn f(store: &dyn phi::session::Store) -> Result<(), Box<dyn std::error::Error>> {
/// use phi::agent_loop::{Budget, Ledger};
/// let ledger = Ledger::new(Budget { tokens: Some(1_000_000), ..Budget::default() });
/// ledger.charge(&phi::spending(store, &"s1".parse()?).await?);
/// # Ok(()) }
/// ```
///
/// **Cancel safety:** a dropped call changes nothing.
///
/// # Errors
/// Those of the store for any of the sessions.
pub async fn spending(store: &dyn Store, root: &SessionId) -> Result<Spending, StoreError> {
    let (mut logs, mut open) = (Vec::new(), vec![root.clone()]);
    let mut seen = BTreeSet::from([root.clone()]);
    while let Some(session) = open.pop() {
        let spawned = SessionFilter {
            spawned_by: Some(session.clone()),
            ..SessionFilter::default()
        };
        for child in store.list(&spawned).await? {
            // A list names what cannot be read, too; nobody knows whose child that is.
            if child.summary.is_ok() && seen.insert(child.session.clone()) {
                open.push(child.session);
            }
        }
        logs.push(read_events(store, &session).await?);
    }
    Ok(Spending::of_logs(logs.iter().map(Vec::as_slice)))
}
