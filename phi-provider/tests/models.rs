//! What is known of models is read, overridden, found by any name, and checked before sending.
#![cfg(all(feature = "models", feature = "http", feature = "openai-chat"))]

use std::collections::HashSet;
use std::io::Write;
use std::sync::Arc;

use futures_util::StreamExt;
use phi_provider::models::{Models, ModelsError, OptionError, ThinkingKind};
use phi_provider::openai_chat::OpenAiChat;
use phi_provider::{Credential, HttpOptions, HttpProvider, HttpTransport};
use phi_testkit::{Response, Server, request};
use phi_types::{
    Content, EffectClass, Entry, Identity, ImageSource, Options, Price, Provider,
    ProviderErrorKind, RawJson, Request, Thinking, ToolKind, ToolSpec, Usage, UserMessage,
};

#[test]
fn what_is_built_in_is_sound() {
    let models = Models::builtin();
    let mut names = HashSet::new();
    let mut priced = 0;
    for model in models.iter() {
        let name = format!("{}:{}", model.provider, model.model);
        for each in [&model.model].into_iter().chain(&model.aliases) {
            let each = format!("{}:{each}", model.provider);
            assert!(names.insert(each.clone()), "{each} is there twice");
            let provider = &model.provider;
            let found = models.lookup(provider, each.split_once(':').unwrap().1);
            assert_eq!(found, Some(model), "{each}");
        }
        assert!(model.window_tokens.is_none_or(|it| it >= 4_096), "{name}");
        let output = model.output_tokens_max.unwrap_or(1);
        assert!(output <= model.window_tokens.unwrap_or(u64::MAX), "{name}");
        if let Some(price) = model.price {
            priced += 1;
            assert!(price.cache_read_usd <= price.input_usd, "{name}");
            assert!(price.input_usd <= price.output_usd, "{name}");
            assert!(price.cache_write_usd <= 2.0 * price.input_usd, "{name}");
        }
        assert!(model.abilities.images.is_some() && model.abilities.tools.is_some());
    }
    assert!(priced >= 100, "{priced} models have a price");
}

#[test]
fn a_model_is_found_by_what_its_service_calls_it() {
    let models = Models::builtin();
    for (provider, name, wanted) in [
        (
            "anthropic",
            "claude-sonnet-4-5-20250929",
            "anthropic:claude-sonnet-4-5",
        ),
        (
            "anthropic",
            "claude-3-5-haiku-latest",
            "anthropic:claude-3-5-haiku",
        ),
        ("Anthropic", "Claude-Opus-4-0", "anthropic:claude-opus-4"),
        ("openai", "gpt-5-2025-08-07", "openai:gpt-5"),
        ("openai", "gpt-5-mini-2025-08-07", "openai:gpt-5-mini"),
        ("openai", "o3-mini-2025-01-31", "openai:o3-mini"),
        ("openai", "gpt-3.5-turbo-0125", "openai:gpt-3.5-turbo"),
        (
            "google",
            "models/gemini-2.5-flash",
            "google:gemini-2.5-flash",
        ),
        ("vertex", "gemini-2.0-flash-001", "google:gemini-2.0-flash"),
        (
            "vertex",
            "claude-sonnet-4-5@20250929",
            "anthropic:claude-sonnet-4-5",
        ),
        (
            "bedrock",
            "us.anthropic.claude-haiku-4-5-20251001-v1:0",
            "anthropic:claude-haiku-4-5",
        ),
        (
            "bedrock",
            "eu.amazon.nova-lite-v1:0",
            "bedrock:amazon.nova-lite-v1:0",
        ),
        (
            "openrouter",
            "anthropic/claude-sonnet-4.5",
            "anthropic:claude-sonnet-4-5",
        ),
        ("openrouter", "x-ai/grok-4", "xai:grok-4"),
        ("azure", "gpt-35-turbo", "openai:gpt-3.5-turbo"),
        ("groq", "openai/gpt-oss-120b", "groq:openai/gpt-oss-120b"),
        ("mistral", "mistral-large-2411", "mistral:mistral-large"),
        ("cohere", "command-a-03-2025", "cohere:command-a-03-2025"),
    ] {
        let found = models.lookup(provider, name);
        let found = found.map(|it| format!("{}:{}", it.provider, it.model));
        assert_eq!(found.as_deref(), Some(wanted), "{provider}:{name}");
    }
    for (provider, name) in [
        ("openai", "gpt-99"),
        ("openai", "o1-preview"),
        ("openai", "ft:gpt-4o-mini:team::id"),
        ("openrouter", "z-ai/glm-4.5-air:free"),
        ("anthropic", "gpt-5"),
        ("nobody", "gpt-5"),
        ("openai", ""),
    ] {
        assert_eq!(models.lookup(provider, name), None, "{provider}:{name}");
    }
}

#[test]
fn a_file_overrides_field_by_field_and_adds() {
    let json = r#"{
        "version": 1,
        "families": {"my-gateway": ["openai"]},
        "models": [
            {"provider": "openai", "model": "gpt-4o", "price": {"input_usd": 2.0}, "abilities": {"images": false}},
            {"provider": "openai", "model": "gpt-4o-2024-05-13", "price": {"input_usd": 5, "output_usd": 15, "cache_read_usd": 5}},
            {"provider": "own", "model": "tiny", "aliases": ["tiny-*", "tiny-*-long"], "window_tokens": 1000, "price": {"input_usd": 1, "output_usd": 2}},
            {"provider": "own", "model": "large", "aliases": ["tiny-x-*"]},
            {"provider": "own", "model": "tiny", "window_tokens": 2000}
        ]
    }"#;
    let before = Models::builtin();
    let models = before.clone().overridden_by(json).unwrap();
    let (old, new) = (
        before.lookup("openai", "gpt-4o"),
        models.lookup("my-gateway", "gpt-4o"),
    );
    let (mut old, new) = (old.unwrap().clone(), new.unwrap());
    old.price.as_mut().unwrap().input_usd = 2.0;
    old.abilities.images = Some(false);
    assert_eq!(&old, new);
    let dated = models.lookup("openai", "gpt-4o-2024-05-13").unwrap();
    assert_eq!(dated.window_tokens, Some(128_000), "it begins like gpt-4o");
    assert_eq!(dated.price.unwrap().output_usd, 15.0);
    let tiny = models.lookup("own", "tiny-v7").unwrap();
    assert_eq!((&*tiny.model, tiny.window_tokens), ("tiny", Some(2_000)));
    let price = Price {
        input_usd: 1.0,
        output_usd: 2.0,
        cache_read_usd: 1.0,
        cache_write_usd: 1.0,
    };
    assert_eq!(tiny.price, Some(price));
    assert_eq!(
        models.lookup("own", "tiny-x-long-y").unwrap().model,
        "large"
    );
    assert_eq!(models.lookup("own", "huge"), None);
    assert_eq!(before.clone().overridden_by("{}").unwrap(), before);
}

#[test]
fn what_is_wrong_with_a_file_is_named_with_its_place() {
    for (json, wanted) in [
        (
            "{\n\"modles\": []}",
            "line 2: unknown field `modles`, expected one of",
        ),
        (
            "{\"models\": [\n{\"provider\": \"a\", \"model\": \"b\"},\n{\"provider\": \"a\",\n\"model\": \"c\", \"window\": 1}]}",
            "line 4, `a:c`: unknown field `window`, expected one of",
        ),
        (
            "{\"models\": [{\"provider\": \"a\", \"model\": \"b\", \"price\": {\"input\": 1}}]}",
            "line 1, `a:b`: unknown field `input`, expected one of",
        ),
        (
            "{\"models\": [{\"provider\": \"a\", \"model\": \"b\", \"abilities\": {\"thinking\": \"much\"}}]}",
            "line 1, `a:b`: unknown variant `much`, expected one of",
        ),
        (
            "{\"models\": [{\"provider\": \"a\"}]}",
            "line 1, model 1: missing field `model`",
        ),
        (
            "{\"models\": [{\"provider\": \"a\", \"model\": \"b\", \"price\": {\"input_usd\": 1}}]}",
            "line 1, `a:b`: its price lacks `output_usd`",
        ),
        (
            "{\"models\": [{\"provider\": \"a\", \"model\": \"b\", \"price\": {\"input_usd\": -1, \"output_usd\": 1}}]}",
            "line 1, `a:b`: a price is a number",
        ),
        (
            "{\"models\": [{\"provider\": \"a\", \"model\": \"b\", \"window_tokens\": \"many\"}]}",
            "line 1, `a:b`: invalid type: string \"many\", expected u64",
        ),
        (
            "{\"version\": 2}",
            "the file has version 2: only version 1 is known",
        ),
        ("{\"models\": [", "line 1: EOF"),
    ] {
        let error = Models::builtin()
            .overridden_by(json)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(wanted), "{error}\nis not\n{wanted}");
    }
}

#[test]
fn a_file_is_read_from_its_place() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(br#"{"models":[{"provider":"own","model":"x"}]}"#)
        .unwrap();
    let models = Models::none().overridden_by_file(file.path()).unwrap();
    assert_eq!(models.iter().count(), 1);
    let error = Models::none().overridden_by_file(&file.path().join("no"));
    assert!(
        matches!(error, Err(ModelsError::Unreadable { .. })),
        "{error:?}"
    );
}

#[test]
fn a_target_has_the_price_and_the_window_and_usage_its_cost() {
    let identity = Identity {
        protocol: "anthropic-messages",
        provider: "anthropic",
    };
    let models = Models::builtin();
    let target = models.target(identity, "claude-sonnet-4-5-20250929");
    assert_eq!(
        &*target.model, "claude-sonnet-4-5-20250929",
        "the name stays"
    );
    assert_eq!(target.window_tokens, Some(200_000));
    let usage = Usage {
        input_tokens: Some(1_000_000),
        output_tokens: Some(100_000),
        cache_read_tokens: Some(1_000_000),
        cache_write_tokens: Some(1_000_000),
        ..Usage::default()
    };
    let cost = target.price.unwrap().cost_usd(&usage);
    assert!((cost - (3.0 + 1.5 + 0.3 + 3.75)).abs() < 1e-9, "{cost}");
    let unknown = models.target(identity, "claude-99");
    assert_eq!((unknown.price, unknown.window_tokens), (None, None));
}

fn asking(model: &str, options: Options) -> Request {
    let mut request = request("go");
    request.model = model.into();
    request.options = Arc::new(options);
    request
}

fn with_image(mut request: Request) -> Request {
    let source = ImageSource::Base64("AAAA".to_owned());
    let media_type = "image/png".to_owned();
    let content = vec![Content::Image { media_type, source }];
    request
        .view
        .push(Entry::User(Arc::new(UserMessage { content })));
    request
}

fn with_tool(mut request: Request) -> Request {
    let spec = ToolSpec {
        name: "f".into(),
        description: "".into(),
        input_schema: RawJson::empty_object(),
        kind: ToolKind::Other,
        effect_class: EffectClass::Pure,
    };
    request.tools = Arc::from([spec]);
    request
}

#[test]
fn what_a_model_cannot_do_is_told_before_sending() {
    let models = Models::builtin();
    let plain = Options::default();
    let thinking = |thinking| Options {
        thinking: Some(thinking),
        ..Options::default()
    };
    let sampling = |temperature| Options {
        temperature: Some(temperature),
        ..Options::default()
    };
    let output = |max| Options {
        output_tokens_max: Some(max),
        ..Options::default()
    };
    let name = |model: &str| model.to_owned();
    for (provider, request, wanted) in [
        (
            "openai",
            with_image(asking("o3-mini", plain.clone())),
            OptionError::Images {
                model: name("o3-mini"),
                entry: 1,
            },
        ),
        (
            "perplexity",
            with_tool(asking("sonar", plain)),
            OptionError::Tools {
                model: name("sonar"),
            },
        ),
        (
            "openai",
            asking("gpt-4o", thinking(Thinking::Low)),
            OptionError::Thinking {
                model: name("gpt-4o"),
            },
        ),
        (
            "google",
            asking("gemini-2.0-flash", thinking(Thinking::BudgetTokens(9))),
            OptionError::Thinking {
                model: name("gemini-2.0-flash"),
            },
        ),
        (
            "openai",
            asking("gpt-5-2025-08-07", sampling(0.5)),
            OptionError::Sampling {
                model: name("gpt-5-2025-08-07"),
                option: "temperature",
            },
        ),
        (
            "openai",
            asking(
                "o3",
                Options {
                    top_p: Some(0.5),
                    ..Options::default()
                },
            ),
            OptionError::Sampling {
                model: name("o3"),
                option: "top_p",
            },
        ),
        (
            "anthropic",
            asking("claude-3-haiku-20240307", output(5_000)),
            OptionError::OutputTokens {
                model: name("claude-3-haiku-20240307"),
                asked: 5_000,
                max: 4_096,
            },
        ),
    ] {
        assert_eq!(models.check(&request, provider), Err(wanted));
    }
    for (provider, request) in [
        (
            "openai",
            with_tool(with_image(asking("gpt-4o", sampling(0.5)))),
        ),
        ("openai", asking("o3", sampling(1.0))),
        ("openai", asking("gpt-4o", thinking(Thinking::Off))),
        ("openai", asking("gpt-4o", thinking(Thinking::Adaptive))),
        (
            "openai",
            asking("gpt-4o", thinking(Thinking::BudgetTokens(0))),
        ),
        ("anthropic", asking("claude-3-haiku", output(4_096))),
        (
            "ollama",
            with_tool(with_image(asking("anything", thinking(Thinking::High)))),
        ),
    ] {
        assert_eq!(models.check(&request, provider), Ok(()));
    }
    let known = models.lookup("google", "gemini-2.5-pro").unwrap();
    assert_eq!(known.abilities.thinking, Some(ThinkingKind::Budget));
}

#[tokio::test]
async fn a_provider_that_knows_models_sends_no_such_request() {
    let body = r#"{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}"#;
    let server = Server::start([Response::json(200, body)]).unwrap();
    let wire = Arc::new(OpenAiChat::new(&server.base_url()));
    let transport = Arc::new(HttpTransport::new(HttpOptions::default()).unwrap());
    let provider = HttpProvider::new(wire, transport, Credential::Anonymous)
        .with_models(Arc::new(Models::builtin()));
    let hot = Options {
        temperature: Some(0.5),
        ..Options::default()
    };
    let mut stream = provider.stream(asking("o3", hot.clone()));
    let error = stream.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind, ProviderErrorKind::InvalidRequest);
    assert_eq!(error.message, "`o3` takes no `temperature`: leave it out");
    assert_eq!(server.received(), []);
    let deltas: Vec<_> = provider.stream(asking("gpt-4o", hot)).collect().await;
    assert!(deltas.iter().all(Result::is_ok), "{deltas:?}");
}
