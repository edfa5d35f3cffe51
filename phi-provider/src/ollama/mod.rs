//! The wire of Ollama's own protocol.
