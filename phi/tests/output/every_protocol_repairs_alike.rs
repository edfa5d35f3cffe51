//! Whether a protocol has words for a form or is given a tool, an answer is repaired alike.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use phi::Agent;
use phi::provider::openai_chat::{OutputForm, Quirks};
use phi::provider::structured::OUTPUT_TOOL;
use phi::provider::{OpenAiChat, ResponseHead, Wire};
use phi::types::{Delta, Identity, Provider, ProviderError, Request, SessionId};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Debug, Deserialize, JsonSchema)]
struct Person {
    age: u8,
}

/// A service that answers with these bodies, whatever it is asked, and keeps what it is asked.
struct Service {
    wire: OpenAiChat,
    bodies: Mutex<VecDeque<Value>>,
    asked: Mutex<Vec<Value>>,
}

impl Provider for Service {
    fn identity(&self) -> Identity<'_> {
        Identity {
            protocol: "openai-chat",
            provider: "a-service",
        }
    }

    fn stream(&self, request: Request) -> BoxStream<'static, Result<Delta, ProviderError>> {
        let encoded = self.wire.encode(&request).unwrap();
        let asked = serde_json::from_slice(&encoded.request.body_bytes()).unwrap();
        self.asked.lock().unwrap().push(asked);
        let body = self.bodies.lock().unwrap().pop_front().unwrap();
        let head = ResponseHead::new(200).with_header("content-type", "application/json");
        let mut decoder = self.wire.decoder(&head);
        let mut deltas = Vec::new();
        let read = decoder
            .push(body.to_string().as_bytes(), &mut deltas)
            .and_then(|()| decoder.end(&mut deltas));
        let error = read.err().map(Err);
        stream::iter(deltas.into_iter().map(Ok).chain(error)).boxed()
    }
}

fn body(message: &Value, finish: &str) -> Value {
    json!({"id": "x", "object": "chat.completion", "model": "m", "choices":
        [{"index": 0, "message": message, "finish_reason": finish}]})
}

fn text(content: &str) -> Value {
    body(&json!({"role": "assistant", "content": content}), "stop")
}

fn call(arguments: &str) -> Value {
    let call = json!({"id": "c", "type": "function", "function":
        {"name": OUTPUT_TOOL, "arguments": arguments}});
    let message = json!({"role": "assistant", "content": null, "tool_calls": [call]});
    body(&message, "tool_calls")
}

#[tokio::test]
async fn by_a_field_and_by_a_tool() {
    let (wrong, right) = (r#"{"age": "seven"}"#, r#"{"age": 7}"#);
    for (output_form, bodies) in [
        (OutputForm::JsonSchema, [text(wrong), text(right)]),
        (OutputForm::Tool, [call(wrong), call(right)]),
    ] {
        let quirks = Quirks {
            output_form,
            ..Quirks::default()
        };
        let service = Arc::new(Service {
            wire: OpenAiChat::compatible("https://service.example/v1", "a-service")
                .with_quirks(quirks),
            bodies: Mutex::new(bodies.into()),
            asked: Mutex::default(),
        });
        let agent = Agent::new(Arc::clone(&service) as Arc<dyn Provider>, "m");
        let mut session = agent.session(SessionId::new("s").unwrap()).await.unwrap();
        let run = session.prompt_as::<Person>("How old?").unwrap();
        assert_eq!(run.output().await.unwrap().age, 7);
        let asked = service.asked.lock().unwrap();
        let by_field = output_form == OutputForm::JsonSchema;
        for body in asked.iter() {
            assert_eq!(body.get("response_format").is_some(), by_field, "{body}");
            assert_eq!(body.get("tools").is_some(), !by_field, "{body}");
        }
        let told = asked[1]["messages"].as_array().unwrap().last().unwrap();
        assert!(told.to_string().contains("at `/age`"), "{told}");
    }
}
