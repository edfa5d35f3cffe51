//! Providers for phi: pure wires, and what carries them.

mod limits;
mod wire;

pub use limits::Limits;
pub use wire::{AuthHeader, Decoder, Delivery, EncodeError, HttpRequest, ResponseHead, Wire};
