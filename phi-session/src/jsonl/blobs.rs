//! Blobs on files: a file each, in a folder beside the log, named by what it holds.

use std::io;
use std::path::{Path, PathBuf};

use super::Settings;
use super::writer::write_draft;
use crate::blob::{Blob, BlobId, BlobSource};
use crate::chain::LINE_BYTES_MAX;
use crate::disk::{self, Input};
use crate::error::StoreError;
use crate::files::{io_error, is_folder, make_folder, open_to_read};

/// The name of the folder.
const BLOBS: &str = "blobs";

/// The blobs of one session.
#[derive(Debug)]
pub(super) struct Blobs(PathBuf);

impl Blobs {
    pub(super) fn new(session_folder: &Path) -> Self {
        Self(session_folder.join(BLOBS))
    }

    /// Lists the blobs in order; what has another name is none.
    pub(super) fn list(&self) -> Result<Vec<BlobId>, StoreError> {
        if !is_folder(&self.0)? {
            return Ok(Vec::new());
        }
        let mut ids: Vec<BlobId> = Vec::new();
        for entry in disk::list(&self.0).map_err(io_error("list", &self.0))? {
            let name = entry.map_err(io_error("list", &self.0))?.file_name();
            ids.extend(name.to_str().and_then(|name| name.parse::<BlobId>().ok()));
        }
        ids.sort_unstable();
        Ok(ids)
    }

    /// Reads a blob.
    pub(super) fn read(&self, id: &BlobId) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.0.join(id.to_string());
        let file = match open_to_read(&path) {
            Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(None);
            }
            opened => opened?,
        };
        let file = Input::new(file, &path);
        let size = file.length().map_err(io_error("open", &path))?;
        if size > LINE_BYTES_MAX as u64 {
            // No blob is that large, so this is not the one; to read it would only take memory.
            return Ok(Some(Vec::new()));
        }
        let mut bytes = Vec::new();
        let read = io::Read::read_to_end(&mut io::Read::take(file, size), &mut bytes);
        read.map_err(io_error("read", &path))?;
        Ok(Some(bytes))
    }
}

impl BlobSource for Blobs {
    fn blob(&self, id: &BlobId) -> Result<Option<Vec<u8>>, String> {
        self.read(id).map_err(|error| error.to_string())
    }
}

/// Keeps blobs, each once; when it returns they are as safe as the policy makes new files.
pub(super) fn keep(folder: &Path, blobs: &[Blob], settings: &Settings) -> Result<(), StoreError> {
    if blobs.is_empty() {
        return Ok(());
    }
    let kept = Blobs::new(folder);
    if !is_folder(&kept.0)? {
        make_folder(&kept.0)?;
        if settings.syncs_files() {
            disk::sync_folder(folder).map_err(io_error("sync", folder))?;
        }
    }
    let mut is_new = false;
    for Blob { id, json } in blobs {
        let there = kept.read(id)?;
        if there.is_some_and(|bytes| bytes == *json) {
            continue;
        }
        let path = kept.0.join(id.to_string());
        let draft = path.with_extension("new");
        write_draft(&draft, json, settings)?;
        disk::rename(&draft, &path).map_err(io_error("create", &path))?;
        is_new = true;
    }
    if is_new && settings.syncs_files() {
        disk::sync_folder(&kept.0).map_err(io_error("sync", &kept.0))?;
    }
    Ok(())
}

/// Forces all blobs of a session to the disk.
pub(super) fn force(folder: &Path) -> Result<(), StoreError> {
    let folder = folder.join(BLOBS);
    if !is_folder(&folder)? {
        return Ok(());
    }
    for entry in disk::list(&folder).map_err(io_error("list", &folder))? {
        let path = entry.map_err(io_error("list", &folder))?.path();
        let file = open_to_read(&path)?;
        disk::sync(&file, &path).map_err(io_error("sync", &path))?;
    }
    disk::sync_folder(&folder).map_err(io_error("sync", &folder))
}

/// Removes all blobs of a session.
pub(super) fn remove(folder: &Path) -> Result<(), StoreError> {
    let path = folder.join(BLOBS);
    match disk::remove_folder(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io_error("delete", &path)(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
