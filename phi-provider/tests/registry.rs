//! Providers are found by name.
#![cfg(all(
    feature = "anthropic",
    feature = "bedrock",
    feature = "cohere",
    feature = "gemini",
    feature = "http",
    feature = "models",
    feature = "ollama",
    feature = "openai-chat",
    feature = "openai-responses"
))]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::StreamExt;
use phi_provider::models::Models;
use phi_provider::openai_chat::Dialects;
use phi_provider::registry::{Registry, RegistryError, Services};
use phi_provider::{
    Environment, HttpRequest, HttpResponse, ResponseHead, SecretHeader, Transport, TransportError,
};
use phi_testkit::{Reply, ScriptedProvider, request};
use phi_types::ProviderErrorKind;

#[test]
fn a_name_is_a_provider_and_a_model() {
    let built = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&built);
    let registry = Registry::new(Models::builtin()).with("scripted", move |entry| {
        assert_eq!(entry.provider, "scripted");
        count.fetch_add(1, Ordering::SeqCst);
        Arc::new(ScriptedProvider::new([Reply::text(entry.model)]))
    });
    for (name, model) in [
        ("scripted:one", "one"),
        (" scripted:qwen3:4b ", "qwen3:4b"),
        ("scripted:meta/llama", "meta/llama"),
    ] {
        let resolved = registry.resolve(name).unwrap();
        assert_eq!(&*resolved.target.model, model);
        let identity = resolved.provider.identity();
        assert_eq!(&*resolved.target.provider, identity.provider);
    }
    assert_eq!(built.load(Ordering::SeqCst), 3);
}

#[test]
fn what_is_no_name_is_told_with_the_providers_that_are_known() {
    let provider = || Arc::new(ScriptedProvider::new([]));
    let registry = Registry::new(Models::none())
        .with_provider("b", provider())
        .with_provider("a", provider());
    let known = vec!["a".to_owned(), "b".to_owned()];
    for given in ["gpt-5", ":gpt-5", "a:", "", ":"] {
        let wanted = RegistryError::Incomplete {
            given: given.to_owned(),
            known: known.clone(),
        };
        assert_eq!(registry.resolve(given).unwrap_err(), wanted);
    }
    let error = registry.resolve("c:gpt-5").unwrap_err();
    let text = "provider `c` is not known: use one of a, b";
    assert_eq!(error.to_string(), text);
}

#[test]
fn a_target_has_what_is_known_of_its_model() {
    let own = r#"{"models":[{"provider":"openai","model":"gpt-4o","window_tokens":9}]}"#;
    let models = Models::builtin().overridden_by(own).unwrap();
    let registry = Registry::new(models).with_services(&services(|_| None).0);
    let target = |name: &str| registry.resolve(name).unwrap().target;
    assert_eq!(target("openai:gpt-4o").window_tokens, Some(9));
    let dated = target("anthropic:claude-sonnet-4-5-20250929");
    assert_eq!(dated.price.unwrap().input_usd, 3.0);
    assert!(target("mistral:mistral-small-latest").price.is_some());
    assert!(target("moonshotai:kimi-k2-thinking").price.is_some());
    assert_eq!(target("ollama:qwen3:4b").price, None);
    let model = registry.model("bedrock:us.amazon.nova-lite-v1:0").unwrap();
    assert_eq!(model.model, "amazon.nova-lite-v1:0");
}

/// Notes where requests go and with which headers, and answers none.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<Note>>>);

/// An address, and the names of the headers that hold secrets.
type Note = (String, Vec<String>);

#[async_trait]
impl Transport for Notes {
    async fn send(
        &self,
        request: HttpRequest,
        secrets: Vec<SecretHeader>,
    ) -> Result<HttpResponse, TransportError> {
        let headers = secrets.iter().map(|it| it.name.to_string()).collect();
        self.0
            .lock()
            .expect("no panic")
            .push((request.url, headers));
        Ok(HttpResponse {
            head: ResponseHead::new(500),
            body: Box::pin(futures_util::stream::empty()),
        })
    }
}

fn services(lookup: fn(&str) -> Option<String>) -> (Services, Notes) {
    let notes = Notes::default();
    let services = Services::new(Arc::new(notes.clone()), Environment::of(lookup));
    (services, notes)
}

#[tokio::test]
async fn each_service_is_asked_where_it_is_with_its_key() {
    let (services, notes) = services(|name| match name {
        "AWS_REGION" => Some("eu-central-1".to_owned()),
        "OLLAMA_HOST" => Some("box:9000".to_owned()),
        _ => Some("a-key".to_owned()),
    });
    let registry = Registry::new(Models::builtin()).with_services(&services);
    for (name, address, header) in [
        (
            "anthropic:claude-opus-4-5",
            "https://api.anthropic.com/",
            Some("x-api-key"),
        ),
        (
            "bedrock:amazon.nova-lite-v1:0",
            "https://bedrock-runtime.eu-central-1.amazonaws.com/",
            Some("authorization"),
        ),
        (
            "cohere:command-a-03-2025",
            "https://api.cohere.com/",
            Some("authorization"),
        ),
        (
            "google:gemini-2.5-pro",
            "https://generativelanguage.googleapis.com/",
            Some("x-goog-api-key"),
        ),
        ("ollama:qwen3:4b", "http://box:9000/", None),
        (
            "openai:gpt-5",
            "https://api.openai.com/v1/chat/completions",
            Some("authorization"),
        ),
        (
            "openai-responses:gpt-5",
            "https://api.openai.com/v1/responses",
            Some("authorization"),
        ),
        (
            "mistral:mistral-small-latest",
            "https://api.mistral.ai/",
            Some("authorization"),
        ),
        (
            "groq:llama-3.1-8b-instant",
            "https://api.groq.com/",
            Some("authorization"),
        ),
    ] {
        let resolved = registry.resolve(name).unwrap();
        let mut request = request("go");
        request.model = Arc::clone(&resolved.target.model);
        let answer = resolved.provider.stream(request).next().await;
        let error = answer.unwrap().unwrap_err();
        assert_eq!(error.kind, ProviderErrorKind::Server, "{name}: {error}");
        let (url, headers) = notes.0.lock().unwrap().pop().unwrap();
        assert!(url.starts_with(address), "{name}: {url}");
        assert_eq!(headers.first().map(String::as_str), header, "{name}");
    }
}

#[tokio::test]
async fn a_service_without_its_key_is_known_and_says_which_variable_to_set() {
    let (services, notes) = services(|_| None);
    let registry = Registry::new(Models::builtin()).with_services(&services);
    for dialect in Dialects::builtin().iter() {
        assert!(registry.names().any(|name| name == dialect.name));
    }
    let resolved = registry.resolve("anthropic:claude-opus-4-5").unwrap();
    let mut stream = resolved.provider.stream(request("go"));
    let error = stream.next().await.unwrap().unwrap_err();
    let wanted = "there is no key for the service: set ANTHROPIC_API_KEY";
    assert_eq!(
        (error.kind, &*error.message),
        (ProviderErrorKind::Auth, wanted)
    );
    let resolved = registry.resolve("ollama:qwen3").unwrap();
    assert!(
        resolved
            .provider
            .stream(request("go"))
            .next()
            .await
            .unwrap()
            .is_err()
    );
    let asked = notes.0.lock().unwrap().clone();
    assert_eq!(asked.len(), 1);
    assert!(
        asked[0].0.starts_with("http://localhost:11434/"),
        "{asked:?}"
    );
}

#[tokio::test]
async fn services_refuse_what_a_model_cannot_do() {
    let (services, notes) = services(|_| Some("a-key".to_owned()));
    let registry = Registry::new(Models::builtin()).with_services(&services);
    let resolved = registry.resolve("openai:o3").unwrap();
    let mut request = request("go");
    request.model = "o3".into();
    request.options = Arc::new(phi_types::Options {
        output_tokens_max: Some(1_000_000),
        ..phi_types::Options::default()
    });
    let error = resolved
        .provider
        .stream(request)
        .next()
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(error.kind, ProviderErrorKind::InvalidRequest);
    assert!(notes.0.lock().unwrap().is_empty());
}
