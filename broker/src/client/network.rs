//! Connections and requests in flight: Kafka's `NetworkClient` with `ClusterConnectionStates` and
//! `InFlightRequests`.
//!
//! Modelled: one connection per broker for data, one to the group coordinator of its own
//! (`AbstractCoordinator` gives it the id `Integer.MAX_VALUE - node.id`) and one per bootstrap
//! address (Kafka gives those negative ids); ApiVersions first on each of them; answers in the order
//! of the requests; `request.timeout.ms`, after which the connection is closed and everything in
//! flight on it fails (`handleTimedOutRequests`); the connection setup timeout, doubling with each
//! failure; the reconnect back-off; metadata requests to the least loaded node, before anything else
//! (`NetworkClient.isReady`).
//!
//! A frame counts as sent when it is handed to the world: socket buffers have no end here, so
//! `InFlightRequests.canSendMore` looks at the number of requests only.
//!
//! NOT modelled: throttling, authentication, DNS, `connections.max.idle.ms`, downgrade of versions.

use super::backoff::ExponentialBackoff;
use super::metadata::Metadata;
use crate::env::{ConnId, Env};
use crate::ids::*;
use crate::time::{Nanos, millis};
use crate::wire::{ApiKey, ApiVersionsRequest, Frame, Request, Response};
use std::collections::VecDeque;

/// One connection of the client. Kafka keeps them apart by node id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Link {
    /// To a bootstrap address, before its broker's id is known.
    Bootstrap(NodeId),
    /// To a broker of the snapshot.
    Data(NodeId),
    /// To the group coordinator, apart from the data connection to the same broker.
    Coordinator(NodeId),
}

impl Link {
    fn node(self) -> NodeId {
        match self {
            Link::Bootstrap(node) | Link::Data(node) | Link::Coordinator(node) => node,
        }
    }
}

/// `ConnectionState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Disconnected,
    Connecting,
    CheckingApiVersions,
    Ready,
}

/// Who waits for an answer.
#[derive(Debug)]
enum Purpose<T> {
    ApiVersions,
    /// With the version of `Metadata::new_request`.
    Metadata(u64),
    Caller(T),
}

#[derive(Debug)]
struct InFlight<T> {
    correlation_id: i32,
    api: ApiKey,
    deadline: Nanos,
    purpose: Purpose<T>,
}

#[derive(Debug)]
struct Connection<T> {
    link: Link,
    state: State,
    conn: Option<ConnId>,
    last_connect_attempt: Nanos,
    /// No connect before this instant.
    retry_at: Nanos,
    failed_attempts: u32,
    failed_connects: u32,
    /// When a connect that is under way is given up.
    connect_deadline: Nanos,
    in_flight: VecDeque<InFlight<T>>,
    /// Somebody wanted to send while the reconnect back-off ran.
    wanted: bool,
}

impl<T> Connection<T> {
    /// `NetworkClient.canSendRequest`.
    fn can_send(&self, max_in_flight: usize) -> bool {
        self.state == State::Ready && self.in_flight.len() < max_in_flight
    }
}

/// How a request ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Answered.
    Response(Response),
    /// The connection was lost, or closed by this client.
    Disconnected,
    /// No answer within `request.timeout.ms`; the connection was closed for it.
    TimedOut,
    /// It waited for its connection for `request.timeout.ms` (`ConsumerNetworkClient.failExpiredRequests`,
    /// a TimeoutException). The producer lets nothing wait there.
    NotSent,
}

/// A request of the engine that has ended.
#[derive(Debug)]
pub(crate) struct Completion<T> {
    pub link: Link,
    pub tag: T,
    pub outcome: Outcome,
}

/// The settings of both engines that concern the network.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NetworkConfig {
    pub request_timeout_ms: i64,
    pub reconnect_backoff_ms: i64,
    pub reconnect_backoff_max_ms: i64,
    pub socket_connection_setup_timeout_ms: i64,
    pub socket_connection_setup_timeout_max_ms: i64,
    pub max_in_flight_requests_per_connection: usize,
}

/// The client's connections. `T` says what the engine wants to know again when a request ends.
#[derive(Debug)]
pub(crate) struct NetworkClient<T> {
    pub metadata: Metadata,
    connections: Vec<Connection<T>>,
    completions: VecDeque<Completion<T>>,
    reconnect_backoff: ExponentialBackoff,
    setup_timeout: ExponentialBackoff,
    request_timeout: Nanos,
    max_in_flight: usize,
    next_correlation_id: i32,
    metadata_in_progress: bool,
}

impl<T> NetworkClient<T> {
    pub(crate) fn new(config: NetworkConfig, metadata: Metadata) -> Self {
        NetworkClient {
            metadata,
            connections: Vec::new(),
            completions: VecDeque::new(),
            reconnect_backoff: ExponentialBackoff::new(
                config.reconnect_backoff_ms,
                config.reconnect_backoff_max_ms,
            ),
            setup_timeout: ExponentialBackoff::new(
                config.socket_connection_setup_timeout_ms,
                config.socket_connection_setup_timeout_max_ms,
            ),
            request_timeout: millis(config.request_timeout_ms),
            max_in_flight: config.max_in_flight_requests_per_connection,
            next_correlation_id: 0,
            metadata_in_progress: false,
        }
    }

    fn find(&self, link: Link) -> Option<&Connection<T>> {
        self.connections.iter().find(|c| c.link == link)
    }

    fn index_of(&self, link: Link) -> Option<usize> {
        self.connections.iter().position(|c| c.link == link)
    }

    fn index_of_conn(&self, conn: ConnId) -> Option<usize> {
        self.connections.iter().position(|c| c.conn == Some(conn))
    }

    /// The next request that has ended otherwise than by its answer.
    pub(crate) fn next_completion(&mut self) -> Option<Completion<T>> {
        self.completions.pop_front()
    }

    /// `NetworkClient.ready`: whether a request could be sent now; begins to connect where not.
    pub(crate) fn ready(&mut self, link: Link, env: &mut Env<'_>) -> bool {
        if self.can_send(link) {
            return !self.is_metadata_update_due(env.now);
        }
        self.try_connect(link, env);
        false
    }

    /// `ClusterConnectionStates.canConnect` and `NetworkClient.initiateConnect`.
    pub(crate) fn try_connect(&mut self, link: Link, env: &mut Env<'_>) {
        let index = match self.index_of(link) {
            Some(index) => index,
            None => {
                self.connections.push(Connection {
                    link,
                    state: State::Disconnected,
                    conn: None,
                    last_connect_attempt: 0,
                    retry_at: 0,
                    failed_attempts: 0,
                    failed_connects: 0,
                    connect_deadline: Nanos::MAX,
                    in_flight: VecDeque::new(),
                    wanted: false,
                });
                self.connections.len() - 1
            }
        };
        let setup_timeout = self.setup_timeout;
        let connection = &mut self.connections[index];
        if connection.state != State::Disconnected {
            return;
        }
        if env.now < connection.retry_at {
            connection.wanted = true;
            return;
        }
        connection.wanted = false;
        connection.state = State::Connecting;
        connection.last_connect_attempt = env.now;
        let timeout = setup_timeout.after(connection.failed_connects, env.rng);
        connection.connect_deadline = env.now.saturating_add(timeout);
        connection.conn = Some(env.connect(link.node()));
    }

    /// `NetworkClient.canSendRequest`.
    pub(crate) fn can_send(&self, link: Link) -> bool {
        self.find(link)
            .is_some_and(|c| c.can_send(self.max_in_flight))
    }

    /// Whether ApiVersions was answered on the connection.
    pub(crate) fn knows_api_versions(&self, link: Link) -> bool {
        self.find(link).is_some_and(|c| c.state == State::Ready)
    }

    /// `NetworkClient.connectionFailed`: it was tried and is down.
    pub(crate) fn connection_failed(&self, link: Link) -> bool {
        self.find(link)
            .is_some_and(|c| c.state == State::Disconnected)
    }

    /// `NetworkClientUtils.isUnavailable`: down, and the reconnect back-off runs.
    pub(crate) fn is_unavailable(&self, link: Link, now: Nanos) -> bool {
        self.find(link)
            .is_some_and(|c| c.state == State::Disconnected && now < c.retry_at)
    }

    /// `NetworkClient.hasReadyNodes`.
    pub(crate) fn has_ready_nodes(&self) -> bool {
        self.connections.iter().any(|c| c.state == State::Ready)
    }

    /// Sends a request on a ready connection.
    pub(crate) fn send(&mut self, link: Link, request: Request, tag: T, env: &mut Env<'_>) {
        let purpose = Purpose::Caller(tag);
        match self.index_of(link) {
            Some(index) if self.connections[index].can_send(self.max_in_flight) => {
                self.do_send(index, request, purpose, env);
            }
            _ => panic!("send on {link:?}, which is not ready"),
        }
    }

    /// Sends a request that is never answered (acks=0): complete once it is handed to the socket.
    pub(crate) fn send_one_way(&mut self, link: Link, request: Request, env: &mut Env<'_>) {
        let connection = self.find(link).expect("one-way request without connection");
        assert_eq!(connection.state, State::Ready, "one-way send on {link:?}");
        let conn = connection.conn.expect("ready without connection");
        let id = self.new_correlation_id();
        env.send(conn, Frame::request(id, request));
    }

    fn do_send(&mut self, index: usize, request: Request, purpose: Purpose<T>, env: &mut Env<'_>) {
        let correlation_id = self.new_correlation_id();
        let deadline = env.now.saturating_add(self.request_timeout);
        let connection = &mut self.connections[index];
        connection.in_flight.push_back(InFlight {
            correlation_id,
            api: request.api(),
            deadline,
            purpose,
        });
        let conn = connection.conn.expect("send on a closed connection");
        env.send(conn, Frame::request(correlation_id, request));
    }

    fn new_correlation_id(&mut self) -> i32 {
        let id = self.next_correlation_id;
        self.next_correlation_id = id.wrapping_add(1) & i32::MAX;
        id
    }

    /// `NetworkClient.handleConnections`: ApiVersions is the first request.
    pub(crate) fn connected(&mut self, conn: ConnId, env: &mut Env<'_>) {
        let Some(index) = self.index_of_conn(conn) else {
            return;
        };
        let connection = &mut self.connections[index];
        assert_eq!(
            connection.state,
            State::Connecting,
            "connected twice: {:?}",
            connection.link
        );
        connection.state = State::CheckingApiVersions;
        connection.failed_connects = 0;
        connection.connect_deadline = Nanos::MAX;
        let request = Request::ApiVersions(ApiVersionsRequest);
        self.do_send(index, request, Purpose::ApiVersions, env);
    }

    /// The connection is gone: `NetworkClient.handleDisconnections`.
    pub(crate) fn closed(&mut self, conn: ConnId, env: &mut Env<'_>) {
        if let Some(index) = self.index_of_conn(conn) {
            self.process_disconnection(index, false, env);
        }
    }

    /// `NetworkClient.handleCompletedReceives`. Answers come in the order of the requests; the request
    /// of the engine that has ended with this one is handed back.
    pub(crate) fn received(
        &mut self,
        conn: ConnId,
        frame: Frame,
        env: &mut Env<'_>,
    ) -> Option<Completion<T>> {
        let index = self.index_of_conn(conn)?;
        let Frame::Response(id, response) = frame else {
            panic!("a client received the request {frame:?}");
        };
        let connection = &mut self.connections[index];
        let link = connection.link;
        let request = connection
            .in_flight
            .pop_front()
            .unwrap_or_else(|| panic!("{link:?} answered {id}, which nobody asked"));
        assert_eq!(
            (request.correlation_id, request.api),
            (id, response.api()),
            "{link:?} answered out of order"
        );
        match request.purpose {
            Purpose::Caller(tag) => {
                let outcome = Outcome::Response(*response);
                return Some(Completion { link, tag, outcome });
            }
            Purpose::ApiVersions => self.handle_api_versions(index, &response, env),
            Purpose::Metadata(version) => {
                let Response::Metadata(answer) = &*response else {
                    unreachable!("checked above");
                };
                self.metadata_in_progress = false;
                self.metadata.update(version, answer, env.now, env.rng);
            }
        }
        None
    }

    #[cold]
    fn handle_api_versions(&mut self, index: usize, response: &Response, env: &mut Env<'_>) {
        let Response::ApiVersions(answer) = response else {
            unreachable!("checked by the caller");
        };
        if !answer.error.is_none() {
            self.close_connection(index, false, env);
            return;
        }
        let connection = &mut self.connections[index];
        connection.state = State::Ready;
        connection.failed_attempts = 0;
    }

    /// `NetworkClient.disconnect`: closes it from this side. That is no sign of stale metadata.
    pub(crate) fn disconnect(&mut self, link: Link, env: &mut Env<'_>) {
        if let Some(index) = self.index_of(link)
            && self.connections[index].state != State::Disconnected
        {
            if let Some(conn) = self.connections[index].conn {
                env.close(conn);
            }
            self.disconnected(index, false, env);
        }
    }

    /// Closes everything, at the end of the engine.
    pub(crate) fn close_all(&mut self, env: &mut Env<'_>) {
        for connection in self.connections.drain(..) {
            if let Some(conn) = connection.conn {
                env.close(conn);
            }
        }
    }

    #[cold]
    fn close_connection(&mut self, index: usize, timed_out: bool, env: &mut Env<'_>) {
        if let Some(conn) = self.connections[index].conn {
            env.close(conn);
        }
        self.process_disconnection(index, timed_out, env);
    }

    /// `NetworkClient.processDisconnection`, with `DefaultMetadataUpdater.handleServerDisconnect`.
    fn process_disconnection(&mut self, index: usize, timed_out: bool, env: &mut Env<'_>) {
        self.disconnected(index, timed_out, env);
        if self.is_metadata_update_due(env.now) {
            self.metadata.failed_update(env.now, env.rng);
        }
        self.metadata.request_update(false);
    }

    /// `ClusterConnectionStates.disconnected` and `NetworkClient.cancelInFlightRequests`.
    fn disconnected(&mut self, index: usize, timed_out: bool, env: &mut Env<'_>) {
        let reconnect_backoff = self.reconnect_backoff;
        let connection = &mut self.connections[index];
        let link = connection.link;
        connection.conn = None;
        connection.last_connect_attempt = env.now;
        let wait = reconnect_backoff.after(connection.failed_attempts, env.rng);
        connection.retry_at = env.now.saturating_add(wait);
        connection.failed_attempts = connection.failed_attempts.saturating_add(1);
        connection.failed_connects = match connection.state {
            State::Connecting => connection.failed_connects.saturating_add(1),
            _ => 0,
        };
        connection.connect_deadline = Nanos::MAX;
        connection.state = State::Disconnected;
        // Oldest first, as InFlightRequests.clearAll hands them out.
        for request in std::mem::take(&mut connection.in_flight) {
            match request.purpose {
                Purpose::ApiVersions => {}
                Purpose::Metadata(_) => {
                    self.metadata_in_progress = false;
                    self.metadata.failed_update(env.now, env.rng);
                }
                Purpose::Caller(tag) => self.completions.push_back(Completion {
                    link,
                    tag,
                    outcome: match timed_out {
                        true => Outcome::TimedOut,
                        false => Outcome::Disconnected,
                    },
                }),
            }
        }
    }

    fn is_metadata_update_due(&self, now: Nanos) -> bool {
        !self.metadata_in_progress && self.metadata.next_update_at(now) <= now
    }

    /// Whether the engine has something to look at without any input: a request that has ended, or a
    /// metadata update that is due and found no node to ask.
    pub(crate) fn has_news(&self, now: Nanos) -> bool {
        !self.completions.is_empty() || self.is_metadata_update_due(now)
    }

    /// What `NetworkClient.poll` does besides reading: metadata, timeouts. True where something
    /// happened.
    pub(crate) fn poll(&mut self, env: &mut Env<'_>) -> bool {
        let due = self.is_metadata_update_due(env.now);
        let mut happened = due && self.update_metadata(env);
        for index in 0..self.connections.len() {
            let connection = &self.connections[index];
            let late = connection.connect_deadline <= env.now
                || connection
                    .in_flight
                    .front()
                    .is_some_and(|request| request.deadline <= env.now);
            if late && connection.conn.is_some() {
                self.close_connection(index, true, env);
                happened = true;
            }
        }
        happened
    }

    /// `DefaultMetadataUpdater.maybeUpdate`.
    #[cold]
    fn update_metadata(&mut self, env: &mut Env<'_>) -> bool {
        let mut node = self.least_loaded_node(env);
        if node.is_none() && self.metadata.nodes().is_some() && !self.has_ready_nodes() {
            self.metadata.rebootstrap();
            node = self.least_loaded_node(env);
        }
        let Some(link) = node else {
            return false;
        };
        if let Some(index) = self.index_of(link)
            && self.connections[index].can_send(self.max_in_flight)
        {
            let (request, version) = self.metadata.new_request();
            self.metadata_in_progress = true;
            let purpose = Purpose::Metadata(version);
            self.do_send(index, Request::Metadata(request), purpose, env);
            return true;
        }
        let connecting = self
            .fetch_nodes()
            .any(|l| self.find(l).is_some_and(|c| c.state == State::Connecting));
        if !connecting {
            self.try_connect(link, env);
        }
        false
    }

    fn fetch_nodes(&self) -> impl Iterator<Item = Link> {
        let known = self.metadata.nodes();
        let bootstrap = known.is_none().then(|| self.metadata.bootstrap_nodes());
        known
            .into_iter()
            .flatten()
            .map(|n| Link::Data(*n))
            .chain(bootstrap.into_iter().flatten().map(|n| Link::Bootstrap(*n)))
    }

    /// `NetworkClient.leastLoadedNode`: the ready node with the fewest requests in flight, from a
    /// random start; else one that is being connected; else the one not tried for the longest time.
    pub(crate) fn least_loaded_node(&self, env: &mut Env<'_>) -> Option<Link> {
        let count = self.fetch_nodes().count();
        let offset = env.rng.below(count as u64) as usize;
        let mut ready: Option<(usize, Link)> = None;
        let mut connecting = None;
        let mut can_connect: Option<(Nanos, Link)> = None;
        for link in self
            .fetch_nodes()
            .skip(offset)
            .chain(self.fetch_nodes().take(offset))
        {
            let Some(connection) = self.find(link) else {
                if can_connect.is_none_or(|(at, _)| at > 0) {
                    can_connect = Some((0, link));
                }
                continue;
            };
            let in_flight = connection.in_flight.len();
            match connection.state {
                State::Ready if in_flight < self.max_in_flight => {
                    if in_flight == 0 {
                        return Some(link);
                    }
                    if ready.is_none_or(|(least, _)| in_flight < least) {
                        ready = Some((in_flight, link));
                    }
                }
                State::Connecting | State::CheckingApiVersions => connecting = Some(link),
                State::Disconnected if connection.retry_at <= env.now => {
                    let at = connection.last_connect_attempt;
                    if can_connect.is_none_or(|(oldest, _)| oldest > at) {
                        can_connect = Some((at, link));
                    }
                }
                _ => {}
            }
        }
        ready
            .map(|(_, link)| link)
            .or(connecting)
            .or(can_connect.map(|(_, link)| link))
    }

    /// When `poll` should run next, at the latest.
    pub(crate) fn next_deadline(&self, now: Nanos) -> Nanos {
        let mut next = Nanos::MAX;
        let metadata_waits = !self.metadata_in_progress;
        let update_at = match metadata_waits {
            true => self.metadata.next_update_at(now),
            false => Nanos::MAX,
        };
        if update_at > now {
            next = update_at;
        }
        for connection in &self.connections {
            next = next.min(connection.connect_deadline);
            if let Some(request) = connection.in_flight.front() {
                next = next.min(request.deadline);
            }
            // An update that is due and found no node to ask waits for the first that may be tried.
            let wanted = connection.wanted || (metadata_waits && update_at <= now);
            if wanted && connection.state == State::Disconnected && connection.retry_at > now {
                next = next.min(connection.retry_at);
            }
        }
        next
    }

    /// `NetworkClient.hasInFlightRequests`.
    pub(crate) fn has_in_flight_requests(&self) -> bool {
        self.connections.iter().any(|c| !c.in_flight.is_empty())
    }
}
