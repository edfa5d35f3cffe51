//! The wire of the Gemini protocol.
