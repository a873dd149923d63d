//! One Kafka process.
//!
//! Inputs come in, are sorted by whose they are, and go to that part: connections of clients and
//! followers to the request handlers, the broker's own connections to lifecycle, ISR proposals,
//! metadata observer and replica fetchers, timers to their owners. Requests of one connection are
//! handled one after the other (`SocketServer` mutes a channel until its response is sent).

mod accepted;
mod tasks;
#[cfg(test)]
mod tests;
mod upcalls;

use crate::bug::Bug;
use crate::channel::Channel;
use crate::config::BrokerConfig;
use crate::controller::{Change, MetadataImage, MetadataRecord};
use crate::env::*;
use crate::fact::Fact;
use crate::forwarding::{Forwarding, Outcome};
use crate::group::{OFFSETS_TOPIC, OffsetsCoordinator};
use crate::ids::*;
use crate::lifecycle::{Lifecycle, Step};
use crate::log::clean_shutdown::take_clean_shutdown;
use crate::quorum::observer::Observer;
use crate::replica::ReplicaManager;
use crate::replica::alter_partition::AlterPartitionManager;
use crate::replica::produce::ProduceJob;
use crate::replica::purgatory::Asker;
use crate::replica::roles::RoleChange;
use crate::shutdown::Stage;
use crate::sorted_map::SortedMap;
use crate::time::{MICROS, Nanos, SECONDS, millis};
use crate::wire::*;
use accepted::Accepted;
use std::collections::VecDeque;
pub(crate) use tasks::Task;

/// Upper bits of timer tokens: whose timer it is. The lower bits are the owner's.
mod timer {
    const KIND: u32 = 56;
    pub const FETCHER: u64 = 1 << KIND;
    pub const PURGATORY: u64 = 2 << KIND;
    pub const LIFECYCLE_CHANNEL: u64 = 3 << KIND;
    pub const LIFECYCLE: u64 = 4 << KIND;
    pub const ALTER_PARTITION_CHANNEL: u64 = 5 << KIND;
    pub const ALTER_PARTITION: u64 = 6 << KIND;
    pub const OBSERVER_CHANNEL: u64 = 7 << KIND;
    pub const OBSERVER: u64 = 8 << KIND;
    pub const FORWARDING_CHANNEL: u64 = 9 << KIND;
    pub const COMMIT: u64 = 10 << KIND;
    pub const TASK: u64 = 11 << KIND;
    pub const SHUTDOWN: u64 = 12 << KIND;
    pub const REGISTRATION: u64 = 13 << KIND;

    pub fn split(token: u64) -> (u64, u64) {
        let low = (1 << KIND) - 1;
        (token & !low, token & low)
    }
}

/// Service times of metadata and of recurring work, *modelled* like those of requests.
const METADATA_COST: Nanos = 100 * MICROS;
const ANSWER_COST: Nanos = 5 * MICROS;
const TASK_COST: Nanos = 50 * MICROS;

/// A batch of metadata on its way from the image to the replicas.
struct Publication {
    roles: RoleChange,
    /// The publisher waits for a lock that an append or a fetcher holds.
    blocked: bool,
}

/// One Kafka process.
pub struct Broker {
    id: BrokerId,
    config: BrokerConfig,
    bug: Option<Bug>,
    controller: NodeId,
    /// Everything that exists only while the process runs; `None` before `Input::Start`.
    run: Option<Run>,
}

/// The running process.
pub(crate) struct Run {
    pub(crate) id: BrokerId,
    pub(crate) config: BrokerConfig,
    pub(crate) image: MetadataImage,
    pub(crate) replicas: ReplicaManager,
    pub(crate) offsets: OffsetsCoordinator,
    pub(crate) lifecycle: Lifecycle,
    alter_partition: AlterPartitionManager,
    observer: Observer,
    pub(crate) forwarding: Forwarding,
    pub(crate) accepted: SortedMap<ConnId, Accepted>,
    pub(crate) requests: VecDeque<(Asker, Box<Request>)>,
    /// Produces whose flush is done, in the handlers' hands again.
    appended: VecDeque<ProduceJob>,
    pub(crate) metadata: VecDeque<Vec<(Offset, MetadataRecord)>>,
    /// What the publisher has in hand: the image has it, the replicas have not.
    publishing: Option<Publication>,
    /// Last offset of the metadata that the whole broker has applied, replicas too.
    pub(crate) published: Offset,
    pub(crate) tasks: VecDeque<Task>,
    serving: bool,
    /// How far an orderly shutdown has come.
    pub(crate) shutdown: Option<Stage>,
    /// Next producer id and the end of the block it is from.
    pub(crate) producer_ids: (ProducerId, ProducerId),
}

impl Broker {
    /// A broker of that `node.id`, not started.
    pub fn new(id: BrokerId, config: BrokerConfig, controller: NodeId, bug: Option<Bug>) -> Broker {
        Broker {
            id,
            config,
            bug,
            controller,
            run: None,
        }
    }

    /// Its replicas, once it runs.
    pub fn replicas(&self) -> Option<&ReplicaManager> {
        self.run.as_ref().map(|run| &run.replicas)
    }

    /// The metadata that it has applied, once it runs.
    pub fn image(&self) -> Option<&MetadataImage> {
        self.run.as_ref().map(|run| &run.image)
    }

    /// Its committed offsets, once it runs.
    pub fn offsets(&self) -> Option<&OffsetsCoordinator> {
        self.run.as_ref().map(|run| &run.offsets)
    }

    /// The epoch of its registration, -1 before.
    pub fn epoch(&self) -> BrokerEpoch {
        self.run.as_ref().map_or(-1, |run| run.lifecycle.epoch())
    }

    /// Whether it is registered and unfenced, as far as it knows.
    pub fn is_running(&self) -> bool {
        self.run
            .as_ref()
            .is_some_and(|run| run.lifecycle.is_running())
    }

    /// Whether a request of this connection waits or is in the handlers' hands.
    pub fn is_handling(&self, conn: ConnId) -> bool {
        let accepted = self.run.as_ref().and_then(|run| run.accepted.get(conn));
        accepted.is_some_and(Accepted::is_busy)
    }

    fn start(&mut self, env: &mut Env<'_>) {
        let kinds = (timer::FETCHER, timer::PURGATORY);
        let marker = match self.bug {
            // A marker that no start has taken away, with an epoch that proves nothing.
            Some(Bug::FalseCleanMarker) => Ok(Some(-1)),
            _ => take_clean_shutdown(env.disk),
        };
        let loaded = marker.and_then(|marker| {
            let clean = marker.is_some();
            let config = self.config.clone();
            let replicas = ReplicaManager::load(self.id, config, self.bug, clean, kinds, env)?;
            Ok((marker, replicas))
        });
        let (marker, replicas) = match loaded {
            Ok(loaded) => loaded,
            Err(error) => {
                env.fact(Fact::LogDirectoryOffline { error });
                env.out.push(Output::Halt);
                return;
            }
        };
        env.fact(Fact::BrokerStarted {
            clean: marker.is_some(),
        });
        let controller = self.controller;
        let lifecycle = Lifecycle::new(
            self.id,
            &self.config,
            marker.unwrap_or(-1),
            controller,
            TimerToken(timer::LIFECYCLE_CHANNEL),
            TimerToken(timer::LIFECYCLE),
            env,
        );
        let mut run = Run {
            id: self.id,
            image: MetadataImage::new(),
            replicas,
            offsets: OffsetsCoordinator::new(self.config.offsets_commit_timeout_ms, timer::COMMIT),
            lifecycle,
            alter_partition: AlterPartitionManager::new(
                self.id,
                controller,
                TimerToken(timer::ALTER_PARTITION_CHANNEL),
                TimerToken(timer::ALTER_PARTITION),
            ),
            observer: Observer::new(
                self.id,
                controller,
                TimerToken(timer::OBSERVER_CHANNEL),
                TimerToken(timer::OBSERVER),
            ),
            forwarding: Forwarding::new(Channel::new(
                controller,
                TimerToken(timer::FORWARDING_CHANNEL),
            )),
            config: self.config.clone(),
            accepted: SortedMap::new(),
            requests: VecDeque::new(),
            appended: VecDeque::new(),
            metadata: VecDeque::new(),
            publishing: None,
            published: -1,
            tasks: VecDeque::new(),
            serving: false,
            shutdown: None,
            producer_ids: (0, 0),
        };
        let patience = millis(self.config.initial_broker_registration_timeout_ms);
        env.timer_in(patience, TimerToken(timer::REGISTRATION));
        run.lifecycle.communicate(-1, env);
        run.observer.fetch(env);
        run.schedule_all(env);
        self.run = Some(run);
    }
}

impl Process for Broker {
    fn step(&mut self, input: Input, env: &mut Env<'_>) {
        if let Input::Start = input {
            self.start(env);
        } else if let Some(run) = &mut self.run {
            run.step(input, env);
        }
    }
}

impl Run {
    #[inline(always)] // an input is large, and would be copied from one step to the other
    fn step(&mut self, input: Input, env: &mut Env<'_>) {
        if self.is_draining() {
            self.drain(input, env);
            self.go_on_with_shutdown(env);
            return;
        }
        match input {
            Input::Start => unreachable!("started already"),
            Input::Shutdown => self.begin_shutdown(TimerToken(timer::SHUTDOWN), env),
            Input::Accepted(conn, _) => {
                self.accepted.insert(conn, Accepted::default());
            }
            Input::Received(conn, Frame::Request(correlation, request)) => {
                self.request_arrived(conn, correlation, request, env);
            }
            Input::Received(conn, Frame::Response(correlation, response)) => {
                self.response_arrived(conn, correlation, response, env);
            }
            Input::Connected(conn) => self.connected(conn, env),
            Input::Closed(conn, _) => self.closed(conn, env),
            Input::Timer(TimerToken(token)) => self.timer(token, env),
            Input::Serve(queue) => self.serve(queue, env),
            Input::Synced(token, result) => self.replicas.synced(token, result, &self.image, env),
            Input::Call(..) | Input::Admin(_) => {
                panic!("a broker has no application and takes no commands: {input:?}")
            }
        }
        if self.publishing.as_ref().is_some_and(|p| p.blocked) {
            self.publish_to_replicas(env);
        }
        if self.replicas.has_upcalls() {
            self.take_upcalls(env);
        }
        self.go_on_with_shutdown(env);
    }

    // ---- connections ------------------------------------------------------------------------

    #[inline(never)]
    fn connected(&mut self, conn: ConnId, env: &mut Env<'_>) {
        if self.lifecycle.owns(conn) {
            self.lifecycle.on_connected(env);
        } else if self.alter_partition.owns(conn) {
            self.alter_partition.on_connected(env);
        } else if self.observer.owns(conn) {
            self.observer.on_connected(env);
        } else if self.forwarding.owns(conn) {
            self.forwarding.on_connected(env);
        } else if let Some(leader) = self.replicas.fetcher_of(conn) {
            self.replicas.fetcher_connected(leader, env);
        }
    }

    #[inline(never)]
    fn closed(&mut self, conn: ConnId, env: &mut Env<'_>) {
        if let Some(accepted) = self.accepted.get_mut(conn) {
            accepted.closing = true;
            if !accepted.muted && accepted.backlog.is_empty() {
                self.accepted.remove(conn);
            }
        } else if self.lifecycle.owns(conn) {
            self.lifecycle.on_closed(env);
        } else if self.alter_partition.owns(conn) {
            self.alter_partition.on_closed(env);
        } else if self.observer.owns(conn) {
            self.observer.on_closed(env);
        } else if self.forwarding.owns(conn) {
            let outcome = self.forwarding.on_closed(env);
            self.forwarded(outcome, env);
        } else if let Some(leader) = self.replicas.fetcher_of(conn) {
            self.replicas.fetcher_closed(leader, env);
        }
    }

    fn response_arrived(
        &mut self,
        conn: ConnId,
        correlation: i32,
        response: Box<Response>,
        env: &mut Env<'_>,
    ) {
        if let Some(leader) = self.replicas.fetcher_of(conn) {
            self.replicas
                .fetcher_received(leader, correlation, response, env);
        } else {
            self.controller_answers(conn, correlation, *response, env);
        }
    }

    /// A response arrived on one of the channels to the controller.
    #[inline(never)]
    fn controller_answers(
        &mut self,
        conn: ConnId,
        correlation: i32,
        response: Response,
        env: &mut Env<'_>,
    ) {
        if self.lifecycle.owns(conn) {
            match self.lifecycle.on_response(correlation, response, env) {
                Step::Nothing => {}
                Step::Registered(epoch) => self.replicas.set_broker_epoch(epoch),
                Step::CaughtUp => self.start_serving(env),
                Step::MayShutDown => self.stop_serving(env),
            }
        } else if self.alter_partition.owns(conn) {
            self.isr_answers(correlation, response, env);
        } else if self.observer.owns(conn) {
            self.metadata_arrived(correlation, response, env);
        } else if self.forwarding.owns(conn) {
            let outcome = self.forwarding.on_response(correlation, response, env);
            self.forwarded(outcome, env);
        }
    }

    fn forwarded(&mut self, outcome: Outcome, env: &mut Env<'_>) {
        match outcome {
            Outcome::ProducerIds(block) if block.error.is_none() => {
                self.producer_ids = (block.first, block.first + i64::from(block.count));
            }
            Outcome::Answer(asker, response) => self.respond(asker, response, env),
            Outcome::ProducerIds(_) | Outcome::Nothing => {}
        }
    }

    /// All metadata up to the registration is applied: the first publication, `enableRequestProcessing`,
    /// then unfencing.
    fn start_serving(&mut self, env: &mut Env<'_>) {
        self.serving = true;
        let all: Vec<TopicPartition> = self.image.partitions().map(|(id, _)| id).collect();
        let mut roles = RoleChange::new(&all, &self.image, self.id);
        let applied = self.replicas.apply(&mut roles, &self.image, env);
        assert!(applied, "a broker that has not served holds no lock");
        let conns: Vec<ConnId> = self.accepted.keys().collect();
        for conn in conns {
            self.unmute(conn, false, env);
        }
        self.lifecycle.set_ready_to_unfence(self.published, env);
    }

    fn isr_answers(&mut self, correlation: i32, response: Response, env: &mut Env<'_>) {
        for answer in self.alter_partition.on_response(correlation, response, env) {
            let (id, proposal) = (answer.partition, answer.proposal);
            self.replicas
                .isr_answered(id, proposal, answer.result, &self.image, env);
        }
        self.alter_partition.on_timer(self.lifecycle.epoch(), env);
    }

    // ---- metadata ---------------------------------------------------------------------------

    fn metadata_arrived(&mut self, correlation: i32, response: Response, env: &mut Env<'_>) {
        let records = self.observer.on_response(correlation, response, env);
        if !records.is_empty() {
            if self.metadata.is_empty() && self.publishing.is_none() {
                env.serve(Queue::MetadataPublisher, METADATA_COST);
            }
            self.metadata.push_back(records);
        }
        self.observer.fetch(env);
    }

    /// `BrokerMetadataPublisher.onMetadataUpdate`: the image first, then the replicas. Request handlers
    /// run in between, with the new image and the former roles.
    fn publish_metadata(&mut self, env: &mut Env<'_>) {
        if self.publishing.is_some() {
            self.publish_to_replicas(env);
            return;
        }
        let Some(records) = self.metadata.pop_front() else {
            return;
        };
        let mut changed: Vec<TopicPartition> = Vec::new();
        for (offset, record) in records {
            if let Change::Partition(id) = self.image.apply(&record, offset) {
                changed.push(id);
            }
        }
        changed.sort_unstable();
        changed.dedup();
        // It takes no role before it has caught up with its own registration, whatever older metadata
        // says of it. Not modelled: `BrokerServer.startup` installs the publishers before that, so that a
        // broker that is back within its session copies from its leaders while it waits, with epoch -1.
        if self.serving && !changed.is_empty() {
            self.publishing = Some(Publication {
                roles: RoleChange::new(&changed, &self.image, self.id),
                blocked: false,
            });
            env.serve(Queue::MetadataPublisher, METADATA_COST);
        } else {
            self.publish_next(env);
        }
    }

    /// `ReplicaManager.applyDelta`, which waits for locks and goes on where it stopped.
    fn publish_to_replicas(&mut self, env: &mut Env<'_>) {
        let Some(publication) = &mut self.publishing else {
            return;
        };
        let roles = &mut publication.roles;
        publication.blocked = !self.replicas.apply(roles, &self.image, env);
        if !publication.blocked {
            self.publishing = None;
            self.publish_next(env);
        }
    }

    /// The batch is applied (`MetadataLoader.lastAppliedOffset`); the publisher takes the next one.
    fn publish_next(&mut self, env: &mut Env<'_>) {
        self.published = self.image.offset();
        if !self.metadata.is_empty() {
            env.serve(Queue::MetadataPublisher, METADATA_COST);
        }
    }

    /// The id of a partition of `__consumer_offsets`.
    pub(crate) fn offsets_id(&self, partition: i32) -> Option<TopicPartition> {
        let topic = self.image.topic_by_name(OFFSETS_TOPIC)?;
        Some(TopicPartition::new(topic.id, partition))
    }

    pub(crate) fn high_watermark(&self, id: TopicPartition) -> Offset {
        self.replicas
            .partition(id)
            .map_or(0, |p| p.log.high_watermark)
    }

    // ---- timers and queues ------------------------------------------------------------------

    fn timer(&mut self, token: u64, env: &mut Env<'_>) {
        let (kind, low) = timer::split(token);
        match kind {
            timer::FETCHER => self.replicas.fetcher_timer(low as BrokerId, env),
            timer::PURGATORY => self.replicas.expire(&self.image, env),
            timer::LIFECYCLE_CHANNEL => self.lifecycle.on_channel_timer(env),
            timer::LIFECYCLE => self.lifecycle.on_timer(self.published, env),
            timer::ALTER_PARTITION_CHANNEL => self.alter_partition.on_channel_timer(env),
            timer::ALTER_PARTITION => self.alter_partition.on_timer(self.lifecycle.epoch(), env),
            timer::OBSERVER_CHANNEL => self.observer.on_channel_timer(env),
            timer::OBSERVER => self.observer.fetch(env),
            timer::FORWARDING_CHANNEL => {
                let outcome = self.forwarding.on_timer(env);
                self.forwarded(outcome, env);
            }
            timer::COMMIT => {
                let answers = self.offsets.expire(env);
                self.answer_all(answers, env);
            }
            timer::SHUTDOWN => self.stop_serving(env),
            timer::REGISTRATION => self.give_up_unless_registered(env),
            timer::TASK => self.task_due(low, env),
            _ => panic!("a timer of nobody: {token:#x}"),
        }
    }

    fn serve(&mut self, queue: Queue, env: &mut Env<'_>) {
        match queue {
            Queue::RequestHandler => {
                if let Some(job) = self.appended.pop_front() {
                    self.replicas.produce_appended(job, &self.image, env);
                } else if let Some((asker, request)) = self.requests.pop_front() {
                    self.handle(asker, request, env);
                }
            }
            Queue::ReplicaFetcher(leader) => self.replicas.serve_fetcher(leader, env),
            Queue::MetadataPublisher => self.publish_metadata(env),
            Queue::Coordinator => {
                if let Some(partition) = self.offsets.next_to_load()
                    && let Some(id) = self.offsets_id(partition)
                    && let Some(replica) = self.replicas.partition(id)
                {
                    self.offsets.load(partition, &replica.log, env);
                }
            }
            Queue::Scheduler => self.serve_task(env),
            Queue::LogCleaner => self.replicas.serve_cleaner(env),
            Queue::LogDirFailureHandler => self.replicas.handle_log_directory_failure(env),
            Queue::Controller => panic!("a broker is no controller"),
        }
    }

    /// Asks the controller for producer ids, if no such request is under way.
    pub(crate) fn request_producer_ids(&mut self, env: &mut Env<'_>) {
        let request = AllocateProducerIdsRequest {
            broker: self.id,
            broker_epoch: self.lifecycle.epoch(),
        };
        self.forwarding
            .ask_for_producer_ids(request, 30 * SECONDS, env);
    }
}
