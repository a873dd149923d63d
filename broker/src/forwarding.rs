//! What a broker asks of the controller for its clients: blocks of producer ids
//! (`RPCProducerIdManager`), topics that a client wants (`ForwardingManager`) and topics that come into
//! being by being asked for (`DefaultAutoTopicCreationManager`).
//!
//! One request is under way at a time, as `NodeToControllerRequestThread` has it; the others wait.
//!
//! Not modelled: the envelope with the client's principal, and the retries of a forwarded request until
//! its time is over. A request that fails with its connection is answered as one that took too long.

use crate::channel::Channel;
use crate::env::{ConnId, Env};
use crate::ids::*;
use crate::replica::purgatory::Asker;
use crate::time::Nanos;
use crate::wire::*;
use std::collections::{BTreeSet, VecDeque};

/// What becomes of the answer.
#[derive(Debug)]
enum Purpose {
    ProducerIds,
    CreateTopics(Asker, Vec<TopicName>),
    AutoCreate(Vec<TopicName>),
}

/// What an answer, or the lack of one, means for the broker.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Nothing to do.
    Nothing,
    /// A block of producer ids.
    ProducerIds(AllocateProducerIdsResponse),
    /// A client's answer.
    Answer(Asker, Response),
}

/// The broker's channel for what it passes on. See the head of this module.
#[derive(Debug)]
pub(crate) struct Forwarding {
    channel: Channel,
    in_flight: Option<Purpose>,
    waiting: VecDeque<(Purpose, Request, Nanos)>,
    /// `inflightTopics`: each is asked for once.
    auto_creating: BTreeSet<TopicName>,
}

impl Forwarding {
    /// Over this channel.
    pub fn new(channel: Channel) -> Forwarding {
        Forwarding {
            channel,
            in_flight: None,
            waiting: VecDeque::new(),
            auto_creating: BTreeSet::new(),
        }
    }

    /// Whether this connection is the channel's present one.
    pub fn owns(&self, conn: ConnId) -> bool {
        self.channel.owns(conn)
    }

    /// The channel is connected.
    pub fn on_connected(&mut self, env: &mut Env<'_>) {
        self.channel.on_connected(env);
    }

    /// Asks for a block of producer ids, if no such request is under way.
    pub fn ask_for_producer_ids(
        &mut self,
        request: AllocateProducerIdsRequest,
        timeout: Nanos,
        env: &mut Env<'_>,
    ) {
        let waiting = self.waiting.iter().map(|(purpose, ..)| purpose);
        let is_asking = |purpose: &Purpose| matches!(purpose, Purpose::ProducerIds);
        if !self.in_flight.iter().chain(waiting).any(is_asking) {
            let request = Request::AllocateProducerIds(request);
            self.send(Purpose::ProducerIds, request, timeout, env);
        }
    }

    /// Passes a client's CreateTopics on.
    pub fn create_topics(
        &mut self,
        asker: Asker,
        request: CreateTopicsRequest,
        timeout: Nanos,
        env: &mut Env<'_>,
    ) {
        let names = request.topics.iter().map(|t| t.name.clone()).collect();
        let purpose = Purpose::CreateTopics(asker, names);
        self.send(purpose, Request::CreateTopics(request), timeout, env);
    }

    /// Has topics created that were asked for and do not exist, but for those that are on their way.
    pub fn auto_create(&mut self, topics: Vec<CreatableTopic>, timeout_ms: i64, env: &mut Env<'_>) {
        let mut topics = topics;
        topics.retain(|topic| self.auto_creating.insert(topic.name.clone()));
        if topics.is_empty() {
            return;
        }
        let names = topics.iter().map(|t| t.name.clone()).collect();
        let request = CreateTopicsRequest {
            topics,
            timeout_ms: i32::try_from(timeout_ms).unwrap_or(i32::MAX),
            validate_only: false,
        };
        let timeout = crate::time::millis(timeout_ms);
        let purpose = Purpose::AutoCreate(names);
        self.send(purpose, Request::CreateTopics(request), timeout, env);
    }

    fn send(&mut self, purpose: Purpose, request: Request, timeout: Nanos, env: &mut Env<'_>) {
        self.waiting.push_back((purpose, request, timeout));
        self.go_on(env);
    }

    fn go_on(&mut self, env: &mut Env<'_>) {
        if self.in_flight.is_none()
            && let Some((purpose, request, timeout)) = self.waiting.pop_front()
        {
            self.in_flight = Some(purpose);
            self.channel.send(request, timeout, env);
        }
    }

    /// The controller answered.
    ///
    /// # Panics
    /// Where it answers another API than it was asked.
    pub fn on_response(
        &mut self,
        correlation: i32,
        response: Response,
        env: &mut Env<'_>,
    ) -> Outcome {
        if !self.channel.on_response(correlation) {
            return Outcome::Nothing;
        }
        let purpose = self.in_flight.take().expect("something was asked");
        self.go_on(env);
        match (purpose, response) {
            (Purpose::ProducerIds, Response::AllocateProducerIds(block)) => {
                Outcome::ProducerIds(block)
            }
            (Purpose::CreateTopics(asker, _), response @ Response::CreateTopics(_)) => {
                Outcome::Answer(asker, response)
            }
            (Purpose::AutoCreate(names), Response::CreateTopics(_)) => {
                self.forget(&names);
                Outcome::Nothing
            }
            (purpose, response) => panic!("{purpose:?} answered by {:?}", response.api()),
        }
    }

    /// The channel's connection is gone.
    pub fn on_closed(&mut self, env: &mut Env<'_>) -> Outcome {
        let failed = self.channel.on_closed(env);
        self.maybe_failed(failed, env)
    }

    /// The channel's timer fired.
    pub fn on_timer(&mut self, env: &mut Env<'_>) -> Outcome {
        let failed = self.channel.on_timer(env);
        self.maybe_failed(failed, env)
    }

    fn maybe_failed(&mut self, failed: bool, env: &mut Env<'_>) -> Outcome {
        if !failed {
            return Outcome::Nothing;
        }
        let purpose = self.in_flight.take();
        self.go_on(env);
        match purpose {
            Some(Purpose::CreateTopics(asker, names)) => {
                let failed = |name: TopicName| CreatedTopic {
                    name,
                    id: TopicId(0),
                    error: ErrorCode::RequestTimedOut,
                    message: None,
                    num_partitions: -1,
                    replication_factor: -1,
                };
                let topics = names.into_iter().map(failed).collect();
                Outcome::Answer(
                    asker,
                    Response::CreateTopics(CreateTopicsResponse { topics }),
                )
            }
            Some(Purpose::AutoCreate(names)) => {
                self.forget(&names);
                Outcome::Nothing
            }
            Some(Purpose::ProducerIds) | None => Outcome::Nothing,
        }
    }

    fn forget(&mut self, names: &[TopicName]) {
        for name in names {
            self.auto_creating.remove(name);
        }
    }
}
