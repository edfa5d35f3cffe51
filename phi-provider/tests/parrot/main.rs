//! The provider that `docs/writing-a-provider.md` builds: its code is the document's, and runs here.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail where the tests do"
)]
#![expect(unreachable_pub, reason = "the document shows a crate of its own")]

mod contract;
mod decoder;
mod document;
mod messages;
mod provider;
mod wire;
