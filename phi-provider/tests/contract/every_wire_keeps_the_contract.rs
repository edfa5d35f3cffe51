//! Every wire of this crate keeps the contract on all recordings of its protocol.

use phi_provider::contract::{Case, Rule, WireContract};
use phi_provider::gemini::Gemini;
use phi_provider::openai_chat::OpenAiChat;
use phi_provider::openai_responses::OpenAiResponses;
use phi_provider::vertex::Vertex;
use phi_provider::{AnthropicMessages, Azure, BedrockConverse, CohereChat, OllamaChat};

use crate::cases::{Framing, turns_of};

const PLAIN: Framing = Framing {
    names_events: false,
    last: "",
};
const NAMED: Framing = Framing {
    names_events: true,
    last: "",
};
const DONE: Framing = Framing {
    names_events: false,
    last: "data: [DONE]\n\n",
};
const NAMED_DONE: Framing = Framing {
    names_events: true,
    last: "data: [DONE]\n\n",
};

const STOPS_ALWAYS: &str = "an old model states `STOP` in every chunk: a stream that is cut between \
    two of them cannot be told from a whole one";
const STOPS_TWICE: &str = "the turn states a finish, runs code of the service, and states another";
const FAILS_LATE: &str = "the service states a finish in every chunk and then reports an error";

/// A rule that a recording cannot keep, and why.
type Excuse = (&'static str, Rule, &'static str);

fn cases(protocol: &str, framing: &Framing, excuses: &[Excuse]) -> Vec<Case> {
    let turns = turns_of(protocol, framing).into_iter();
    let cases: Vec<Case> = turns
        .map(|turn| {
            let name = turn.name();
            let mut case = Case::new(&name, turn.body).with_head(turn.head);
            for (excused, rule, reason) in excuses {
                if name.contains(excused) {
                    case = case.excused_from(*rule, *reason);
                }
            }
            case
        })
        .collect();
    for (excused, ..) in excuses {
        let is_used = cases.iter().any(|case| case.name.contains(excused));
        assert!(is_used, "no recording is called {excused}");
    }
    cases
}

fn keeps(contract: &WireContract) {
    let card = contract.run();
    println!("{card}");
    card.assert();
}

#[test]
fn anthropic_messages_keeps_the_contract() {
    let contract = WireContract::new(AnthropicMessages::new)
        .with_limits(|limits| AnthropicMessages::new().with_limits(limits));
    // The marks of the cache stand on the last two questions.
    let contract = contract.with_newest_entries(3);
    keeps(&contract.with_cases(cases("anthropic-messages", &NAMED, &[])));
}

#[test]
fn openai_chat_keeps_the_contract() {
    let wire = || OpenAiChat::new("https://api.example.com/v1");
    let contract = WireContract::new(wire).with_limits(move |limits| wire().with_limits(limits));
    let excuses = [("openrouter-stream-error", Rule::CutShort, FAILS_LATE)];
    keeps(&contract.with_cases(cases("openai-chat", &DONE, &excuses)));
}

#[test]
fn ollama_keeps_the_contract() {
    let contract = WireContract::new(OllamaChat::default)
        .with_limits(|limits| OllamaChat::default().with_limits(limits));
    keeps(&contract.with_cases(cases("ollama-chat", &PLAIN, &[])));
}

#[test]
fn gemini_keeps_the_contract() {
    let contract =
        WireContract::new(Gemini::new).with_limits(|limits| Gemini::new().with_limits(limits));
    let excuses = [
        (
            "gemini-stream-terminal-matrix-two-terminal-stream",
            STOPS_TWICE,
        ),
        ("vertexai-streaming-success-citations", STOPS_ALWAYS),
        (
            "vertexai-streaming-failure-unknown-finish-enum",
            STOPS_ALWAYS,
        ),
    ];
    let excuses = excuses.map(|(case, reason)| (case, Rule::CutShort, reason));
    keeps(&contract.with_cases(cases("gemini", &PLAIN, &excuses)));
}

#[test]
fn cohere_keeps_the_contract() {
    let contract = WireContract::new(CohereChat::default)
        .with_limits(|limits| CohereChat::default().with_limits(limits));
    keeps(&contract.with_cases(cases("cohere-v2", &NAMED_DONE, &[])));
}

#[test]
fn bedrock_keeps_the_contract() {
    let wire = || BedrockConverse::new("us-east-1");
    let contract = WireContract::new(wire).with_limits(move |limits| wire().with_limits(limits));
    keeps(&contract.with_cases(cases("bedrock-converse", &PLAIN, &[])));
}

#[test]
fn openai_responses_keeps_the_contract() {
    let wire = || OpenAiResponses::new("https://api.example.com/v1");
    let contract = WireContract::new(wire).with_limits(move |limits| wire().with_limits(limits));
    keeps(&contract.with_cases(cases("openai-responses", &NAMED, &[])));
}

#[test]
fn vertex_keeps_the_contract() {
    let vertex = || Vertex::new("my-project", "global");
    keeps(&WireContract::new(move || vertex().gemini()));
    keeps(&WireContract::new(move || vertex().claude()).with_newest_entries(3));
}

#[test]
fn azure_keeps_the_contract() {
    let azure = || Azure::new("my-resource");
    keeps(&WireContract::new(move || azure().chat()));
    keeps(&WireContract::new(move || azure().responses()));
}
