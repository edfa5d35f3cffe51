//! The least loop: it polls the stream, joins the text, calls the tools and keeps a list.
//!
//! It has no events, no journal, no limits, no retry, no deadlines, no hooks, no cancellation and
//! catches no panic. What phi-loop costs beyond it is the price of these.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use phi_types::{
    Delta, EffectId, History, LoopId, Provider, RawJson, Request, SessionId, Tool, ToolContext,
    ToolResult,
};

/// A message of the least loop.
#[derive(Debug)]
pub enum FloorMessage {
    /// What the user says.
    User(String),
    /// What the model answered.
    Assistant {
        /// The text.
        text: String,
        /// The calls.
        calls: Vec<FloorCall>,
    },
    /// The result of a call.
    Result(ToolResult),
}

/// A tool call of the least loop.
#[derive(Debug, Default)]
pub struct FloorCall {
    /// The model's id of the call.
    pub id: String,
    /// The tool.
    pub name: String,
    /// The text of the arguments.
    pub arguments: String,
}

/// Makes the message with which every bench begins.
#[must_use]
pub fn prompt() -> FloorMessage {
    FloorMessage::User("Begin.".to_owned())
}

/// Runs turns until an answer has no call, and counts the deltas.
///
/// **Cancel safety:** a dropped call leaves the history as far as it came.
pub async fn run(provider: &dyn Provider, tool: &dyn Tool, history: &mut Vec<FloorMessage>) -> u64 {
    let request = request();
    let mut seen = 0;
    loop {
        let mut stream = provider.stream(request.clone());
        let (mut text, mut calls) = (String::new(), Vec::<FloorCall>::new());
        while let Some(Ok(delta)) = stream.next().await {
            seen += 1;
            match delta {
                Delta::Text(delta) => text.push_str(&delta.text),
                Delta::ToolCall(delta) => calls.push(FloorCall {
                    id: delta.id,
                    name: delta.name,
                    arguments: String::new(),
                }),
                Delta::Arguments(delta) => {
                    if let Some(call) = calls.last_mut() {
                        call.arguments.push_str(&delta.text);
                    }
                }
                _ => {}
            }
        }
        let results = results(tool, &request.session, &calls).await;
        let is_answer = calls.is_empty();
        history.push(FloorMessage::Assistant { text, calls });
        history.extend(results.into_iter().map(FloorMessage::Result));
        if is_answer {
            return seen;
        }
    }
}

/// One call is awaited where it stands; several run at once and keep their order.
async fn results(tool: &dyn Tool, session: &SessionId, calls: &[FloorCall]) -> Vec<ToolResult> {
    let effect = EffectId {
        loop_id: LoopId::new("floor").expect("the name is valid"),
        seq: 1,
    };
    let call = |call: &FloorCall| {
        let arguments = RawJson::parse(&call.arguments).unwrap_or_else(|_| RawJson::empty_object());
        let context = ToolContext::new(session.clone(), effect.clone(), Arc::new(()));
        tool.call(arguments, context)
    };
    match calls {
        [] => Vec::new(),
        [only] => vec![call(only).await],
        several => {
            let work: FuturesUnordered<_> = (0..)
                .zip(several)
                .map(|(at, it): (usize, _)| {
                    let result = call(it);
                    async move { (at, result.await) }
                })
                .collect();
            let mut ended: Vec<(usize, ToolResult)> = work.collect().await;
            ended.sort_unstable_by_key(|(at, _)| *at);
            ended.into_iter().map(|(_, result)| result).collect()
        }
    }
}

fn request() -> Request {
    Request {
        session: SessionId::new("bench").expect("the name is valid"),
        model: Arc::from("canned"),
        system: Arc::from(""),
        tools: Arc::from([]),
        view: History::new(),
        options: Arc::default(),
    }
}
