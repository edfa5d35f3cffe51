//! Who reads a conversation, what it takes, and what becomes of the rest.

use phi_types::{Identity, ImageSource, Origin};

pub use crate::tool_ids::IdRule;

/// The model that shall read a conversation.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    /// The protocol and the service.
    pub identity: Identity<'a>,
    /// The name of the model.
    pub model: &'a str,
}

/// How near the author of a message is to its reader. A later one is nearer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kinship {
    /// Another protocol or another service.
    Foreign,
    /// Another model of the same service, over the same protocol.
    Service,
    /// The reader itself.
    Author,
}

impl Reader<'_> {
    /// Says how near the author of a message is.
    #[must_use]
    pub fn kinship(&self, origin: &Origin) -> Kinship {
        if *origin.protocol != *self.identity.protocol
            || *origin.provider != *self.identity.provider
        {
            Kinship::Foreign
        } else if *origin.model == *self.model {
            Kinship::Author
        } else {
            Kinship::Service
        }
    }
}

/// What a reader takes, and what becomes of the rest.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// The ids of calls that it accepts.
    pub call_ids: IdRule,
    /// What becomes of thinking of the reader that has no signature.
    pub unsigned_thinking: Fate,
    /// What becomes of thinking that others wrote.
    pub foreign_thinking: Fate,
    /// How near an author must be, so that the provider's facts of texts and calls (signatures,
    /// item ids, extra fields) go back.
    pub facts_from: Kinship,
    /// How near an author must be, so that an opaque part of this kind goes back.
    pub opaque_from: fn(kind: &str) -> Kinship,
    /// The images that it takes.
    pub images: Images,
    /// Where the images of tool results go.
    pub result_images: ResultImages,
    /// Whether a text of white space alone stays.
    pub keeps_blank_text: bool,
}

/// What becomes of something that cannot stay what it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Fate {
    /// It stays all the same.
    Keep,
    /// It becomes text.
    Text,
    /// It is left out.
    #[default]
    Drop,
}

/// The images that a reader takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Images {
    /// The media types of images that travel within the request, `*` for all; none where it is
    /// empty.
    pub media_types: &'static [&'static str],
    /// Whether images may be given by their address.
    pub urls: bool,
}

impl Images {
    /// The reader takes no image.
    pub const NONE: Self = Self {
        media_types: &[],
        urls: false,
    };
    /// The formats that every service with eyes takes, also by address.
    pub const COMMON: Self = Self {
        media_types: &["image/jpeg", "image/png", "image/gif", "image/webp"],
        urls: true,
    };

    /// The reader takes images of every type: the model itself says which it does not.
    pub const ALL: Self = Self {
        media_types: &["*"],
        urls: true,
    };

    pub(super) fn takes(self, media_type: &str, source: &ImageSource) -> bool {
        match source {
            ImageSource::Base64(_) => {
                self.media_types.contains(&"*") || self.media_types.contains(&media_type)
            }
            ImageSource::Url(_) => self.urls,
        }
    }
}

/// Where the images of tool results go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ResultImages {
    /// In the result.
    InResult,
    /// In the result, unless the tool failed: then they are left out.
    InResultOfSuccess,
    /// In a user message after all results of the turn.
    #[default]
    AfterResults,
}
