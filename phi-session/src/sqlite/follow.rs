//! Going through the lines of a session: to open it, and for lists.

use std::collections::BTreeSet;

use phi_types::SessionId;

use super::database::{Database, Row, check_position};
use crate::chain::{Chain, split_line};
use crate::error::StoreError;
use crate::summary_fold::SummaryFold;
use crate::sync::OpenCalls;

/// How many lines an opener checks, at least.
const CHECKED_LINES: u64 = 10_000;

impl Database {
    /// Makes the chain of a session that goes on after a position.
    pub(super) fn chain_after(
        &self,
        session: &SessionId,
        row: &Row,
        position: u64,
    ) -> Result<Chain, StoreError> {
        if position == 0 {
            return Ok(Chain::new(session.clone(), 0));
        }
        let checksum = match &row.origin {
            Some(origin) if position <= origin.position => origin.checksum,
            _ => {
                let line = self.lines(row.key, position, 1)?.pop();
                let line = line.filter(|(found, _)| *found == position);
                let line = line.ok_or_else(|| StoreError::Missing {
                    session: session.clone(),
                    expected: position,
                    found: position + 1,
                })?;
                split_line(line.1.as_bytes()).map_or(0, |(_, checksum)| checksum)
            }
        };
        Ok(Chain::after(session.clone(), position, checksum, 0))
    }

    /// Checks the newest lines of a session; returns where it stands and its open calls.
    pub(super) fn check(
        &self,
        session: &SessionId,
        row: &Row,
    ) -> Result<(Chain, OpenCalls), StoreError> {
        let newest = self.newest(row.key)?;
        let before = row.before();
        let mut from = newest.saturating_sub(CHECKED_LINES).max(before);
        loop {
            let mut chain = self.chain_after(session, row, from)?;
            let mut calls = OpenCalls::default();
            self.follow(row, &mut chain, u64::MAX, |event| {
                calls.follow(event);
            })?;
            if chain.session_seq() > 0 || from == before {
                return Ok((chain, calls));
            }
            // No event of the session itself was among them: its count is further up.
            from = before;
        }
    }

    /// Folds the events after a position and up to another one; returns the last one's.
    pub(super) fn fold(
        &self,
        session: &SessionId,
        after: u64,
        up_to: u64,
        fold: &mut SummaryFold,
    ) -> Result<u64, StoreError> {
        let mut path = Vec::new();
        let mut seen = BTreeSet::new();
        let mut next = Some((session.clone(), up_to));
        // Not one call inside the other: there is no end to how many forks stand in a row.
        while let Some((session, up_to)) = next.take() {
            let row = self.find(&session)?.ok_or_else(|| StoreError::Unknown {
                session: session.clone(),
            })?;
            if let Some(origin) = row.origin.as_ref().filter(|origin| after < origin.position) {
                let is_there = self.find(&origin.session)?.is_some();
                if !is_there || !seen.insert(origin.session.clone()) {
                    return Err(StoreError::OtherParent {
                        session,
                        parent: origin.session.clone(),
                        position: origin.position,
                    });
                }
                next = Some((origin.session.clone(), up_to.min(origin.position)));
            }
            path.push((session, row, up_to));
        }
        let mut from = after;
        for (session, row, up_to) in path.into_iter().rev() {
            if from < up_to {
                let mut chain = self.chain_after(&session, &row, from)?;
                self.follow(&row, &mut chain, up_to, |event| fold.follow(event))?;
                from = chain.position();
            }
        }
        Ok(from)
    }

    fn follow(
        &self,
        row: &Row,
        chain: &mut Chain,
        up_to: u64,
        mut follow: impl FnMut(&phi_types::Event),
    ) -> Result<(), StoreError> {
        loop {
            let lines = self.lines(row.key, chain.position() + 1, 1024)?;
            if lines.is_empty() {
                return Ok(());
            }
            for (position, line) in lines {
                if position > up_to {
                    return Ok(());
                }
                check_position(chain, position)?;
                let event = chain.read_outline(line.as_bytes());
                follow(&event.map_err(|reason| self.corrupt(chain, reason))?);
            }
        }
    }
}
