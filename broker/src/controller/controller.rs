//! The controller process: `ControllerServer` with its `QuorumController`, as the only voter.
//!
//! Requests enter one event queue and are handled one at a time against the image of everything
//! appended so far. An answer leaves once the records that it rests on are committed
//! (`ControllerPurgatory`): its own, or for a request that wrote none whatever was pending then. An
//! error that refuses a request as a whole leaves at once. Periodic tasks run through the same queue
//! at the pace of `PeriodicTaskControlManager`.
//!
//! Not modelled: requests do not expire in the queue; a metadata Fetch is served by the same queue, where Kafka has a thread of its own
//! for the quorum; the topics of a run are created by nobody's request, but as soon as every broker of
//! their assignment is unfenced; dynamic settings of brokers and of the cluster; the clean shutdown of
//! the controller itself.

use super::admin::{AdminCommand, TopicSpec};
use super::heartbeat::{BrokerControlState, BrokerHeartbeatManager};
use super::image::MetadataImage;
use super::record::*;
use super::replication::ReplicationControl;
use crate::bug::Bug;
use crate::config::BrokerConfig;
use crate::env::*;
use crate::fact::Fact;
use crate::ids::*;
use crate::quorum::{MetadataLog, QuorumError};
use crate::time::{MICROS, MILLIS, Nanos, millis};
use crate::wire::*;
use smallvec::smallvec;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What one request takes of the controller's event queue.
const REQUEST_COST: Nanos = 30 * MICROS;
/// What answering ApiVersions takes.
const API_VERSIONS_COST: Nanos = 10 * MICROS;
/// What a periodic task or an operator's command takes.
const TASK_COST: Nanos = 20 * MICROS;
/// `PeriodicTaskControlManager`: how soon a task runs again that has more to do.
const TASK_AGAIN: Nanos = 10 * MILLIS;
/// `ProducerIdsBlock.PRODUCER_ID_BLOCK_SIZE`.
const PRODUCER_ID_BLOCK: i32 = 1000;

const FENCE_STALE: TimerToken = TimerToken(0);
const ELECT_UNCLEAN: TimerToken = TimerToken(1);
const ELECT_PREFERRED: TimerToken = TimerToken(2);
/// Timers of waiting fetches count from here.
const FETCH_TIMERS: u64 = 3;

/// An event in the controller's queue.
#[derive(Debug)]
enum Work {
    Request(ConnId, i32, Box<Request>),
    /// `maybeFenceStaleBroker`.
    FenceStaleBroker,
    /// `electUnclean`.
    ElectUncleanLeaders,
    /// `electPreferred`, with `auto.leader.rebalance.enable`.
    ElectPreferredLeaders,
    /// The initial topics whose brokers are all there.
    CreateTopics,
    Admin(AdminCommand),
}

/// What waits for a commit.
#[derive(Debug)]
enum Deferred {
    Fact(Fact),
    Answer(ConnId, Frame),
}

/// An observer's Fetch that waits for records.
#[derive(Debug)]
struct WaitingFetch {
    conn: ConnId,
    correlation: i32,
    request: FetchRequest,
}

/// The only controller of a cluster. See the head of this module.
#[derive(Debug)]
pub struct Controller {
    config: BrokerConfig,
    bug: Option<Bug>,
    /// Initial topics that are not created yet.
    topics: Vec<TopicSpec>,
    log: Option<MetadataLog>,
    image: MetadataImage,
    heartbeats: BrokerHeartbeatManager,
    connections: BTreeSet<ConnId>,
    queue: VecDeque<Work>,
    /// `CreateTopics` is in the queue.
    creating: bool,
    /// By the offset that has to be committed, ascending.
    deferred: VecDeque<(Offset, Deferred)>,
    waiting: BTreeMap<u64, WaitingFetch>,
    next_timer: u64,
}

impl Controller {
    /// A controller that has not started. `config` is the controller's own: its session timeout, its
    /// interval of unclean elections and its defaults of topic settings count. Topics in `topics` that its log already has are left as
    /// they are.
    pub fn new(config: BrokerConfig, topics: Vec<TopicSpec>, bug: Option<Bug>) -> Controller {
        let image = MetadataImage::new();
        let heartbeats = BrokerHeartbeatManager::activate(0, &image, 0);
        Controller {
            config,
            bug,
            topics,
            log: None,
            image,
            heartbeats,
            connections: BTreeSet::new(),
            queue: VecDeque::new(),
            creating: false,
            deferred: VecDeque::new(),
            waiting: BTreeMap::new(),
            next_timer: FETCH_TIMERS,
        }
    }

    /// The metadata with every record that this controller has appended, the last of which may not
    /// be committed yet.
    pub fn image(&self) -> &MetadataImage {
        &self.image
    }

    /// The metadata log, from the start of the process on.
    pub fn log(&self) -> Option<&MetadataLog> {
        self.log.as_ref()
    }

    fn active_log(&self) -> &MetadataLog {
        self.log
            .as_ref()
            .expect("Start comes before any other input")
    }

    fn rules(&self) -> ReplicationControl<'_> {
        ReplicationControl {
            image: &self.image,
            defaults: &self.config.topic_defaults,
            bug: self.bug,
        }
    }

    fn session_timeout(&self) -> Nanos {
        millis(self.config.broker_session_timeout_ms)
    }

    /// `maybeFenceStaleBrokerPeriodNs`: eight looks a session.
    fn fence_period(&self) -> Nanos {
        (self.session_timeout() / 8).max(MILLIS)
    }

    fn unclean_interval(&self) -> Nanos {
        millis(self.config.unclean_leader_election_interval_ms)
    }

    fn imbalance_interval(&self) -> Nanos {
        let seconds = self.config.leader_imbalance_check_interval_seconds;
        millis(seconds.saturating_mul(1_000))
    }

    fn start(&mut self, env: &mut Env<'_>) -> Result<(), QuorumError> {
        let (log, records) = MetadataLog::open(NodeId::FIRST_CONTROLLER as i32, env)?;
        for (offset, record) in &records {
            self.image.apply(record, *offset);
        }
        self.log = Some(log);
        let session_timeout = self.session_timeout();
        self.heartbeats = BrokerHeartbeatManager::activate(session_timeout, &self.image, env.now);
        let image = &self.image;
        self.topics.retain(|t| image.topic_id(&t.name).is_none());
        // ActivationRecordsGenerator.recordsForEmptyLog.
        if records.is_empty() {
            let bootstrap = MetadataRecord::FeatureLevel {
                name: METADATA_VERSION_FEATURE.to_string(),
                level: METADATA_VERSION_LEVEL,
            };
            self.append(vec![bootstrap], env)?;
        }
        env.timer_in(self.fence_period(), FENCE_STALE);
        env.timer_in(self.unclean_interval(), ELECT_UNCLEAN);
        if self.config.auto_leader_rebalance_enable {
            env.timer_in(self.imbalance_interval(), ELECT_PREFERRED);
        }
        self.maybe_create_topics(env);
        Ok(())
    }

    fn enqueue(&mut self, work: Work, cost: Nanos, env: &mut Env<'_>) {
        self.queue.push_back(work);
        env.serve(Queue::Controller, cost);
    }

    fn received(&mut self, conn: ConnId, frame: Frame, env: &mut Env<'_>) {
        match frame {
            Frame::Request(correlation, request) if is_controller_api(request.api()) => {
                // A heartbeat counts on arrival, before it queues (KAFKA-17793).
                if let Request::BrokerHeartbeat(r) = &*request {
                    self.heartbeats
                        .update_contact_time(r.broker, r.broker_epoch, env.now);
                }
                let cost = match *request {
                    Request::ApiVersions(_) => API_VERSIONS_COST,
                    _ => REQUEST_COST,
                };
                self.enqueue(Work::Request(conn, correlation, request), cost, env);
            }
            // SocketServer closes a connection that asks for an API which its listener does not have.
            _ => {
                if self.connections.remove(&conn) {
                    env.close(conn);
                }
            }
        }
    }

    fn serve(&mut self, env: &mut Env<'_>) -> Result<(), QuorumError> {
        let work = self.queue.pop_front().expect("one Serve for each event");
        match work {
            Work::Request(conn, correlation, request) => {
                self.handle_request(conn, correlation, *request, env)?
            }
            Work::FenceStaleBroker => self.fence_stale_broker(env)?,
            Work::ElectUncleanLeaders => {
                let records = self.rules().elect_unclean_leaders();
                self.append(records, env)?;
                env.timer_in(self.unclean_interval(), ELECT_UNCLEAN);
            }
            Work::ElectPreferredLeaders => {
                let records = self.rules().balance_partition_leaders();
                self.append(records, env)?;
                env.timer_in(self.imbalance_interval(), ELECT_PREFERRED);
            }
            Work::CreateTopics => self.create_topics(env)?,
            Work::Admin(AdminCommand::MoveLeader { partition, to }) => {
                let records = self.rules().move_leader(partition, to);
                self.append(records, env)?;
            }
        }
        self.maybe_create_topics(env);
        Ok(())
    }

    fn handle_request(
        &mut self,
        conn: ConnId,
        correlation: i32,
        request: Request,
        env: &mut Env<'_>,
    ) -> Result<(), QuorumError> {
        let answer = match request {
            Request::ApiVersions(_) => Err(Response::ApiVersions(api_versions())),
            Request::Fetch(request) => {
                self.fetch(conn, correlation, request, env);
                return Ok(());
            }
            Request::BrokerRegistration(r) => self.register_broker(&r, env)?,
            Request::BrokerHeartbeat(r) => self.heartbeat(&r, env)?,
            Request::AlterPartition(r) => self.alter_partition(&r, env)?,
            Request::AllocateProducerIds(r) => self.allocate_producer_ids(&r, env)?,
            Request::CreateTopics(r) => {
                let (records, response) = self.rules().create_topics(&r, &self.config, env.rng);
                self.append(records, env)?;
                Ok(Response::CreateTopics(response))
            }
            other => unreachable!("{:?} is not let in", other.api()),
        };
        match answer {
            Ok(response) => {
                let frame = Frame::response(correlation, response);
                self.defer(Deferred::Answer(conn, frame), env);
            }
            Err(response) => self.send(conn, Frame::response(correlation, response), env),
        }
        Ok(())
    }

    /// `ClusterControlManager.registerBroker`. A session that still lasts refuses every other incarnation,
    /// also where the broker was let go in order: neither the fencing of its last heartbeat nor its leaving
    /// ends the session.
    fn register_broker(&mut self, r: &BrokerRegistrationRequest, env: &mut Env<'_>) -> Answer {
        let refused = self.image.broker(r.broker).is_some_and(|existing| {
            self.bug != Some(Bug::RegistrationIgnoresIncarnation)
                && existing.incarnation != r.incarnation
                && self
                    .heartbeats
                    .has_valid_session(r.broker, existing.epoch, env.now)
        });
        if refused {
            return Ok(Err(Response::BrokerRegistration(
                BrokerRegistrationResponse {
                    error: ErrorCode::DuplicateBrokerRegistration,
                    broker_epoch: -1,
                },
            )));
        }
        let next_offset = self.active_log().end_offset();
        let (records, broker_epoch) = self.rules().register_broker(r, next_offset);
        self.append(records, env)?;
        Ok(Ok(Response::BrokerRegistration(
            BrokerRegistrationResponse {
                error: ErrorCode::None,
                broker_epoch,
            },
        )))
    }

    /// `ReplicationControlManager.processBrokerHeartbeat`.
    fn heartbeat(&mut self, r: &BrokerHeartbeatRequest, env: &mut Env<'_>) -> Answer {
        if !self.rules().has_broker_epoch(r.broker, r.broker_epoch) {
            return Ok(Err(Response::BrokerHeartbeat(BrokerHeartbeatResponse {
                error: ErrorCode::StaleBrokerEpoch,
                is_caught_up: false,
                is_fenced: true,
                should_shut_down: false,
            })));
        }
        let rules = self.rules();
        let register_offset = self.image.brokers()[&r.broker].register_offset;
        let (state, next) = self
            .heartbeats
            .next_state(r, register_offset, || rules.has_leaderships(r.broker));
        let records = match next {
            _ if next == state => Vec::new(),
            BrokerControlState::Fenced | BrokerControlState::ShutdownNow => {
                rules.broker_fenced(r.broker)
            }
            BrokerControlState::Unfenced => rules.broker_unfenced(r.broker),
            BrokerControlState::ControlledShutdown => rules.broker_in_controlled_shutdown(r.broker),
        };
        self.heartbeats
            .touch(r.broker, next.fenced(), r.current_metadata_offset);
        self.append(records, env)?;
        if next == BrokerControlState::ControlledShutdown {
            let last = self.active_log().end_offset() - 1;
            self.heartbeats
                .maybe_update_controlled_shutdown_offset(r.broker, last);
        }
        Ok(Ok(Response::BrokerHeartbeat(BrokerHeartbeatResponse {
            error: ErrorCode::None,
            is_caught_up: r.current_metadata_offset >= register_offset,
            is_fenced: next.fenced(),
            should_shut_down: next == BrokerControlState::ShutdownNow,
        })))
    }

    fn alter_partition(&mut self, r: &AlterPartitionRequest, env: &mut Env<'_>) -> Answer {
        if !self.rules().has_broker_epoch(r.broker, r.broker_epoch) {
            return Ok(Err(Response::AlterPartition(AlterPartitionResponse {
                error: ErrorCode::StaleBrokerEpoch,
                topics: Vec::new(),
            })));
        }
        let (records, response) = self.rules().alter_partition(r);
        self.append(records, env)?;
        Ok(Ok(Response::AlterPartition(response)))
    }

    /// `ProducerIdControlManager.generateNextProducerId`.
    fn allocate_producer_ids(
        &mut self,
        r: &AllocateProducerIdsRequest,
        env: &mut Env<'_>,
    ) -> Answer {
        if !self.rules().has_broker_epoch(r.broker, r.broker_epoch) {
            return Ok(Err(Response::AllocateProducerIds(
                AllocateProducerIdsResponse {
                    error: ErrorCode::StaleBrokerEpoch,
                    first: -1,
                    count: 0,
                },
            )));
        }
        let first = self.image.next_producer_id();
        let record = MetadataRecord::ProducerIds {
            broker: r.broker,
            broker_epoch: r.broker_epoch,
            next_producer_id: first + i64::from(PRODUCER_ID_BLOCK),
        };
        self.append(vec![record], env)?;
        Ok(Ok(Response::AllocateProducerIds(
            AllocateProducerIdsResponse {
                error: ErrorCode::None,
                first,
                count: PRODUCER_ID_BLOCK,
            },
        )))
    }

    /// `maybeFenceOneStaleBroker`: one at a time, so that each fencing sees the one before.
    fn fence_stale_broker(&mut self, env: &mut Env<'_>) -> Result<(), QuorumError> {
        let expired = self.heartbeats.remove_expired(env.now);
        if let Some((broker, epoch)) = expired {
            match self.image.broker(broker).map(|b| b.epoch) {
                Some(present) if present == epoch => {
                    let records = self.rules().broker_fenced(broker);
                    self.heartbeats.fence(broker);
                    self.append(records, env)?;
                }
                Some(_former_epoch) => {}
                None => self.heartbeats.remove(broker),
            }
        }
        let delay = match expired {
            Some(_) => TASK_AGAIN,
            None => self.fence_period(),
        };
        env.timer_in(delay, FENCE_STALE);
        Ok(())
    }

    fn maybe_create_topics(&mut self, env: &mut Env<'_>) {
        let ready =
            !self.topics.is_empty() && self.topics.iter().all(|t| self.rules().can_create(t));
        if ready && !self.creating {
            self.creating = true;
            self.enqueue(Work::CreateTopics, TASK_COST, env);
        }
    }

    fn create_topics(&mut self, env: &mut Env<'_>) -> Result<(), QuorumError> {
        self.creating = false;
        if self.topics.iter().all(|t| self.rules().can_create(t)) {
            for topic in std::mem::take(&mut self.topics) {
                let records = self.rules().create_topic(&topic);
                self.append(records, env)?;
            }
        }
        Ok(())
    }

    /// Appends the records as one batch and applies them to the image at once, as
    /// `QuorumController.ControllerWriteEvent` does; the facts wait for the commit.
    fn append(
        &mut self,
        records: Vec<MetadataRecord>,
        env: &mut Env<'_>,
    ) -> Result<(), QuorumError> {
        if records.is_empty() {
            return Ok(());
        }
        let log = self.log.as_mut().expect("Start comes before any append");
        let base_offset = log.append(&records, env)?;
        for (offset, record) in (base_offset..).zip(&records) {
            self.replay(record, offset, env);
        }
        Ok(())
    }

    fn replay(&mut self, record: &MetadataRecord, offset: Offset, env: &mut Env<'_>) {
        match record {
            MetadataRecord::RegisterBroker(r) => self.replay_registration(r, record, offset, env),
            MetadataRecord::BrokerRegistrationChange(r) => {
                let broker = r.broker;
                let before = self.image.is_unfenced(broker);
                self.image.apply(record, offset);
                let after = self.image.is_unfenced(broker);
                self.heartbeats.register(broker, !after);
                match (before, after) {
                    (true, false) => self.defer_fact(Fact::BrokerFenced { broker }, env),
                    (false, true) => self.defer_fact(Fact::BrokerUnfenced { broker }, env),
                    _ => {}
                }
            }
            MetadataRecord::PartitionChange(r) => {
                let former = self.image.partition(r.partition).map(|p| p.isr.clone());
                let unclean = match (r.leader, former) {
                    (Some(leader @ 0..), Some(isr)) => !isr.contains(&leader),
                    _ => false,
                };
                self.image.apply(record, offset);
                self.defer_partition_changed(r.partition, unclean, env);
            }
            MetadataRecord::Partition(r) => {
                self.image.apply(record, offset);
                self.defer_partition_changed(r.partition, false, env);
            }
            _ => {
                self.image.apply(record, offset);
            }
        }
    }

    fn replay_registration(
        &mut self,
        r: &RegisterBrokerRecord,
        record: &MetadataRecord,
        offset: Offset,
        env: &mut Env<'_>,
    ) {
        let (broker, epoch) = (r.broker, r.epoch);
        let former = self.image.broker(broker).map(|b| b.epoch);
        let fences = r.fenced && self.image.is_unfenced(broker);
        self.image.apply(record, offset);
        if former.is_some() {
            self.heartbeats.remove(broker);
        }
        self.heartbeats.register(broker, r.fenced);
        if fences {
            self.defer_fact(Fact::BrokerFenced { broker }, env);
        }
        if former != Some(epoch) {
            self.defer_fact(Fact::BrokerRegistered { broker, epoch }, env);
        }
    }

    fn defer_partition_changed(
        &mut self,
        partition: TopicPartition,
        unclean: bool,
        env: &mut Env<'_>,
    ) {
        let state = self.image.partition(partition).expect("just changed");
        let mut isr = state.isr.to_vec();
        isr.sort_unstable();
        let fact = Fact::PartitionChanged {
            partition,
            leader: state.leader,
            leader_epoch: state.leader_epoch,
            isr,
            unclean,
        };
        self.defer_fact(fact, env);
    }

    fn defer_fact(&mut self, fact: Fact, env: &mut Env<'_>) {
        self.defer(Deferred::Fact(fact), env);
    }

    /// Lets something wait until everything appended so far is committed.
    fn defer(&mut self, what: Deferred, env: &mut Env<'_>) {
        let log = self.active_log();
        let last = log.end_offset() - 1;
        if last < log.high_watermark() {
            self.complete(what, env);
        } else {
            self.deferred.push_back((last, what));
        }
    }

    fn complete(&mut self, what: Deferred, env: &mut Env<'_>) {
        match what {
            Deferred::Fact(fact) => env.fact(fact),
            Deferred::Answer(conn, frame) => self.send(conn, frame, env),
        }
    }

    fn send(&mut self, conn: ConnId, frame: Frame, env: &mut Env<'_>) {
        if self.connections.contains(&conn) {
            env.send(conn, frame);
        }
    }

    fn synced(
        &mut self,
        token: SyncToken,
        result: Result<(), crate::disk::DiskError>,
        env: &mut Env<'_>,
    ) -> Result<(), QuorumError> {
        let log = self.log.as_mut().expect("the log started this sync");
        if !log.synced(token, result, env)? {
            return Ok(());
        }
        let high_watermark = log.high_watermark();
        while let Some((offset, _)) = self.deferred.front() {
            if *offset >= high_watermark {
                break;
            }
            let (_, what) = self.deferred.pop_front().expect("front was there");
            self.complete(what, env);
        }
        let woken: Vec<u64> = self
            .waiting
            .iter()
            .filter(|(_, w)| has_something(&self.metadata_answer(&w.request)))
            .map(|(timer, _)| *timer)
            .collect();
        for timer in woken {
            self.answer_waiting(timer, env);
        }
        Ok(())
    }

    fn metadata_answer(&self, request: &FetchRequest) -> FetchResponse {
        let log = self.active_log();
        match &request.topics[..] {
            [(TopicId::METADATA, partitions)] if partitions.len() == 1 => {
                let result = if request.max_wait_ms < 0 {
                    log.fetch_answer(ErrorCode::InvalidRequest)
                } else {
                    log.fetch(&partitions[0], request.max_bytes)
                };
                FetchResponse {
                    error: ErrorCode::None,
                    topics: vec![(TopicId::METADATA, smallvec![result])],
                    node_endpoints: Vec::new(),
                }
            }
            // hasValidTopicPartition.
            _ => FetchResponse {
                error: ErrorCode::InvalidRequest,
                topics: Vec::new(),
                node_endpoints: Vec::new(),
            },
        }
    }

    /// `KafkaRaftClient.handleFetchRequest`: waits only for records, whatever `min_bytes` says.
    fn fetch(&mut self, conn: ConnId, correlation: i32, request: FetchRequest, env: &mut Env<'_>) {
        let response = self.metadata_answer(&request);
        if has_something(&response) || request.max_wait_ms == 0 {
            let frame = Frame::response(correlation, Response::Fetch(response));
            self.send(conn, frame, env);
        } else if self.connections.contains(&conn) {
            let timer = self.next_timer;
            self.next_timer += 1;
            env.timer_in(millis(request.max_wait_ms.into()), TimerToken(timer));
            self.waiting.insert(
                timer,
                WaitingFetch {
                    conn,
                    correlation,
                    request,
                },
            );
        }
    }

    fn answer_waiting(&mut self, timer: u64, env: &mut Env<'_>) {
        if let Some(w) = self.waiting.remove(&timer) {
            let response = Response::Fetch(self.metadata_answer(&w.request));
            self.send(w.conn, Frame::response(w.correlation, response), env);
        }
    }

    fn timer(&mut self, token: TimerToken, env: &mut Env<'_>) {
        match token {
            FENCE_STALE => self.enqueue(Work::FenceStaleBroker, TASK_COST, env),
            ELECT_UNCLEAN => self.enqueue(Work::ElectUncleanLeaders, TASK_COST, env),
            ELECT_PREFERRED => self.enqueue(Work::ElectPreferredLeaders, TASK_COST, env),
            TimerToken(fetch) => self.answer_waiting(fetch, env),
        }
    }

    fn closed(&mut self, conn: ConnId) {
        self.connections.remove(&conn);
        self.waiting.retain(|_, w| w.conn != conn);
    }
}

impl Process for Controller {
    fn step(&mut self, input: Input, env: &mut Env<'_>) {
        let outcome = match input {
            Input::Start => self.start(env),
            Input::Serve(Queue::Controller) => self.serve(env),
            Input::Synced(token, result) => self.synced(token, result, env),
            Input::Accepted(conn, _) => {
                self.connections.insert(conn);
                Ok(())
            }
            Input::Received(conn, frame) => {
                self.received(conn, frame, env);
                Ok(())
            }
            Input::Closed(conn, _) => {
                self.closed(conn);
                Ok(())
            }
            Input::Timer(token) => {
                self.timer(token, env);
                Ok(())
            }
            Input::Admin(command) => {
                self.enqueue(Work::Admin(command), TASK_COST, env);
                Ok(())
            }
            // Its log is durable at every commit: there is nothing to put in order.
            Input::Shutdown => {
                env.out.push(Output::Halt);
                Ok(())
            }
            Input::Connected(_) | Input::Serve(_) | Input::Call(..) => {
                panic!("the controller asked for none of this: {input:?}")
            }
        };
        // QuorumController's fatalFaultHandler: a controller that cannot write its log ends.
        if outcome.is_err() {
            env.out.push(Output::Halt);
        }
    }
}

/// The answer to a request: `Ok` once everything appended is committed, `Err` at once.
type Answer = Result<Result<Response, Response>, QuorumError>;

/// Records, an error, or a place where the logs part: no reason to wait.
fn has_something(response: &FetchResponse) -> bool {
    !response.error.is_none()
        || response
            .topics
            .iter()
            .flat_map(|(_, p)| p)
            .any(|p| !p.error.is_none() || !p.records.is_empty() || p.diverging_epoch.is_some())
}

/// The APIs of the controller listener that the product speaks.
fn is_controller_api(api: ApiKey) -> bool {
    matches!(
        api,
        ApiKey::Fetch
            | ApiKey::ApiVersions
            | ApiKey::CreateTopics
            | ApiKey::AlterPartition
            | ApiKey::BrokerRegistration
            | ApiKey::BrokerHeartbeat
            | ApiKey::AllocateProducerIds
    )
}

fn api_versions() -> ApiVersionsResponse {
    let spoken = ApiKey::ALL
        .into_iter()
        .filter(|api| is_controller_api(*api));
    ApiVersionsResponse {
        error: ErrorCode::None,
        apis: spoken
            .map(|api| (api as i16, api.version(), api.version()))
            .collect(),
    }
}

#[cfg(test)]
#[path = "tests/mod.rs"]
mod tests;
