//! A model that answers from a script.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_core::stream::BoxStream;
use futures_util::stream;
use phi_types::{
    Delta, Entry, History, Identity, Options, Provider, ProviderError, ProviderErrorKind, Request,
    SessionId, TranscriptChecker, TranscriptFault, UserMessage,
};

use crate::reply::{Reply, Step};
use crate::timer::{ThreadTimer, Timer};

/// The most requests that are kept; older ones are forgotten first.
const REQUESTS_MAX: usize = 65_536;

/// The most sessions that are remembered; beyond it the memory starts anew.
const SESSIONS_MAX: usize = 65_536;

/// A provider that answers from a script. A clone shares script, attempts and requests.
///
/// Replies are counted by the turns of the session: the reply to a request is the one whose number
/// is the number of assistant messages in the request's view, so that a resumed session goes on
/// where it was. A request that a real API would refuse fails as invalid request and says why.
/// A growing view is read once, not once for each request.
#[derive(Clone)]
pub struct ScriptedProvider {
    replies: Replies,
    timer: Arc<dyn Timer>,
    seen: Arc<Mutex<Seen>>,
}

type ReplyFunction = dyn Fn(usize, &Request) -> Option<Reply> + Send + Sync;

#[derive(Clone)]
enum Replies {
    List(Arc<[Reply]>),
    Function(Arc<ReplyFunction>),
}

#[derive(Default)]
struct Seen {
    requests: VecDeque<Request>,
    total: usize,
    sessions: HashMap<SessionId, Seat>,
}

/// What is known of one session.
#[derive(Default)]
struct Seat {
    view: History,
    checker: TranscriptChecker,
    attempts: HashMap<usize, usize>,
}

impl ScriptedProvider {
    /// Makes a provider of a list of replies. Delays pass in real time; see
    /// [`ScriptedProvider::with_timer`].
    #[must_use]
    pub fn new(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self::of(Replies::List(replies.into_iter().collect()))
    }

    /// Makes a provider of a function from turn, counted from 0, and request to the reply.
    #[must_use]
    pub fn from_fn(
        reply: impl Fn(usize, &Request) -> Option<Reply> + Send + Sync + 'static,
    ) -> Self {
        Self::of(Replies::Function(Arc::new(reply)))
    }

    /// Sets how delays pass.
    #[must_use]
    pub fn with_timer(mut self, timer: impl Timer + 'static) -> Self {
        self.timer = Arc::new(timer);
        self
    }

    /// Returns the requests that came in, refused ones included; the newest 65,536 of them.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.seen().requests.iter().cloned().collect()
    }

    /// Returns the newest request.
    #[must_use]
    pub fn last_request(&self) -> Option<Request> {
        self.seen().requests.back().cloned()
    }

    /// Returns how many requests came in.
    #[must_use]
    pub fn request_count(&self) -> usize {
        self.seen().total
    }

    fn of(replies: Replies) -> Self {
        Self {
            replies,
            timer: Arc::new(ThreadTimer),
            seen: Arc::default(),
        }
    }

    fn answer(&self, request: &Request) -> Result<VecDeque<Step>, ProviderError> {
        let (turn, attempt) = self.seen().admit(request).map_err(|fault| {
            let message = format!("the transcript is not one that an API accepts: {fault}");
            ProviderError::new(ProviderErrorKind::InvalidRequest, message)
        })?;
        let reply = match &self.replies {
            Replies::List(replies) => replies.get(turn).cloned(),
            Replies::Function(reply) => reply(turn, request),
        };
        match reply {
            Some(reply) => Ok(reply.steps(turn, attempt)),
            None => Err(self.no_reply_left(turn)),
        }
    }

    fn no_reply_left(&self, turn: usize) -> ProviderError {
        let holds = match &self.replies {
            Replies::List(replies) => format!("{} replies", replies.len()),
            Replies::Function(_) => "no reply for it".to_owned(),
        };
        let message = format!(
            "the script has no reply left: this is turn {} of the session and the script holds \
             {holds}; add a reply to it",
            turn + 1
        );
        ProviderError::new(ProviderErrorKind::InvalidRequest, message)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    /// Records a request and says which turn and which attempt it is.
    fn admit(&mut self, request: &Request) -> Result<(usize, usize), TranscriptFault> {
        self.total += 1;
        if self.requests.len() == REQUESTS_MAX {
            self.requests.pop_front();
        }
        self.requests.push_back(request.clone());
        if self.sessions.len() == SESSIONS_MAX && !self.sessions.contains_key(&request.session) {
            self.sessions.clear();
        }
        let seat = self.sessions.entry(request.session.clone()).or_default();
        seat.read(&request.view)?;
        seat.checker.end_of_request()?;
        let turn = seat.checker.answers();
        let attempts = seat.attempts.entry(turn).or_default();
        *attempts += 1;
        Ok((turn, *attempts - 1))
    }
}

impl Seat {
    /// Checks what is new in a view; a view that does not extend the last one is all new.
    fn read(&mut self, view: &History) -> Result<(), TranscriptFault> {
        if !view.prefix(self.view.len()).is_same_path(&self.view) {
            self.view = History::new();
            self.checker = TranscriptChecker::default();
        }
        let mut checker = self.checker.clone();
        let new = view.len() - self.view.len();
        let mut entries: Vec<&Entry> = view.newest_first().take(new).collect();
        entries.reverse();
        entries.into_iter().try_for_each(|it| checker.push(it))?;
        (self.view, self.checker) = (view.clone(), checker);
        Ok(())
    }
}

impl Provider for ScriptedProvider {
    fn identity(&self) -> Identity<'_> {
        Identity {
            protocol: "scripted",
            provider: "scripted",
        }
    }

    fn stream(&self, request: Request) -> BoxStream<'static, Result<Delta, ProviderError>> {
        let steps = match self.answer(&request) {
            Ok(steps) => steps,
            Err(error) => VecDeque::from([Step::Fail(error)]),
        };
        let state = (steps, Arc::clone(&self.timer));
        Box::pin(stream::unfold(state, |(mut steps, timer)| async move {
            loop {
                match steps.pop_front()? {
                    Step::Give(delta) => return Some((Ok(delta), (steps, timer))),
                    Step::Fail(error) => return Some((Err(error), (VecDeque::new(), timer))),
                    Step::Wait(duration) => timer.sleep(duration).await,
                    Step::Gate(gate) => gate.passed().await,
                    Step::Hang => std::future::pending().await,
                }
            }
        }))
    }
}

impl fmt::Debug for ScriptedProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedProvider")
            .field("requests", &self.request_count())
            .finish_non_exhaustive()
    }
}

/// Makes a request of one user message, in the session `test` and to the model `scripted`.
///
/// # Panics
/// Never: the session id is valid.
#[must_use]
pub fn request(prompt: &str) -> Request {
    let message = Arc::new(UserMessage::text(prompt));
    Request {
        session: SessionId::new("test").expect("the id is valid"),
        model: Arc::from("scripted"),
        system: Arc::from(""),
        tools: Arc::from([]),
        view: [Entry::User(message)].into_iter().collect(),
        options: Arc::new(Options::default()),
    }
}
