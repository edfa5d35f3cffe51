//! Where sessions are kept.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use phi::session::{JsonlStore, Store, StoreError};
use phi::types::SessionId;

use crate::failure::Failure;

/// What stands before the file of a store in a database.
const SQLITE: &str = "sqlite:";

/// Where a store is, as the command line names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A folder of logs.
    Folder(PathBuf),
    /// A database of SQLite.
    Database(PathBuf),
}

impl Place {
    /// Finds the place that was named, or that of `$PHI_STORE`, `$XDG_STATE_HOME/phi` or
    /// `~/.local/state/phi`, in this order.
    pub(crate) fn find(named: Option<&Path>) -> Result<Self, Failure> {
        let named = named.map(|path| path.as_os_str().to_owned());
        let place = named.or_else(|| place(variable));
        let place = place.filter(|place| !place.is_empty()).ok_or_else(|| {
            let text = "there is no home directory to keep sessions in: set PHI_STORE or --store";
            Failure::refused(text)
        })?;
        let absolute = |path: &OsStr| std::path::absolute(path).unwrap_or_else(|_| path.into());
        match place.as_bytes().strip_prefix(SQLITE.as_bytes()) {
            None => Ok(Self::Folder(absolute(&place))),
            Some([]) => Err(Failure::refused(
                "`sqlite:` names no file: write --store sqlite:FILE",
            )),
            Some(file) => Ok(Self::Database(absolute(OsStr::from_bytes(file)))),
        }
    }

    /// Returns the store that is there.
    pub(crate) fn store(&self) -> Result<Arc<dyn Store>, Failure> {
        match self {
            Self::Folder(path) => Ok(Arc::new(JsonlStore::new(path))),
            Self::Database(path) => database(path),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "{}", path.display()),
            Self::Database(path) => write!(f, "{SQLITE}{}", path.display()),
        }
    }
}

#[cfg(feature = "sqlite")]
#[expect(
    clippy::unnecessary_wraps,
    reason = "without the feature there is no such store"
)]
fn database(path: &Path) -> Result<Arc<dyn Store>, Failure> {
    Ok(Arc::new(phi::session::SqliteStore::new(path)))
}

#[cfg(not(feature = "sqlite"))]
fn database(path: &Path) -> Result<Arc<dyn Store>, Failure> {
    let path = path.display();
    Err(Failure::refused(format!(
        "this phi has no store in a database for `{path}`: build it with --features sqlite, or name \
         a folder"
    )))
}

/// Returns the store that was named, or the usual one.
pub(crate) fn store(named: Option<&Path>) -> Result<Arc<dyn Store>, Failure> {
    Place::find(named)?.store()
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
        | StoreError::Damaged { .. }
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

fn place(variable: impl Fn(&str) -> Option<OsString>) -> Option<OsString> {
    if let Some(store) = variable("PHI_STORE") {
        return Some(store);
    }
    // The specification of that variable says to ignore a relative path.
    let state = variable("XDG_STATE_HOME").map(PathBuf::from);
    let state = state.filter(|state| state.is_absolute());
    let home = || variable("HOME").map(|home| Path::new(&home).join(".local/state"));
    let state = state.or_else(home);
    state.map(|state| state.join("phi").into_os_string())
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
