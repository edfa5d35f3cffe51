//! What the engine says when it fails, as errors of a store.

use std::path::Path;

use rusqlite::ErrorCode;

use crate::error::StoreError;

/// Says what the engine could not do, and what would help.
pub(super) fn failure(action: &'static str, path: &Path, error: &rusqlite::Error) -> StoreError {
    let remedy = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt) => {
            let (path, reason) = (path.to_owned(), error.to_string());
            return StoreError::Damaged { path, reason };
        }
        Some(ErrorCode::NotADatabase) => "name another file",
        Some(ErrorCode::DiskFull | ErrorCode::TooBig) => "free some space",
        Some(ErrorCode::SystemIoFailure) => "see that its disk works and has space",
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => "wait until the others end",
        Some(_) => "see that it and its folder can be used",
        None => "see that it is a database of sessions",
    };
    let reason = format!("`{}`: {error}; {remedy}", path.display());
    StoreError::Backend { action, reason }
}

/// Says whether a row of this key is there already.
pub(super) fn is_repeated(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation)
}
