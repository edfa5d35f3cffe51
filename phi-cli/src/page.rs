//! Writes the page of a session into a file: whole or not at all.

use std::fs::{self, Metadata};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use phi::session::{Store, TimelineError, write_timeline};
use phi::types::SessionId;

use crate::failure::Failure;
use crate::place::store_failure;

/// Writes the page of a session to a file, which it replaces, or to stdout for `-`.
pub(crate) async fn write(
    store: &dyn Store,
    session: &SessionId,
    file: &Path,
) -> Result<(), Failure> {
    if file == Path::new("-") {
        let mut stdout = BufWriter::new(io::stdout());
        let written = write_timeline(store, session, &mut stdout).await;
        return written.map_err(|error| match error {
            TimelineError::Write(error) => Failure::stdout(&error),
            error => failure(error, file),
        });
    }
    let target = Target::of(file)?;
    // Beside the file, so that one rename puts the page in its place.
    let beside = tempfile::Builder::new()
        .prefix(".phi-")
        .tempfile_in(&target.folder);
    let beside = beside.map_err(|error| {
        let folder = target.folder.display();
        Failure::refused(format!(
            "cannot write into `{folder}` ({error}): name a file in a folder that can be written to"
        ))
    })?;
    let mut page = BufWriter::new(beside);
    let written = write_timeline(store, session, &mut page).await;
    written.map_err(|error| failure(error, file))?;
    let page = page.into_inner();
    let page = page.map_err(|error| unwritten(&error.into_error(), file))?;
    if let Some(old) = target.old {
        let kept = page.as_file().set_permissions(old.permissions());
        kept.map_err(|error| unwritten(&error, file))?;
    }
    let kept = page.persist(&target.path);
    kept.map_err(|error| unwritten(&error.error, file))?;
    Ok(())
}

/// Where the page goes.
struct Target {
    /// The file itself, behind links.
    path: PathBuf,
    folder: PathBuf,
    /// What is there now.
    old: Option<Metadata>,
}

impl Target {
    fn of(file: &Path) -> Result<Self, Failure> {
        let old = fs::metadata(file).ok();
        let name = file.display();
        if let Some(old) = &old
            && !old.is_file()
        {
            return Err(Failure::refused(format!(
                "`{name}` is no regular file: name one, or `-` for stdout"
            )));
        }
        if file.file_name().is_none() {
            return Err(Failure::refused(format!(
                "`{name}` names no file: name one, or `-` for stdout"
            )));
        }
        let path = file.canonicalize().unwrap_or_else(|_| file.to_owned());
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        Ok(Self { path, folder, old })
    }
}

fn failure(error: TimelineError, file: &Path) -> Failure {
    match error {
        TimelineError::Store(error) => store_failure(&error),
        TimelineError::Write(error) => unwritten(&error, file),
        error => Failure::failed(format!("cannot {error}: report this")),
    }
}

fn unwritten(error: &io::Error, file: &Path) -> Failure {
    let file = file.display();
    Failure::failed(format!(
        "cannot write `{file}` ({error}): name a file where there is space"
    ))
}
