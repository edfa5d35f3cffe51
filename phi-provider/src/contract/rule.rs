//! The rules by name, each with what to do where it is broken.

/// A rule that every wire keeps: a row of the score card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// The protocol and the service have names.
    Identity,
    /// Each case means what is expected of it.
    Meaning,
    /// What comes out does not depend on where the bytes are cut.
    AnyCut,
    /// A body that ends before its finish reason is incomplete, and after it the same message.
    CutShort,
    /// The deltas keep the grammar of the port.
    Grammar,
    /// Where the decoder says that nothing more comes, nothing more comes.
    OverIsOver,
    /// Recordings with bytes changed give deltas or a typed error.
    DamagedBytes,
    /// Floods, deep nesting, huge numbers and noise give deltas or a typed error.
    HostileBytes,
    /// What is held of a body that never ends stays within the limits.
    BoundedMemory,
    /// An error comes back from every later call, and nothing with it.
    StickyErrors,
    /// Statuses that are no success are errors of the right kind.
    Statuses,
    /// The time to wait is read from the headers.
    RetryAfter,
    /// Equal requests give equal bytes.
    EqualBytes,
    /// A conversation that grew keeps the beginning of its body.
    StablePrefix,
    /// A wire that was used encodes like a fresh one.
    UsedWire,
    /// The credential travels in headers.
    Credential,
    /// The credential is neither sent in the clear nor shown.
    NoLeak,
    /// An answer goes back to its author without a loss.
    Replay,
    /// Whatever stands in a conversation, it is encoded.
    AnyHistory,
}

impl Rule {
    /// All rules in the order of the score card.
    pub const ALL: &'static [Self] = &[
        Self::Identity,
        Self::Meaning,
        Self::AnyCut,
        Self::CutShort,
        Self::Grammar,
        Self::OverIsOver,
        Self::DamagedBytes,
        Self::HostileBytes,
        Self::BoundedMemory,
        Self::StickyErrors,
        Self::Statuses,
        Self::RetryAfter,
        Self::EqualBytes,
        Self::StablePrefix,
        Self::UsedWire,
        Self::Credential,
        Self::NoLeak,
        Self::Replay,
        Self::AnyHistory,
    ];

    /// Says the rule as a fact.
    #[must_use]
    pub fn fact(self) -> &'static str {
        match self {
            Self::Identity => "protocol and service have names",
            Self::Meaning => "each case means what is expected",
            Self::AnyCut => "any cut of the bytes decodes alike",
            Self::CutShort => "a cut answer is never a short answer",
            Self::Grammar => "deltas keep their grammar",
            Self::OverIsOver => "nothing follows the announced end",
            Self::DamagedBytes => "damaged recordings do no harm",
            Self::HostileBytes => "hostile bytes do no harm",
            Self::BoundedMemory => "memory stays within the limits",
            Self::StickyErrors => "an error stays an error",
            Self::Statuses => "statuses say what the caller can do",
            Self::RetryAfter => "the time to wait is read",
            Self::EqualBytes => "equal requests give equal bytes",
            Self::StablePrefix => "a grown conversation keeps its prefix",
            Self::UsedWire => "a used wire encodes like a fresh one",
            Self::Credential => "the credential travels in headers",
            Self::NoLeak => "the credential is never shown",
            Self::Replay => "an answer goes back without a loss",
            Self::AnyHistory => "any conversation is encoded",
        }
    }

    /// Says what to do where the rule is broken.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Identity => "return constant names from `Wire::identity`",
            Self::Meaning => "compare the bytes of the case with what the decoder makes of them",
            Self::AnyCut => {
                "keep partial lines and characters in the decoder until their rest comes; \
                 `SseDecoder` does"
            }
            Self::CutShort => {
                "let `Decoder::end` fail with `Incomplete` until the finish reason was read, and \
                 never after it"
            }
            Self::Grammar => {
                "begin a part before it grows, end each part once, and send nothing but \
                 corrections after the finish"
            }
            Self::OverIsOver => {
                "answer `is_over` with true only after the event that ends the stream for good"
            }
            Self::DamagedBytes | Self::HostileBytes => {
                "read every byte as if an enemy had sent it: no index, no `unwrap`, no recursion \
                 without a bound"
            }
            Self::BoundedMemory => "refuse lines, events and bodies beyond `Limits`",
            Self::StickyErrors => {
                "keep the first error, return it from every later call, and add no delta to it"
            }
            Self::Statuses => "let the status decide first and the body choose among what is left",
            Self::RetryAfter => {
                "read `retry-after-ms` and `retry-after`, seconds or a date relative to `date`"
            }
            Self::EqualBytes => {
                "write fields and tools in a fixed order; no clock, no random number, no hash map"
            }
            Self::StablePrefix => {
                "write the messages last and each of them without regard to what follows"
            }
            Self::UsedWire => "let nothing that is kept between requests show in the bytes",
            Self::Credential => {
                "return the secret from `Wire::authorize` as a `SecretHeader`; give it back \
                 nowhere else"
            }
            Self::NoLeak => "keep the key out of the URL, the body, `Debug` and every message",
            Self::Replay => {
                "keep what must go back in `PartFacts` and `Delta::Opaque`, and write it again \
                 for its author"
            }
            Self::AnyHistory => {
                "translate the view with `phi_provider::translate` before it is written"
            }
        }
    }
}
