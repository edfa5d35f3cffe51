//! The ledger that a tree of agents shares: reserved before a call, settled after it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use phi_types::{LimitKind, Point, Price, Usage};

/// What a whole tree of agents may spend together. `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    /// Tokens of all attempts of all agents, prompt with cache and output.
    pub tokens: Option<u64>,
    /// Cost of all attempts in US dollars, as far as prices are known. What is no finite number
    /// limits nothing.
    pub cost_usd: Option<f64>,
    /// Tool calls that started.
    pub tool_calls: Option<u64>,
    /// Sub-agents that were spawned.
    pub agents: Option<u64>,
    /// Sub-agents at once; 32 unless said otherwise.
    pub agents_at_once: Option<u64>,
    /// How deep sub-agents spawn sub-agents: with 1, those of the root spawn none. 8 unless said
    /// otherwise.
    pub depth: Option<u64>,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            tokens: None,
            cost_usd: None,
            tool_calls: None,
            agents: None,
            agents_at_once: Some(32),
            depth: Some(8),
        }
    }
}

/// What agents spent, or may spend.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Spending {
    /// Tokens.
    pub tokens: u64,
    /// US dollars, as far as prices are known; counted in millionths of a millionth, rounded up.
    pub cost_usd: f64,
    /// Tool calls that started.
    pub tool_calls: u64,
    /// Sub-agents that were spawned.
    pub agents: u64,
}

impl Spending {
    /// Makes the spending of a usage; an unknown price costs nothing, and its tokens count.
    #[must_use]
    pub fn of(usage: &Usage, price: Option<&Price>) -> Self {
        Self {
            tokens: usage.total_tokens(),
            cost_usd: price.map_or(0.0, |price| price.cost_usd(usage)),
            ..Self::default()
        }
    }

    /// Makes the spending of one tool call.
    #[must_use]
    pub fn tool_call() -> Self {
        Self {
            tool_calls: 1,
            ..Self::default()
        }
    }

    /// Adds another one.
    pub fn add(&mut self, other: &Self) {
        self.tokens = self.tokens.saturating_add(other.tokens);
        self.cost_usd += other.cost_usd;
        self.tool_calls = self.tool_calls.saturating_add(other.tool_calls);
        self.agents = self.agents.saturating_add(other.agents);
    }
}

/// The books of a tree of agents: what was spent, and what calls under way may still spend.
///
/// A clone keeps the same books. Every agent of the tree reserves before a call and settles after it,
/// so agents that run at once never spend more than the budget together, but for what calls exceed
/// their own reservations. What was reserved and not settled is free again when its [`Reservation`]
/// is dropped: by a cancel, a panic, or an append that failed.
#[derive(Debug, Clone)]
pub struct Ledger {
    books: Arc<Mutex<Books>>,
    depth: u64,
}

#[derive(Debug)]
struct Books {
    budget: Budget,
    spent: Amounts,
    reserved: Amounts,
    agents_at_once: u64,
}

/// Spending in whole numbers, so that what is given back is what was taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Amounts {
    tokens: u128,
    /// Millionths of a millionth of a dollar.
    pico_usd: u128,
    tool_calls: u128,
    agents: u128,
}

/// Room in a ledger for one call. Dropping it frees the room.
#[derive(Debug)]
#[must_use = "a reservation that is dropped reserves nothing"]
pub struct Reservation {
    books: Arc<Mutex<Books>>,
    amounts: Amounts,
}

/// The place of a running sub-agent in its tree. Dropping it frees the place.
#[derive(Debug)]
#[must_use = "the place is free again once this is dropped"]
pub struct Place {
    ledger: Ledger,
}

impl Ledger {
    /// Opens the books of a tree that has spent nothing.
    #[must_use]
    pub fn new(budget: Budget) -> Self {
        let books = Books {
            budget,
            spent: Amounts::default(),
            reserved: Amounts::default(),
            agents_at_once: 0,
        };
        Self {
            books: Arc::new(Mutex::new(books)),
            depth: 0,
        }
    }

    /// Returns what the tree may spend.
    #[must_use]
    pub fn budget(&self) -> Budget {
        lock(&self.books).budget
    }

    /// Returns what was spent: settled, without what calls under way have reserved.
    #[must_use]
    pub fn spent(&self) -> Spending {
        lock(&self.books).spent.into()
    }

    /// Returns what calls under way have reserved.
    #[must_use]
    pub fn reserved(&self) -> Spending {
        lock(&self.books).reserved.into()
    }

    /// Returns how many agents are above this one: 0 for the root.
    #[must_use]
    pub fn depth(&self) -> u64 {
        self.depth
    }

    /// Reserves room for a call.
    ///
    /// # Errors
    /// The limit that is used up, or that the call would exceed together with what is reserved.
    pub fn reserve(&self, wanted: &Spending) -> Result<Reservation, LimitKind> {
        let amounts = Amounts::from(wanted);
        let mut books = lock(&self.books);
        books.check(&amounts)?;
        books.reserved.add(&amounts);
        Ok(self.reservation(amounts))
    }

    /// Reserves room for a call that may exceed the budget: the last one, with which an agent wraps
    /// up.
    pub fn reserve_beyond(&self, wanted: &Spending) -> Reservation {
        let amounts = Amounts::from(wanted);
        lock(&self.books).reserved.add(&amounts);
        self.reservation(amounts)
    }

    /// Counts what was spent without a reservation: before a crash, for one, as
    /// [`Spending::of_logs`] reads it.
    pub fn charge(&self, used: &Spending) {
        lock(&self.books).spent.add(&used.into());
    }

    /// Returns the limits of which four fifths are spent.
    #[must_use]
    pub fn near(&self) -> Vec<LimitKind> {
        let books = lock(&self.books);
        let near = books
            .limits()
            .filter(|(_, limit, of)| of(&books.spent) * 5 >= limit * 4);
        near.map(|(kind, ..)| kind).collect()
    }

    /// Takes the place of one more sub-agent, whose ledger is [`Place::ledger`].
    ///
    /// # Errors
    /// The limit that forbids one more: depth, sub-agents at once or in total.
    pub fn spawn(&self) -> Result<Place, LimitKind> {
        let mut books = lock(&self.books);
        let reached = |limit: Option<u64>, used: u128| limit.is_some_and(|it| used >= it.into());
        if reached(books.budget.depth, self.depth.into()) {
            return Err(LimitKind::Depth);
        }
        if reached(books.budget.agents, books.spent.agents) {
            return Err(LimitKind::Agents);
        }
        if reached(books.budget.agents_at_once, books.agents_at_once.into()) {
            return Err(LimitKind::AgentsAtOnce);
        }
        books.spent.agents += 1;
        books.agents_at_once += 1;
        let ledger = Self {
            books: Arc::clone(&self.books),
            depth: self.depth + 1,
        };
        Ok(Place { ledger })
    }

    /// Returns the points at which room is reserved: where nothing is limited, nobody is asked.
    pub(crate) fn points(&self) -> impl Iterator<Item = Point> + use<> {
        let budget = self.budget();
        let models = budget.tokens.is_some() || budget.cost_usd.is_some();
        let tools = budget.tool_calls.is_some();
        let points = [
            (models, Point::BeforeModel),
            (models, Point::BeforeCompaction),
            (tools, Point::BeforeTool),
        ];
        let claimed = points.into_iter().filter(|(is_claimed, _)| *is_claimed);
        claimed.map(|(_, point)| point)
    }

    fn reservation(&self, amounts: Amounts) -> Reservation {
        Reservation {
            books: Arc::clone(&self.books),
            amounts,
        }
    }
}

impl Reservation {
    /// Returns what is reserved.
    #[must_use]
    pub fn reserved(&self) -> Spending {
        self.amounts.into()
    }

    /// Puts what was really spent in the place of what was reserved, in one step.
    pub fn settle(mut self, used: &Spending) {
        let reserved = std::mem::take(&mut self.amounts);
        let mut books = lock(&self.books);
        books.reserved.subtract(&reserved);
        books.spent.add(&used.into());
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        lock(&self.books).reserved.subtract(&self.amounts);
    }
}

impl Place {
    /// Returns the ledger of the sub-agent: the same books, one level deeper.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut books = lock(&self.ledger.books);
        books.agents_at_once = books.agents_at_once.saturating_sub(1);
    }
}

/// What of the amounts counts for a limit.
type Of = fn(&Amounts) -> u128;

impl Books {
    fn limits(&self) -> impl Iterator<Item = (LimitKind, u128, Of)> + use<> {
        let Budget {
            tokens,
            cost_usd,
            tool_calls,
            agents,
            ..
        } = self.budget;
        let cost = cost_usd.filter(|limit| limit.is_finite());
        let limits: [(LimitKind, Option<u128>, Of); 4] = [
            (LimitKind::Tokens, tokens.map(u128::from), |it| it.tokens),
            (LimitKind::Cost, cost.map(pico_usd), |it| it.pico_usd),
            (LimitKind::ToolCalls, tool_calls.map(u128::from), |it| {
                it.tool_calls
            }),
            (LimitKind::Agents, agents.map(u128::from), |it| it.agents),
        ];
        let set = limits.into_iter();
        set.filter_map(|(kind, limit, of)| Some((kind, limit?, of)))
    }

    fn check(&self, wanted: &Amounts) -> Result<(), LimitKind> {
        let exceeded = self.limits().find(|(kind, limit, of)| {
            let (spent, wants) = (of(&self.spent), of(wanted));
            // A model whose price is not known may be asked until the others have spent all.
            let unpriced = *kind == LimitKind::Cost && wanted.tokens > 0;
            (wants > 0 && spent + of(&self.reserved) + wants > *limit)
                || (unpriced && spent >= *limit)
        });
        exceeded.map_or(Ok(()), |(kind, ..)| Err(kind))
    }
}

impl Amounts {
    fn add(&mut self, other: &Self) {
        self.tokens += other.tokens;
        self.pico_usd += other.pico_usd;
        self.tool_calls += other.tool_calls;
        self.agents += other.agents;
    }

    fn subtract(&mut self, other: &Self) {
        self.tokens -= other.tokens;
        self.pico_usd -= other.pico_usd;
        self.tool_calls -= other.tool_calls;
        self.agents -= other.agents;
    }
}

impl From<&Spending> for Amounts {
    fn from(spending: &Spending) -> Self {
        Self {
            tokens: spending.tokens.into(),
            pico_usd: pico_usd(spending.cost_usd),
            tool_calls: spending.tool_calls.into(),
            agents: spending.agents.into(),
        }
    }
}

impl From<Amounts> for Spending {
    fn from(amounts: Amounts) -> Self {
        let whole = |amount: u128| u64::try_from(amount).unwrap_or(u64::MAX);
        #[expect(
            clippy::cast_precision_loss,
            reason = "more digits than a price has are left"
        )]
        let cost_usd = amounts.pico_usd as f64 / 1e12;
        Self {
            tokens: whole(amounts.tokens),
            cost_usd,
            tool_calls: whole(amounts.tool_calls),
            agents: whole(amounts.agents),
        }
    }
}

/// Counts dollars in whole numbers. What is no amount is none, and what is too much is the most that
/// can be summed up.
fn pico_usd(usd: f64) -> u128 {
    const MOST: f64 = 1e24;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast to a whole number stops at its ends, and what is no number is zero"
    )]
    let whole = (usd * 1e12).ceil().min(MOST) as u128;
    whole
}

/// What is under the lock is whole after every step, also if a thread panicked.
fn lock(books: &Mutex<Books>) -> MutexGuard<'_, Books> {
    books.lock().unwrap_or_else(PoisonError::into_inner)
}
