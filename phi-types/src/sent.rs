//! What a model was asked: the parts of one request, held against the next one.

use std::sync::Arc;

use crate::facts::RequestPart;
use crate::history::History;
use crate::id::SessionId;
use crate::request::{ModelPatch, Request, Surface, Target};
use crate::tokens::{EstimatedTokens, TokenCounter};

/// The parts of one request to a model. A clone shares everything.
#[derive(Debug, Clone, PartialEq)]
pub struct Sent {
    surface: Surface,
    target: u32,
    view: History,
    surface_tokens: u64,
}

impl Sent {
    pub(crate) fn new(surface: &Surface, surface_tokens: u64, target: u32, view: &History) -> Self {
        Self {
            surface: surface.clone(),
            target,
            view: view.clone(),
            surface_tokens,
        }
    }

    /// Takes the tools away in a grace turn, then changes what a hook changes.
    pub(crate) fn changed(mut self, grace: bool, patch: &ModelPatch) -> Self {
        if grace {
            self.surface.tools = Arc::from([]);
        }
        if !patch.is_empty() {
            patch.change(&mut self.surface, &mut self.view);
        }
        if grace || !patch.is_empty() {
            self.surface_tokens = EstimatedTokens.surface(&self.surface);
        }
        self
    }

    /// Returns what the model was shown besides the conversation.
    #[must_use]
    pub fn surface(&self) -> &Surface {
        &self.surface
    }

    /// Returns the model; `None` if the surface has none in that place.
    #[must_use]
    pub fn target(&self) -> Option<&Target> {
        target(&self.surface, self.target)
    }

    /// Returns the conversation.
    #[must_use]
    pub fn view(&self) -> &History {
        &self.view
    }

    /// Returns the tokens of the whole request as [`EstimatedTokens`] counts them.
    #[must_use]
    pub fn estimated_tokens(&self) -> u64 {
        self.surface_tokens + self.view.estimated_tokens()
    }

    /// Makes the request itself; `None` without a model.
    #[must_use]
    pub fn request(&self, session: &SessionId) -> Option<Request> {
        Some(Request {
            session: session.clone(),
            model: Arc::clone(&self.target()?.model),
            system: Arc::clone(&self.surface.system),
            tools: Arc::clone(&self.surface.tools),
            view: self.view.clone(),
            options: Arc::clone(&self.surface.options),
        })
    }

    /// Returns the first part in which another request does not continue this one. What is shared in
    /// memory is not looked at.
    pub(crate) fn first_difference(
        &self,
        surface: &Surface,
        target: u32,
        view: &History,
    ) -> Option<RequestPart> {
        let mine = &self.surface;
        if !self.asks_the_model(surface, target) {
            return Some(RequestPart::Model {});
        }
        if !Arc::ptr_eq(&mine.tools, &surface.tools) && mine.tools != surface.tools {
            return Some(RequestPart::Tools {});
        }
        if !Arc::ptr_eq(&mine.system, &surface.system) && mine.system != surface.system {
            return Some(RequestPart::System {});
        }
        if !Arc::ptr_eq(&mine.options, &surface.options) && mine.options != surface.options {
            return Some(RequestPart::Options {});
        }
        let at = view.departs_from(&self.view)?;
        Some(RequestPart::Entry {
            index: u64::try_from(at).unwrap_or(u64::MAX),
        })
    }

    fn asks_the_model(&self, surface: &Surface, place: u32) -> bool {
        if self.target == place && Arc::ptr_eq(&self.surface.models, &surface.models) {
            return true;
        }
        let name = |it: &Target| {
            let (protocol, provider) = (Arc::clone(&it.protocol), Arc::clone(&it.provider));
            (protocol, provider, Arc::clone(&it.model))
        };
        self.target().map(name) == target(surface, place).map(name)
    }
}

fn target(surface: &Surface, place: u32) -> Option<&Target> {
    surface.models.get(usize::try_from(place).ok()?)
}
