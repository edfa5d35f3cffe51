//! The database: its tables, and each statement that reads or changes them.

use std::fs::OpenOptions;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use phi_types::{ForkedFrom, SessionId};
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::failure::{failure, is_repeated};
use crate::chain::{Chain, Encoded};
use crate::error::{BadLine, StoreError};
use crate::files::{io_error, make_folder};

/// The version of the tables.
const VERSION: i64 = 1;
/// How long a write waits for those of other processes.
const PATIENCE: Duration = Duration::from_secs(30);

const TABLES: &str = "
    CREATE TABLE sessions (
        key INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        parent TEXT,
        parent_position INTEGER,
        parent_checksum INTEGER,
        summary TEXT,
        summary_position INTEGER
    ) STRICT;
    CREATE INDEX forks ON sessions (parent) WHERE parent IS NOT NULL;
    CREATE TABLE lines (
        session INTEGER NOT NULL,
        position INTEGER NOT NULL,
        line TEXT NOT NULL,
        PRIMARY KEY (session, position)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE blobs (
        session INTEGER NOT NULL,
        sha256 TEXT NOT NULL,
        json BLOB NOT NULL,
        PRIMARY KEY (session, sha256)
    ) STRICT;
    PRAGMA user_version = 1;
";

/// A connection to the database.
#[derive(Debug)]
pub(super) struct Database {
    pub(super) connection: Connection,
    path: PathBuf,
    /// Which file it was when it was opened.
    identity: (u64, u64),
}

/// What the database knows of a session besides its lines.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) key: i64,
    pub(super) origin: Option<ForkedFrom>,
}

impl Row {
    /// Returns the position before its own first event.
    pub(super) fn before(&self) -> u64 {
        self.origin.as_ref().map_or(0, |origin| origin.position)
    }
}

pub(super) type Done<T> = Result<T, rusqlite::Error>;

impl Database {
    /// Opens the database; `None` where nobody has written to it.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, StoreError> {
        match std::fs::metadata(path) {
            Ok(there) if there.is_file() => {}
            Ok(_) => {
                return Err(StoreError::WrongKind {
                    expected: "file",
                    path: path.to_owned(),
                });
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error("open", path)(error)),
        }
        let database = Self::connect(path)?;
        let version = database.version()?;
        if version == VERSION {
            database.check_tables()?;
        }
        if version > VERSION {
            return Err(StoreError::Backend {
                action: "open the database",
                reason: format!(
                    "`{}` has version {version} and this program knows {VERSION}; use a newer one",
                    path.display()
                ),
            });
        }
        Ok((version == VERSION).then_some(database))
    }

    /// Opens the database and makes it where it is not there.
    pub(super) fn create(path: &Path) -> Result<Self, StoreError> {
        if let Some(database) = Self::open(path)? {
            return Ok(database);
        }
        if let Some(folder) = path.parent().filter(|it| !it.as_os_str().is_empty()) {
            make_folder(folder)?;
        }
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(false).mode(0o600);
        options.open(path).map_err(io_error("create", path))?;
        let mut database = Self::connect(path)?;
        let mode =
            database
                .connection
                .pragma_update_and_check(None, "journal_mode", "WAL", |row| {
                    row.get::<_, String>(0)
                });
        database.done("make", mode)?;
        database.write(true, |database| {
            if database.version()? == 0 {
                let made = database.connection.execute_batch(TABLES);
                database.done("make", made)?;
            }
            Ok(())
        })?;
        Ok(database)
    }

    /// Says whether the tables are tables: a view or a trigger could go on for ever.
    fn check_tables(&self) -> Result<(), StoreError> {
        let found = self.connection.query_row(
            "SELECT count(*) FILTER (WHERE type = 'table' AND sql LIKE 'CREATE TABLE %'
                 AND name IN ('sessions', 'lines', 'blobs')),
                 count(*) FILTER (WHERE type IN ('view', 'trigger'))
             FROM sqlite_schema",
            [],
            |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
        );
        if self.done("open", found)? == (3, 0) {
            return Ok(());
        }
        let reason = "its tables are not those of sessions; name another file";
        Err(self.failed("open", reason))
    }

    fn connect(path: &Path) -> Result<Self, StoreError> {
        // The engine opens what stands there, and a FIFO would hold it up.
        for end in ["-journal", "-wal", "-shm"] {
            let mut beside = path.to_owned().into_os_string();
            beside.push(end);
            let beside = PathBuf::from(beside);
            if std::fs::metadata(&beside).is_ok_and(|there| !there.is_file()) {
                return Err(StoreError::WrongKind {
                    expected: "file",
                    path: beside,
                });
            }
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = Connection::open_with_flags(path, flags).and_then(|connection| {
            connection.busy_timeout(PATIENCE)?;
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            Ok(connection)
        });
        let connection = opened.map_err(|error| failure("open", path, &error))?;
        #[cfg(test)]
        super::fault_tests::watch(&connection);
        let identity = identity(path).map_err(io_error("open", path))?;
        let path = path.to_owned();
        Ok(Self {
            connection,
            path,
            identity,
        })
    }

    fn version(&self) -> Result<i64, StoreError> {
        let version = self
            .connection
            .pragma_query_value(None, "user_version", |row| row.get(0));
        self.done("open", version)
    }

    /// Does something whole or not at all; a durable change survives a loss of power.
    pub(super) fn write<T>(
        &mut self,
        is_durable: bool,
        change: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let level = if is_durable { "FULL" } else { "NORMAL" };
        let begun = self
            .connection
            .pragma_update(None, "synchronous", level)
            .and_then(|()| self.connection.execute_batch("BEGIN IMMEDIATE"));
        self.done("write to", begun)?;
        let changed = change(self).and_then(|value| {
            let committed = self.connection.execute_batch("COMMIT");
            self.done("write to", committed).map(|()| value)
        });
        if changed.is_err() && !self.connection.is_autocommit() {
            let undone = self.connection.execute_batch("ROLLBACK");
            self.done("write to", undone)?;
        }
        changed
    }

    /// Finds a session.
    pub(super) fn find(&self, session: &SessionId) -> Result<Option<Row>, StoreError> {
        let found = self.connection.prepare_cached(
            "SELECT key, parent, parent_position, parent_checksum FROM sessions WHERE id = ?1",
        );
        let found = found.and_then(|mut statement| {
            let row = statement.query_row([session.as_str()], |row| {
                let parent: Option<String> = row.get(1)?;
                let place: (Option<i64>, Option<i64>) = (row.get(2)?, row.get(3)?);
                Ok((row.get::<_, i64>(0)?, parent, place))
            });
            row.optional()
        });
        let Some((key, parent, (position, checksum))) = self.done("read", found)? else {
            return Ok(None);
        };
        let origin = parent.map(|parent| {
            Some(ForkedFrom {
                session: SessionId::new(&parent).ok()?,
                position: u64::try_from(position?).ok()?,
                checksum: u32::try_from(checksum?).ok()?,
            })
        });
        match origin {
            Some(None) => Err(self.failed(
                "read",
                "a fork names no parent; put a sound copy in its place",
            )),
            Some(Some(origin)) => Ok(Some(Row {
                key,
                origin: Some(origin),
            })),
            None => Ok(Some(Row { key, origin: None })),
        }
    }

    /// Lists the sessions after one, in the order of their ids.
    pub(super) fn sessions(&self, after: Option<&SessionId>) -> Result<Vec<SessionId>, StoreError> {
        let after = after.map_or("", SessionId::as_str);
        let listed: Done<Vec<String>> = self
            .connection
            .prepare_cached("SELECT id FROM sessions WHERE id > ?1 ORDER BY id")
            .and_then(|mut statement| statement.query_map([after], |row| row.get(0))?.collect());
        let listed = self.done("list", listed)?;
        // A copy that is being made has a name that is no id.
        let ids = listed.into_iter().filter_map(|id| SessionId::new(&id).ok());
        Ok(ids.collect())
    }

    /// Adds a session; `name` is what it is found by.
    pub(super) fn insert_session(
        &self,
        session: &SessionId,
        name: &str,
        origin: Option<&ForkedFrom>,
    ) -> Result<i64, StoreError> {
        if let Some(origin) = origin
            && self.find(&origin.session)?.is_none()
        {
            let session = origin.session.clone();
            return Err(StoreError::Unknown { session });
        }
        let parent = origin.map(|origin| origin.session.as_str());
        let position = origin.map(|origin| integer(origin.position));
        let checksum = origin.map(|origin| origin.checksum);
        let inserted = self.connection.execute(
            "INSERT INTO sessions (id, parent, parent_position, parent_checksum)
             VALUES (?1, ?2, ?3, ?4)",
            params![name, parent, position, checksum],
        );
        match inserted {
            Ok(_) => Ok(self.connection.last_insert_rowid()),
            Err(error) if is_repeated(&error) => Err(StoreError::Exists {
                session: session.clone(),
            }),
            Err(error) => Err(failure("write to", &self.path, &error)),
        }
    }

    /// Removes a copy that was cut off.
    pub(super) fn remove_draft(&self, name: &str) -> Result<(), StoreError> {
        let key =
            self.connection
                .query_row("SELECT key FROM sessions WHERE id = ?1", [name], |row| {
                    row.get(0)
                });
        match self.done("read", key.optional())? {
            Some(key) => self.remove(key),
            None => Ok(()),
        }
    }

    /// Gives a copy its own name.
    pub(super) fn name(&self, key: i64, session: &SessionId) -> Result<(), StoreError> {
        let named = self.connection.execute(
            "UPDATE sessions SET id = ?1 WHERE key = ?2",
            params![session.as_str(), key],
        );
        match named {
            Err(error) if is_repeated(&error) => Err(StoreError::Exists {
                session: session.clone(),
            }),
            named => self.done("write to", named).map(drop),
        }
    }

    /// Adds lines from a position on, and their blobs.
    pub(super) fn insert_lines(
        &self,
        key: i64,
        first: u64,
        encoded: &Encoded,
    ) -> Result<(), StoreError> {
        let inserted = self.insert_rows(key, first, encoded);
        self.done("write to", inserted)
    }

    fn insert_rows(&self, key: i64, first: u64, encoded: &Encoded) -> Done<()> {
        let mut blob = self.connection.prepare_cached(
            "INSERT OR IGNORE INTO blobs (session, sha256, json) VALUES (?1, ?2, ?3)",
        )?;
        for kept in &encoded.blobs {
            blob.execute(params![key, kept.id.to_string(), kept.json])?;
        }
        let mut insert = self
            .connection
            .prepare_cached("INSERT INTO lines (session, position, line) VALUES (?1, ?2, ?3)")?;
        let text = String::from_utf8_lossy(&encoded.lines);
        for (position, line) in (first..).zip(text.lines()) {
            insert.execute(params![key, integer(position), line])?;
        }
        Ok(())
    }

    /// Deletes a session that no other one reads its past from.
    pub(super) fn delete_session(&self, session: &SessionId, key: i64) -> Result<(), StoreError> {
        let forks: Done<Vec<String>> = self
            .connection
            .prepare_cached("SELECT id FROM sessions WHERE parent = ?1 ORDER BY id")
            .and_then(|mut statement| {
                statement
                    .query_map([session.as_str()], |row| row.get(0))?
                    .collect()
            });
        let forks = self.done("read", forks)?.into_iter();
        let forks: Vec<SessionId> = forks.filter_map(|id| SessionId::new(&id).ok()).collect();
        if !forks.is_empty() {
            let session = session.clone();
            return Err(StoreError::HasForks { session, forks });
        }
        self.remove(key)
    }

    /// Removes a session whatever reads its past from it.
    pub(super) fn remove(&self, key: i64) -> Result<(), StoreError> {
        for statement in [
            "DELETE FROM lines WHERE session = ?1",
            "DELETE FROM blobs WHERE session = ?1",
            "DELETE FROM sessions WHERE key = ?1",
        ] {
            self.done("write to", self.connection.execute(statement, [key]))?;
        }
        Ok(())
    }

    /// Reads the lines from a position on.
    pub(super) fn lines(
        &self,
        key: i64,
        from: u64,
        max: usize,
    ) -> Result<Vec<(u64, String)>, StoreError> {
        let read: Done<Vec<(u64, String)>> = self
            .connection
            .prepare_cached(
                "SELECT position, line FROM lines WHERE session = ?1 AND position >= ?2
                 ORDER BY position LIMIT ?3",
            )
            .and_then(|mut statement| {
                let max = integer(max as u64);
                let rows = statement.query_map(params![key, integer(from), max], |row| {
                    Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?))
                })?;
                rows.collect()
            });
        self.done("read", read)
    }

    /// Returns the newest position of a session; that of its parent where it has none of its own.
    pub(super) fn newest(&self, key: i64) -> Result<u64, StoreError> {
        let newest = self.connection.query_row(
            "SELECT max(position) FROM lines WHERE session = ?1",
            [key],
            |row| row.get::<_, Option<i64>>(0),
        );
        Ok(self.done("read", newest)?.map_or(0, i64::unsigned_abs))
    }

    /// Says that the next line of a chain is damaged.
    pub(super) fn corrupt(&self, chain: &Chain, reason: BadLine) -> StoreError {
        StoreError::Corrupt {
            session: chain.session().clone(),
            position: chain.position() + 1,
            place: self.path.display().to_string(),
            reason,
        }
    }

    /// Changes nothing of a session, by a write.
    pub(super) fn touch(&self, key: i64) -> Result<(), StoreError> {
        let touched = self
            .connection
            .execute("UPDATE sessions SET key = key WHERE key = ?1", [key]);
        self.done("write to", touched).map(drop)
    }

    /// Says whether the file is still the one that was opened: a removed one takes every line and
    /// keeps none.
    pub(super) fn is_there(&self) -> bool {
        identity(&self.path).is_ok_and(|there| there == self.identity)
    }

    /// Returns the file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Checks the database itself.
    pub(super) fn integrity(&self) -> Result<(), StoreError> {
        let found = self
            .connection
            .pragma_query_value(None, "integrity_check", |row| row.get::<_, String>(0));
        match self.done("check", found)?.as_str() {
            "ok" => Ok(()),
            found => Err(StoreError::Damaged {
                path: self.path.clone(),
                reason: found.to_owned(),
            }),
        }
    }

    pub(super) fn done<T>(&self, action: &'static str, done: Done<T>) -> Result<T, StoreError> {
        done.map_err(|error| failure(action, &self.path, &error))
    }

    fn failed(&self, action: &'static str, reason: &str) -> StoreError {
        let reason = format!("`{}`: {reason}", self.path.display());
        StoreError::Backend { action, reason }
    }
}

/// Says whether a line is the one that is due.
pub(super) fn check_position(chain: &Chain, found: u64) -> Result<(), StoreError> {
    let expected = chain.position() + 1;
    if found == expected {
        return Ok(());
    }
    Err(StoreError::Missing {
        session: chain.session().clone(),
        expected,
        found,
    })
}

/// Tells a file from every other one.
fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    let there = std::fs::metadata(path)?;
    Ok((there.dev(), there.ino()))
}

/// Positions stay far below what a signed number holds.
pub(super) fn integer(position: u64) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}
