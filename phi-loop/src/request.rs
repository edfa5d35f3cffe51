//! The request of one model call, and its digest.

use std::sync::Arc;

use phi_types::{ModelPatch, Request, Surface, digest_of};

use crate::state::State;

/// Builds the request of the next model call, or of the one in flight.
pub(crate) fn request(
    state: &State,
    surface: &Surface,
    target: u32,
    patch: &ModelPatch,
) -> Option<Request> {
    let target = surface.models.get(usize::try_from(target).ok()?)?;
    let grace = state.counts.grace.is_some();
    let mut request = Request {
        session: state.session.clone(),
        model: Arc::clone(&target.model),
        system: Arc::clone(&surface.system),
        tools: if grace {
            Arc::from([])
        } else {
            Arc::clone(&surface.tools)
        },
        view: state.transcript.view().clone(),
        options: Arc::clone(&surface.options),
    };
    patch.apply(&mut request);
    Some(request)
}

/// Hashes everything that the request of a model call depends on.
pub(crate) fn request_digest(state: &State, target: u32, patch: &ModelPatch) -> u64 {
    let grace = state.counts.grace.is_some();
    let patch = (!patch.is_empty()).then_some(patch);
    let view = state.transcript.view().digest();
    digest_of(view, &(state.trace.surface_digest, target, grace, patch))
}
