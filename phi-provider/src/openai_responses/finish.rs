//! What the status of a response means.

use phi_types::StopReason;
use serde_json::{Value, json};

use super::event::Response;
use crate::body::is_stated;

/// What the status of a response says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Outcome {
    /// The service works on it.
    Open,
    /// The answer is complete: whether it calls tools or refuses is what it holds.
    Complete,
    /// The answer stopped for this reason.
    Stopped(StopReason, Option<String>),
    /// The service failed: the error that it reports.
    Failed(Value),
}

impl Outcome {
    /// Reads the status of a response. `event` is the status that the event around it implies,
    /// which counts where the response states none that ends it.
    pub(super) fn of(response: &Response<'_>, event: &str) -> Self {
        let stated = response.status.as_str();
        let status = match stated {
            "completed" | "incomplete" | "failed" | "cancelled" => stated,
            _ if !event.is_empty() => event,
            stated => stated,
        };
        match status {
            "completed" | "done" => Self::Complete,
            "incomplete" => {
                let reason = response.reason();
                let raw = if reason.is_empty() { status } else { reason };
                Self::Stopped(stop_reason(reason), Some(raw.to_owned()))
            }
            "failed" => Self::Failed(error_of(response)),
            "queued" | "in_progress" => Self::Open,
            "" => Self::Stopped(StopReason::Other, None),
            other => Self::Stopped(StopReason::Other, Some(other.to_owned())),
        }
    }
}

/// Maps the reason of `incomplete_details`. One that is not known is never success.
fn stop_reason(reason: &str) -> StopReason {
    match reason {
        "max_output_tokens" | "max_tokens" | "length" => StopReason::MaxTokens,
        "content_filter" => StopReason::ContentFilter,
        "context_length_exceeded" | "model_context_window_exceeded" | "max_context_length" => {
            StopReason::ContextWindow
        }
        "refusal" => StopReason::Refusal,
        _ => StopReason::Other,
    }
}

/// Returns the error of a response that failed, as an error body states it.
fn error_of(response: &Response<'_>) -> Value {
    let stated = response.error.filter(|error| is_stated(error));
    let error = stated.and_then(|error| serde_json::from_str::<Value>(error.get()).ok());
    let error = error.unwrap_or_else(|| {
        let reason = Some(response.reason()).filter(|reason| !reason.is_empty());
        let message = match reason {
            Some(reason) => format!("the response failed: {reason}"),
            None => "the response failed and does not say why".to_owned(),
        };
        json!({"type": "server_error", "message": message})
    });
    json!({ "error": error })
}
