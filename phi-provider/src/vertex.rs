//! Vertex AI: Gemini and Claude at the addresses of Google Cloud.
