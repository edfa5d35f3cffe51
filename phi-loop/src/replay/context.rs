//! What led to a change of what the model reads: what its caller asked for.

use phi_types::{AskedBy, Content, ContextChange, ContextPruned, EventKind, Prune, Revert, Tag};

use super::Replay;
use crate::io::Input;
use crate::state::PRUNED;

impl Replay<'_> {
    /// A change that a call asked for follows from the last result of its turn.
    pub(super) fn context_changed(&self, kind: &EventKind) -> Option<Input> {
        match kind {
            EventKind::ContextPruned(pruned) if pruned.by == (AskedBy::Caller {}) => {
                Some(Input::Change(ContextChange::Prune(self.prune(pruned))))
            }
            EventKind::ContextReverted(reverted) if reverted.by == (AskedBy::Caller {}) => {
                Some(Input::Change(ContextChange::Revert(Revert {
                    to: reverted.to,
                    category: reverted.category.clone(),
                    summary: reverted.summary.clone(),
                })))
            }
            EventKind::ContextRestored(restored) => Some(Input::Restore(restored.overlay.clone())),
            _ => None,
        }
    }

    fn prune(&self, pruned: &ContextPruned) -> Prune {
        let transcript = self.machine.transcript();
        let tags = pruned.results.iter().filter_map(|it| {
            let place = usize::try_from(it.entry).ok()?;
            let entry = u64::try_from(transcript.original_at(place)?).ok()?;
            let result = Some(it.index);
            Some(Tag { entry, result })
        });
        let first = pruned.results.first();
        let memo = first.and_then(|first| match first.result.content.first() {
            Some(Content::Text { text }) if text != PRUNED => Some(text.clone()),
            _ => None,
        });
        Prune {
            tags: tags.collect(),
            memo,
        }
    }
}
