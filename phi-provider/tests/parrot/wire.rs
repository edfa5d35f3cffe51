//! The wire of Parrot, the service of `docs/writing-a-provider.md`.

// region: wire
use std::time::SystemTime;

use bytes::Bytes;
use phi_provider::{
    CredentialError, Decoder, EncodeError, Encoded, HttpRequest, Limits, ResponseHead, Secret,
    SecretHeader, Wire,
};
use phi_types::{Identity, Request};

use crate::decoder::ParrotDecoder;
use crate::messages::messages;

/// The codec of Parrot: `POST /v1/talk`, answered by an event stream.
pub struct Parrot {
    base_url: String,
    limits: Limits,
}

impl Parrot {
    pub fn new(base_url: &str) -> Self {
        Self {
            base_url: base_url.to_owned(),
            limits: Limits::default(),
        }
    }

    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }
}

impl Wire for Parrot {
    fn identity(&self) -> Identity<'_> {
        Identity {
            protocol: "parrot-talk",
            provider: "parrot",
        }
    }

    fn encode(&self, request: &Request) -> Result<Encoded, EncodeError> {
        let (messages, losses) = messages(request, self.identity())?;
        let tools = request.tools.iter().map(|tool| {
            let schema: serde_json::Value = tool.input_schema.read().unwrap_or_default();
            serde_json::json!({"name": &*tool.name, "about": &*tool.description, "input": schema})
        });
        // The messages come last, so that a conversation that grew keeps the beginning of its body.
        let head = serde_json::json!({
            "model": &*request.model,
            "system": &*request.system,
            "tools": tools.collect::<Vec<_>>(),
            "tokens_max": request.options.output_tokens_max,
        });
        let head = head.to_string();
        let body = format!("{},\"messages\":{messages}}}", head.trim_end_matches('}'));
        let url = format!("{}/v1/talk", self.base_url);
        let headers = vec![("content-type", "application/json".to_owned())];
        let request = HttpRequest {
            method: "POST",
            url,
            headers,
            body: vec![Bytes::from(body)],
        };
        Ok(Encoded { request, losses })
    }

    fn decoder(&self, head: &ResponseHead) -> Box<dyn Decoder> {
        Box::new(ParrotDecoder::new(head, self.limits))
    }

    fn authorize(
        &self,
        _request: &HttpRequest,
        secret: &Secret,
        _at: SystemTime,
    ) -> Result<Vec<SecretHeader>, CredentialError> {
        match secret {
            Secret::Key(key) => Ok(vec![SecretHeader::new("x-parrot-key", key.clone())]),
            other => Err(CredentialError::Unusable {
                protocol: "parrot-talk",
                found: other.kind(),
                wanted: "a key",
            }),
        }
    }
}
// endregion: wire
