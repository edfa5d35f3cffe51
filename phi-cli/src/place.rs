//! Where sessions are kept.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use phi::session::{JsonlStore, StoreError};
use phi::types::SessionId;

use crate::failure::Failure;

/// Opens the store that was named, or that of `$PHI_STORE`, `$XDG_STATE_HOME/phi` or
/// `~/.local/state/phi`, in this order.
pub(crate) fn store(named: Option<&Path>) -> Result<Arc<JsonlStore>, Failure> {
    let path = named.map(Path::to_owned).or_else(|| place(variable));
    let path = path.filter(|path| !path.as_os_str().is_empty());
    let path = path.ok_or_else(|| {
        Failure::refused("there is no home directory to keep sessions in: set PHI_STORE or --store")
    })?;
    let absolute = std::path::absolute(&path).unwrap_or(path);
    Ok(Arc::new(JsonlStore::new(absolute)))
}

/// Reads the name of a session.
pub(crate) fn session_id(id: &str) -> Result<SessionId, Failure> {
    SessionId::new(id).map_err(|error| Failure::refused(error.to_string()))
}

/// Says why a session cannot be opened.
pub(crate) fn session_failure(error: &phi::SessionError) -> Failure {
    match error {
        phi::SessionError::Store(error) => store_failure(error),
        _ => Failure::refused(format!("cannot {error}")),
    }
}

/// Says why the store did not do what was asked. A session that is spoilt is nobody's wrong request.
pub(crate) fn store_failure(error: &StoreError) -> Failure {
    match error {
        StoreError::Unknown { session } => Failure::refused(format!(
            "there is no session `{session}`: see `phi sessions list`"
        )),
        StoreError::Corrupt { .. }
        | StoreError::Missing { .. }
        | StoreError::OtherParent { .. }
        | StoreError::OtherSession { .. }
        | StoreError::Illegal { .. } => Failure::failed(format!("cannot {error}")),
        StoreError::Io { path, .. } => Failure::refused(format!(
            "cannot {error}: see that `{}` can be used, or name another --store",
            path.display()
        )),
        _ => Failure::refused(format!("cannot {error}")),
    }
}

fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn place(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    if let Some(store) = variable("PHI_STORE") {
        return Some(PathBuf::from(store));
    }
    // The specification of that variable says to ignore a relative path.
    let state = variable("XDG_STATE_HOME").map(PathBuf::from);
    let state = state.filter(|state| state.is_absolute());
    let home = || variable("HOME").map(|home| Path::new(&home).join(".local/state"));
    state.or_else(home).map(|state| state.join("phi"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_variable_that_says_something_counts() {
        let all = [
            ("PHI_STORE", "/store"),
            ("XDG_STATE_HOME", "/state"),
            ("HOME", "/home/me"),
        ];
        let place_of = |set: &[(&str, &str)]| {
            place(|name| {
                let found = set.iter().find(|(it, _)| *it == name);
                found.map(|(_, value)| OsString::from(value))
            })
        };
        assert_eq!(place_of(&all), Some("/store".into()));
        assert_eq!(place_of(&all[1..]), Some("/state/phi".into()));
        assert_eq!(
            place_of(&all[2..]),
            Some("/home/me/.local/state/phi".into())
        );
        let relative = [("XDG_STATE_HOME", "state"), ("HOME", "/home/me")];
        assert_eq!(
            place_of(&relative),
            Some("/home/me/.local/state/phi".into())
        );
        assert_eq!(place_of(&[]), None);
    }
}
