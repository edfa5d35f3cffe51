//! What every provider keeps.

use std::collections::{HashMap, HashSet};
use std::fmt;

use futures_util::StreamExt;
use phi_types::{
    Assembler, AssistantMessage, Delta, MisplacedDelta, Origin, Provider, ProviderError,
    ProviderErrorKind, Request,
};

/// Says which promise a provider did not keep.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ProviderBreach {
    /// The protocol or the service has no name.
    #[error("the identity names no {0}: messages could not say who wrote them")]
    Nameless(&'static str),
    /// The stream ended with neither a finish nor an error.
    #[error("the stream ended with neither a finish nor an error")]
    NoEnding,
    /// Something came after an error.
    #[error("{0:?} came after an error, which must be the last thing")]
    AfterError(Box<Result<Delta, ProviderError>>),
    /// Something other than a correction came after the finish.
    #[error("{0:?} came after the finish, where only usage and a corrected finish may come")]
    AfterFinish(Box<Result<Delta, ProviderError>>),
    /// More came for a part that had ended.
    #[error("{0:?} came for a part that had ended")]
    AfterPartEnd(Box<Delta>),
    /// A part changed its nature.
    #[error(transparent)]
    Misplaced(#[from] MisplacedDelta),
    /// A call never got a name, which no provider accepts in the next request.
    #[error("a call of the message has no name")]
    NamelessCall,
    /// An error does not say what went wrong.
    #[error("the error of kind {0} has no message")]
    SilentError(ProviderErrorKind),
}

/// A promise that every provider keeps: a row of the [`ProviderCard`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProviderRule {
    /// The protocol and the service have names.
    Identity,
    /// An error is the last thing of a stream and says what went wrong.
    Errors,
    /// Nothing but corrections follows the finish.
    Finish,
    /// A part that has ended stays ended.
    Parts,
    /// A part keeps its nature.
    Nature,
    /// Each call has a name.
    Calls,
    /// A stream ends with a finish or with an error.
    Ending,
}

impl ProviderRule {
    /// All rules in the order of the card.
    pub const ALL: &'static [Self] = &[
        Self::Identity,
        Self::Errors,
        Self::Finish,
        Self::Parts,
        Self::Nature,
        Self::Calls,
        Self::Ending,
    ];

    /// Says the rule as a fact.
    #[must_use]
    pub fn fact(self) -> &'static str {
        match self {
            Self::Identity => "protocol and service have names",
            Self::Errors => "an error ends the stream and says why",
            Self::Finish => "only corrections follow the finish",
            Self::Parts => "a part that has ended stays ended",
            Self::Nature => "a part keeps its nature",
            Self::Calls => "each call has a name",
            Self::Ending => "a stream ends with a finish or an error",
        }
    }

    fn check(self, observed: &Observed) -> Option<ProviderBreach> {
        match self {
            Self::Identity => observed.nameless.map(ProviderBreach::Nameless),
            Self::Errors => errors(&observed.items),
            Self::Finish => after_finish(&observed.items),
            Self::Parts => after_part_end(&observed.items),
            Self::Nature => observed.assembled().err().map(ProviderBreach::from),
            Self::Calls => nameless_call(&observed.items),
            Self::Ending => {
                let is_error = matches!(observed.items.last(), Some(Err(_)));
                let is_finish = |item: &Item| matches!(item, Ok(Delta::Finish(_)));
                let has_ending = is_error || observed.items.iter().any(is_finish);
                (!has_ending).then_some(ProviderBreach::NoEnding)
            }
        }
    }
}

/// What a provider kept over some calls.
#[derive(Debug, Clone, PartialEq)]
pub struct ProviderCard {
    /// The protocol and the service.
    pub provider: String,
    /// How many calls were made.
    pub calls: usize,
    /// A row for each rule: the first breach, and the index of the request that showed it.
    pub rows: Vec<(ProviderRule, Option<(usize, ProviderBreach)>)>,
}

impl ProviderCard {
    /// Fails the test that calls it, with the whole card, unless every row passed.
    ///
    /// # Panics
    /// Where a row failed.
    pub fn assert(&self) {
        let is_kept = self.rows.iter().all(|(_, breach)| breach.is_none());
        assert!(is_kept, "the provider breaks its contract\n{self}");
    }
}

impl fmt::Display for ProviderCard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, {} calls", self.provider, self.calls)?;
        for (rule, breach) in &self.rows {
            let fact = rule.fact();
            match breach {
                None => writeln!(f, "  {fact:<40} passed")?,
                Some((request, breach)) => {
                    writeln!(f, "  {fact:<40} FAILED")?;
                    writeln!(f, "      request {request}: {breach}")?;
                }
            }
        }
        Ok(())
    }
}

/// Checks a provider on some requests, and returns a row for each rule.
///
/// ```
/// use phi_testkit::{Reply, ScriptedProvider, block_on, contract, request};
///
/// let provider = ScriptedProvider::from_fn(|_, _| Some(Reply::text("Hi")));
/// let card = block_on(contract::provider_card(&provider, [request("go")]));
/// card.assert();
/// assert!(card.to_string().contains("a part keeps its nature"));
/// ```
pub async fn provider_card(
    provider: &dyn Provider,
    requests: impl IntoIterator<Item = Request>,
) -> ProviderCard {
    let identity = provider.identity();
    let mut card = ProviderCard {
        provider: format!("{} at {}", identity.protocol, identity.provider),
        calls: 0,
        rows: ProviderRule::ALL.iter().map(|rule| (*rule, None)).collect(),
    };
    for request in requests {
        let observed = observe(provider, request).await;
        for (rule, breach) in &mut card.rows {
            if breach.is_none() {
                *breach = rule.check(&observed).map(|breach| (card.calls, breach));
            }
        }
        card.calls += 1;
    }
    card
}

/// Checks one call of a provider, and returns its message or the error that it ended with.
///
/// The stream holds a finish and after it only usage and corrected finishes, or ends with one error;
/// parts keep their nature and their end; the stream stays ended. A second stream, dropped after its
/// first item, disturbs nobody.
///
/// # Errors
/// The first [`ProviderBreach`].
pub async fn provider(
    provider: &dyn Provider,
    request: Request,
) -> Result<Result<AssistantMessage, ProviderError>, ProviderBreach> {
    let observed = observe(provider, request).await;
    let mut breaches = ProviderRule::ALL.iter();
    if let Some(breach) = breaches.find_map(|rule| rule.check(&observed)) {
        return Err(breach);
    }
    if let Some(Err(error)) = observed.items.last() {
        return Ok(Err(error.clone()));
    }
    let message = observed.assembled()?.into_message(Origin::default());
    message.map(Ok).ok_or(ProviderBreach::NoEnding)
}

type Item = Result<Delta, ProviderError>;

/// All that one call yielded.
struct Observed {
    /// What the identity does not name.
    nameless: Option<&'static str>,
    items: Vec<Item>,
}

/// Makes one call beside another that is dropped after its first item. After an error one more item
/// is asked for.
async fn observe(provider: &dyn Provider, request: Request) -> Observed {
    let identity = provider.identity();
    let names = [
        (identity.protocol, "protocol"),
        (identity.provider, "service"),
    ];
    let nameless = names.iter().find(|(name, _)| name.is_empty());
    let nameless = nameless.map(|(_, what)| *what);
    let mut stream = provider.stream(request.clone());
    let mut dropped = provider.stream(request);
    drop(dropped.next().await);
    drop(dropped);
    let mut items = Vec::new();
    while let Some(item) = stream.next().await {
        let is_error = item.is_err();
        items.push(item);
        if is_error {
            items.extend(stream.next().await);
            break;
        }
    }
    Observed { nameless, items }
}

impl Observed {
    /// Puts together what came before an error.
    fn assembled(&self) -> Result<Assembler, MisplacedDelta> {
        let mut assembler = Assembler::new();
        for delta in self.items.iter().map_while(|item| item.as_ref().ok()) {
            assembler.push(delta)?;
        }
        Ok(assembler)
    }
}

fn errors(items: &[Item]) -> Option<ProviderBreach> {
    let at = items.iter().position(Result::is_err)?;
    if let Some(after) = items.get(at + 1) {
        return Some(ProviderBreach::AfterError(Box::new(after.clone())));
    }
    let error = items.get(at)?.as_ref().err()?;
    (error.message.is_empty()).then_some(ProviderBreach::SilentError(error.kind))
}

fn after_finish(items: &[Item]) -> Option<ProviderBreach> {
    let at = items
        .iter()
        .position(|item| matches!(item, Ok(Delta::Finish(_))))?;
    let is_correction = |item: &&Item| matches!(item, Ok(Delta::Usage(_) | Delta::Finish(_)));
    let late = items.iter().skip(at).find(|item| !is_correction(item))?;
    Some(ProviderBreach::AfterFinish(Box::new(late.clone())))
}

fn after_part_end(items: &[Item]) -> Option<ProviderBreach> {
    let mut ended = HashSet::new();
    for delta in items.iter().filter_map(|item| item.as_ref().ok()) {
        let Some(part) = part_of(delta) else { continue };
        if ended.contains(&part) {
            return Some(ProviderBreach::AfterPartEnd(Box::new(delta.clone())));
        }
        if matches!(delta, Delta::PartEnded(_)) {
            ended.insert(part);
        }
    }
    None
}

fn nameless_call(items: &[Item]) -> Option<ProviderBreach> {
    // The calls, and whether each was given a name.
    let mut named: HashMap<u32, bool> = HashMap::new();
    for delta in items.iter().filter_map(|item| item.as_ref().ok()) {
        match delta {
            Delta::ToolCall(it) => *named.entry(it.part).or_default() |= !it.name.is_empty(),
            Delta::Arguments(it) => {
                named.entry(it.part).or_default();
            }
            _ => {}
        }
    }
    let is_cut = items.iter().any(Result::is_err);
    let is_nameless = !is_cut && named.values().any(|named| !named);
    is_nameless.then_some(ProviderBreach::NamelessCall)
}

fn part_of(delta: &Delta) -> Option<u32> {
    match delta {
        Delta::Text(it) | Delta::Thinking(it) | Delta::Arguments(it) => Some(it.part),
        Delta::ToolCall(it) => Some(it.part),
        Delta::PartFacts(it) => Some(it.part),
        Delta::Opaque(it) => Some(it.part),
        Delta::PartEnded(it) => Some(it.part),
        Delta::Started(_) | Delta::Usage(_) | Delta::Finish(_) => None,
    }
}
