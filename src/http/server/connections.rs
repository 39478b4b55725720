//! The connections that are open: how many there may be, and who gives way to
//! whom when they are short.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::client_key::ClientKey;
use super::deliveries::Deliveries;
use super::eviction::{OpenConnection, choose, slowest};
use super::request_state::RequestState;

/// Accepted clients that wait for a connection; more are closed.
const WAITING: usize = 256;
/// How long one waits: devices give up after 15 s.
const WAIT: Duration = Duration::from_secs(12);
/// Connections are short until none gave way for so long.
const SHORT_FOR: Duration = Duration::from_secs(60);

/// All connections of one kind.
#[derive(Debug)]
pub(super) struct Connections {
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    limit: usize,
    share: usize,
    next: u64,
    open: BTreeMap<u64, Arc<Connection>>,
    waiting: VecDeque<Waiting>,
    short: Option<Short>,
}

#[derive(Debug)]
struct Waiting {
    client: ClientKey,
    admit: oneshot::Sender<Arc<Connection>>,
}

/// One open connection.
#[derive(Debug)]
pub struct Connection {
    number: u64,
    client: ClientKey,
    use_of: Mutex<Use>,
    evicted: CancellationToken,
    deliveries: Arc<Deliveries>,
}

#[derive(Debug)]
struct Use {
    signed_in: bool,
    since: Instant,
    /// Of a connection that has come to HTTP.
    request: Option<Weak<RequestState>>,
}

/// The right to a connection; dropped, another client gets it.
#[derive(Debug)]
pub(super) struct Admitted {
    connections: Arc<Connections>,
    connection: Arc<Connection>,
}

/// What becomes of a client that was accepted.
#[derive(Debug)]
pub(super) enum Entry {
    Admitted(Admitted),
    Waiting {
        connections: Arc<Connections>,
        client: ClientKey,
        admitted: oneshot::Receiver<Arc<Connection>>,
    },
    /// Too many wait.
    TurnedAway,
}

/// Since when connections are short, by the last one that gave way or had to wait.
#[derive(Clone, Copy, Debug)]
struct Short {
    last: Instant,
    is_told: bool,
}

impl Connection {
    /// A credential was accepted in the request at hand.
    pub fn signed_in(&self) {
        let mut of = lock(&self.use_of);
        of.signed_in = true;
        of.since = Instant::now();
    }

    /// Its responses that may not have arrived yet.
    pub(super) fn deliveries(&self) -> &Arc<Deliveries> {
        &self.deliveries
    }

    /// Ends the slowest of the uploads that hardly move on these connections, so that others
    /// need not wait; whether there was one. What came of it is for its handler to keep.
    pub fn cut_slowest<'a>(connections: impl Iterator<Item = &'a Arc<Self>> + Clone) -> bool {
        let numbered = connections.clone().enumerate();
        let uploads = numbered.filter_map(|(at, one)| Some((at, one.facts().upload?)));
        let slowest = slowest(uploads, Instant::now());
        let mut connections = connections;
        let connection = slowest.and_then(|at| connections.nth(at));
        let state = connection.and_then(|one| lock(&one.use_of).request.as_ref()?.upgrade());
        state.is_some_and(|state| {
            state.cut_body();
            true
        })
    }

    /// Whose requests these are.
    pub(super) fn serves(&self, state: &Arc<RequestState>) {
        lock(&self.use_of).request = Some(Arc::downgrade(state));
    }

    /// Ends it now: nothing that is not sent yet is.
    pub fn cut_off(&self) {
        self.deliveries.drop_unsent();
        self.evicted.cancel();
    }

    /// Cancelled when it has to give way.
    pub(super) fn evicted(&self) -> &CancellationToken {
        &self.evicted
    }

    fn facts(&self) -> OpenConnection {
        let of = lock(&self.use_of);
        let state = of.request.as_ref().and_then(Weak::upgrade);
        OpenConnection {
            client: self.client,
            signed_in: of.signed_in,
            busy: state.as_ref().is_none_or(|state| state.is_busy()),
            since: of.since,
            upload: state.and_then(|state| state.upload()),
        }
    }
}

impl Connections {
    /// At most `limit` at once; `share` of them for one client without a credential when they
    /// are short.
    pub(super) fn new(limit: usize, share: usize) -> Arc<Self> {
        Arc::new(Self {
            table: Mutex::new(Table {
                limit: limit.max(1),
                share,
                next: 0,
                open: BTreeMap::new(),
                waiting: VecDeque::new(),
                short: None,
            }),
        })
    }

    /// Changes how many there may be. Those that are open stay.
    pub(super) fn resize(self: &Arc<Self>, limit: usize, share: usize) {
        let mut table = lock(&self.table);
        table.limit = limit.max(1);
        table.share = share;
        table.serve_waiting();
    }

    /// Whether the next client has to wait or another has to give way.
    pub(super) fn are_taken(&self) -> bool {
        let table = lock(&self.table);
        table.open.len() >= table.limit
    }

    /// Lets a client in whatever the limit.
    pub(super) fn enter_always(self: &Arc<Self>, client: ClientKey) -> Entry {
        let mut table = lock(&self.table);
        if table.open.len() >= table.limit {
            table.evict_for(client);
        }
        let connection = table.open(client);
        drop(table);
        Entry::Admitted(self.admitted(connection))
    }

    /// Lets a client in, at the cost of another if need be, or into the queue. To be called in
    /// the order in which clients come.
    pub(super) fn enter(self: &Arc<Self>, client: ClientKey) -> Entry {
        let mut table = lock(&self.table);
        if table.open.len() < table.limit || table.evict_for(client) {
            let connection = table.open(client);
            drop(table);
            return Entry::Admitted(self.admitted(connection));
        }
        match table.wait(client) {
            Some(admitted) => Entry::Waiting {
                connections: Arc::clone(self),
                client,
                admitted,
            },
            None => Entry::TurnedAway,
        }
    }

    /// Waits until another client leaves or has to give way.
    async fn admitted_later(
        &self,
        client: ClientKey,
        mut waiting: oneshot::Receiver<Arc<Connection>>,
    ) -> Option<Arc<Connection>> {
        loop {
            match timeout(LOOK_EVERY, &mut waiting).await {
                Ok(admitted) => return admitted.ok(),
                Err(_) => {
                    let mut table = lock(&self.table);
                    if table.evict_for(client) {
                        table.serve_waiting();
                    }
                }
            }
        }
    }

    fn admitted(self: &Arc<Self>, connection: Arc<Connection>) -> Admitted {
        Admitted {
            connections: Arc::clone(self),
            connection,
        }
    }

    /// If connections are short: the clients with the most that have shown no credential, and
    /// how many. `Some` is told once until they are short no longer.
    pub(super) fn tell_short(&self) -> Option<Vec<(ClientKey, usize)>> {
        let mut table = lock(&self.table);
        let short = table.short.as_mut()?;
        let is_told = std::mem::replace(&mut short.is_told, true);
        (!is_told).then(|| table.holders())
    }

    /// As [`Self::tell_short`], as often as it is asked.
    pub(super) fn short(&self) -> Option<Vec<(ClientKey, usize)>> {
        let table = lock(&self.table);
        let short = table.short?;
        (short.last.elapsed() < SHORT_FOR).then(|| table.holders())
    }
}

impl Table {
    fn open(&mut self, client: ClientKey) -> Arc<Connection> {
        self.next += 1;
        let connection = Arc::new(Connection {
            number: self.next,
            client,
            use_of: Mutex::new(Use {
                signed_in: false,
                since: Instant::now(),
                request: None,
            }),
            evicted: CancellationToken::new(),
            deliveries: Arc::default(),
        });
        self.open.insert(self.next, Arc::clone(&connection));
        connection
    }

    /// Ends a connection for `newcomer`; whether there was one to end.
    fn evict_for(&mut self, newcomer: ClientKey) -> bool {
        let now = Instant::now();
        let is_told = self.short.is_some_and(|short| {
            short.is_told && now.saturating_duration_since(short.last) < SHORT_FOR
        });
        self.short = Some(Short { last: now, is_told });
        let facts: Vec<_> = self
            .open
            .iter()
            .map(|(key, one)| (*key, one.facts()))
            .collect();
        let Some(key) = choose(facts.iter().copied(), newcomer, self.share, now) else {
            return false;
        };
        let evicted = self.open.remove(&key);
        if let Some(evicted) = &evicted {
            evicted.evicted.cancel();
        }
        evicted.is_some()
    }

    /// Puts a client into the queue; `None` if it is full.
    fn wait(&mut self, client: ClientKey) -> Option<oneshot::Receiver<Arc<Connection>>> {
        self.waiting.retain(|one| !one.admit.is_closed());
        if self.waiting.len() >= WAITING {
            // whoever has the most in it gives up its newest place
            let mut places: HashMap<ClientKey, usize> = HashMap::new();
            for one in &self.waiting {
                *places.entry(one.client).or_default() += 1;
            }
            let (most, count) = places.iter().max_by_key(|(_, count)| **count)?;
            let own = places.get(&client).copied().unwrap_or(0);
            if own + 1 >= *count {
                return None;
            }
            let at = self.waiting.iter().rposition(|one| one.client == *most)?;
            self.waiting.remove(at);
        }
        let (admit, admitted) = oneshot::channel();
        self.waiting.push_back(Waiting { client, admit });
        Some(admitted)
    }

    /// Gives what is free to who waits: first to clients that hold the fewest.
    fn serve_waiting(&mut self) {
        while self.open.len() < self.limit {
            let holds = |client: ClientKey| {
                let open = self.open.values();
                open.filter(|one| one.client == client).count()
            };
            let waiting = self.waiting.iter().enumerate();
            let next = waiting.min_by_key(|(at, one)| (holds(one.client), *at));
            let Some(next) = next
                .map(|(at, _)| at)
                .and_then(|at| self.waiting.remove(at))
            else {
                return;
            };
            let connection = self.open(next.client);
            if let Err(unclaimed) = next.admit.send(connection) {
                // it gave up meanwhile
                self.open.remove(&unclaimed.number);
            }
        }
    }

    /// Clients by how many connections they hold without a credential, most first.
    fn holders(&self) -> Vec<(ClientKey, usize)> {
        let mut held: BTreeMap<ClientKey, usize> = BTreeMap::new();
        for one in self
            .open
            .values()
            .filter(|one| !lock(&one.use_of).signed_in)
        {
            *held.entry(one.client).or_default() += 1;
        }
        let mut held: Vec<_> = held.into_iter().collect();
        held.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        held
    }
}

impl Entry {
    /// The connection; `None` if too many wait or it took too long.
    pub(super) async fn admitted(self) -> Option<Admitted> {
        match self {
            Self::Admitted(admitted) => Some(admitted),
            Self::TurnedAway => None,
            Self::Waiting {
                connections,
                client,
                admitted,
            } => {
                let later = connections.admitted_later(client, admitted);
                let connection = timeout(WAIT, later).await.ok()??;
                Some(connections.admitted(connection))
            }
        }
    }
}

impl Admitted {
    /// The connection that it is a right to.
    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut table = lock(&self.connections.table);
        if table.open.remove(&self.connection.number).is_some() {
            table.serve_waiting();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often who waits looks whether another has to give way meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests;
