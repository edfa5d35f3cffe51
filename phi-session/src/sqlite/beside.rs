//! What the database keeps beside the lines of a session: long strings, and what a list shows.

use rusqlite::{OptionalExtension, params};

use super::database::{Database, Done, integer};
use crate::blob::{BlobId, BlobSource};
use crate::error::StoreError;
use crate::summary_fold::SummaryFold;

impl Database {
    /// Reads a blob.
    pub(super) fn blob(&self, key: i64, id: &BlobId) -> Result<Option<Vec<u8>>, StoreError> {
        let read = self
            .connection
            .prepare_cached("SELECT json FROM blobs WHERE session = ?1 AND sha256 = ?2")
            .and_then(|mut statement| {
                let read = statement.query_row(params![key, id.to_string()], |row| row.get(0));
                read.optional()
            });
        self.done("read", read)
    }

    /// Lists the blobs of a session in order.
    pub(super) fn blobs(&self, key: i64) -> Result<Vec<BlobId>, StoreError> {
        let listed: Done<Vec<String>> = self
            .connection
            .prepare_cached("SELECT sha256 FROM blobs WHERE session = ?1 ORDER BY sha256")
            .and_then(|mut statement| statement.query_map([key], |row| row.get(0))?.collect());
        let listed = self.done("read", listed)?.into_iter();
        Ok(listed.filter_map(|id| id.parse().ok()).collect())
    }

    /// Returns what was kept for lists, and the position up to which it was folded.
    pub(super) fn kept_summary(&self, key: i64) -> Result<Option<(SummaryFold, u64)>, StoreError> {
        let kept = self
            .connection
            .prepare_cached(
                "SELECT summary, summary_position FROM sessions
                 WHERE key = ?1 AND summary IS NOT NULL AND summary_position IS NOT NULL",
            )
            .and_then(|mut statement| {
                let read = |row: &rusqlite::Row<'_>| {
                    Ok((
                        row.get::<_, String>(0)?,
                        row.get::<_, i64>(1)?.unsigned_abs(),
                    ))
                };
                statement.query_row([key], read).optional()
            });
        let kept = self.done("read", kept)?;
        // What cannot be read is made anew.
        Ok(kept.and_then(|(text, position)| Some((serde_json::from_str(&text).ok()?, position))))
    }

    /// Keeps it for the next list. Where that fails, the next list reads the lines again.
    pub(super) fn keep_summary(&self, key: i64, fold: &SummaryFold, position: u64) {
        let text = serde_json::to_string(fold).unwrap_or_default();
        let kept = self.connection.execute(
            "UPDATE sessions SET summary = ?2, summary_position = ?3 WHERE key = ?1",
            params![key, text, integer(position)],
        );
        kept.unwrap_or_default();
    }
}

/// The blobs of one session.
pub(super) struct Blobs<'a>(pub(super) &'a Database, pub(super) i64);

impl BlobSource for Blobs<'_> {
    fn blob(&self, id: &BlobId) -> Result<Option<Vec<u8>>, String> {
        self.0.blob(self.1, id).map_err(|error| error.to_string())
    }
}
