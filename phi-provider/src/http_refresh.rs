//! Keeps the secret of a source, and replaces it once for all who were refused with it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures_core::future::BoxFuture;
use futures_util::FutureExt;
use futures_util::future::{Shared, WeakShared};

use crate::credential::{CredentialError, Secret};
use crate::http_credential::CredentialSource;

/// How long before it expires a secret is replaced: a request takes its time.
const MARGIN: Duration = Duration::from_secs(30);

/// A source and what it gave last.
pub(crate) struct Refreshing {
    source: Arc<dyn CredentialSource>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: Option<Arc<Held>>,
    /// The one question to the source that is under way. Those who wait for it keep it alive.
    flight: Option<WeakShared<Flight>>,
    /// How many questions were asked.
    flights: u64,
    /// The last question that failed, by its number.
    failed: Option<(u64, CredentialError)>,
}

type Outcome = Result<Arc<Held>, CredentialError>;
type Flight = BoxFuture<'static, Outcome>;

struct Held {
    secret: Secret,
    expires_at: Option<SystemTime>,
    /// The number of the question that it answered.
    flight: u64,
}

/// A secret for one call.
#[derive(Clone)]
pub(crate) struct Ticket {
    held: Arc<Held>,
    /// How many questions had been asked when it was given out.
    flights: u64,
}

impl Ticket {
    pub(crate) fn secret(&self) -> &Secret {
        &self.held.secret
    }
}

impl Refreshing {
    pub(crate) fn new(source: Arc<dyn CredentialSource>) -> Self {
        Self {
            source,
            state: Mutex::default(),
        }
    }

    /// Returns a secret: the one that is held, unless it is about to expire.
    pub(crate) async fn ticket(self: Arc<Self>) -> Result<Ticket, CredentialError> {
        let now = SystemTime::now();
        let is_before = |held: &Held, at| held.expires_at.is_none_or(|end| at < end);
        let (flight, held) = {
            let mut state = self.state();
            let held = state.held.clone();
            match held {
                Some(held) if is_before(&held, now + MARGIN) => return Ok(state.ticket(held)),
                held => (self.fly(&mut state, held.clone()), held),
            }
        };
        match (flight.await, held) {
            (Ok(held), _) => Ok(self.state().ticket(held)),
            (Err(_), Some(held)) if is_before(&held, now) => Ok(self.state().ticket(held)),
            (Err(error), _) => Err(error),
        }
    }

    /// Returns another secret in place of one that was refused, which perhaps was replaced already.
    pub(crate) async fn replace(self: Arc<Self>, stale: Ticket) -> Result<Ticket, CredentialError> {
        let flight = {
            let mut state = self.state();
            let held = state.held.clone();
            if let Some(held) = held.filter(|held| held.flight != stale.held.flight) {
                return Ok(state.ticket(held));
            }
            match &state.failed {
                // It was asked since this call began, so the answer counts for this call too.
                Some((flight, error)) if *flight > stale.flights => return Err(error.clone()),
                _ => self.fly(&mut state, Some(stale.held)),
            }
        };
        let held = flight.await?;
        Ok(self.state().ticket(held))
    }

    /// Joins the question that is under way, or asks.
    fn fly(self: &Arc<Self>, state: &mut State, stale: Option<Arc<Held>>) -> Shared<Flight> {
        let running = state.flight.as_ref().and_then(WeakShared::upgrade);
        if let Some(running) = running {
            return running;
        }
        state.flights += 1;
        let number = state.flights;
        let this = Arc::clone(self);
        let asked = async move {
            let issued = match &stale {
                Some(stale) => this.source.refresh(&stale.secret).await,
                None => this.source.secret().await,
            };
            let mut state = this.state();
            state.flight = None;
            match issued {
                Ok(issued) => {
                    let held = Arc::new(Held {
                        secret: issued.secret,
                        expires_at: issued.expires_at,
                        flight: number,
                    });
                    state.held = Some(Arc::clone(&held));
                    Ok(held)
                }
                Err(error) => {
                    state.failed = Some((number, error.clone()));
                    Err(error)
                }
            }
        };
        let flight = asked.boxed().shared();
        state.flight = flight.downgrade();
        flight
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn ticket(&self, held: Arc<Held>) -> Ticket {
        Ticket {
            held,
            flights: self.flights,
        }
    }
}
