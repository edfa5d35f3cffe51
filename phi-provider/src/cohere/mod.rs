//! The wire of the Cohere Chat protocol, version 2.
