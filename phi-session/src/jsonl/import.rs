//! A session that is copied into a store on files.

use std::io;
use std::path::Path;

use phi_types::SessionId;

use super::segment::{lock_path, segments};
use super::writer::State;
use super::{JsonlStore, blobs};
use crate::disk;
use crate::error::StoreError;
use crate::files::{io_error, is_folder, make_folder, make_lasting_folder};
use crate::import::Import;
use crate::lock::Lock;
use crate::store::Store;

/// Copies a session under another name, and gives it its own once it is whole.
pub(super) async fn import(
    store: &JsonlStore,
    session: &SessionId,
    from: &dyn Store,
) -> Result<u64, StoreError> {
    let folder = store.folder(session);
    let exists = || StoreError::Exists {
        session: session.clone(),
    };
    if is_folder(&folder)? && !segments(&folder)?.is_empty() {
        return Err(exists());
    }
    let mut copy = Import::begin(session, from, store).await?;
    // No session has a name with a dot.
    let draft = store.root.join(format!("{session}.import"));
    make_lasting_folder(&store.root)?;
    make_folder(&draft)?;
    let _lock = Lock::take(&lock_path(&draft), session)?;
    remove_rest(&draft)?;
    let parent = copy.origin.as_ref().map(|origin| origin.session.clone());
    let mut settings = store.settings.clone();
    // Lines and blobs come as they are; the files are forced to the disk once, at the end.
    settings.rules.blob_bytes_min = usize::MAX;
    let mut state = State::create(&draft, copy.chain.clone(), parent, &[], settings)?;
    loop {
        let (encoded, events) = copy.next().await?;
        if events.is_empty() {
            break;
        }
        state.adopt(&copy.chain, encoded)?;
    }
    state.sync()?;
    let _family = store.family_lock()?;
    if let Some(origin) = &copy.origin {
        super::open::forked_from(&store.folder(&origin.session), &origin.session)?;
    }
    match disk::rename(&draft, &folder) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => return Err(exists()),
        Err(error) => return Err(io_error("create", &folder)(error)),
    }
    disk::sync_folder(&store.root).map_err(io_error("sync", &store.root))?;
    Ok(copy.chain.position())
}

/// Removes what a copy that was cut off has left.
fn remove_rest(draft: &Path) -> Result<(), StoreError> {
    for first in segments(draft)? {
        let path = super::segment::segment_path(draft, first);
        disk::remove(&path).map_err(io_error("delete", &path))?;
    }
    blobs::remove(draft)
}
