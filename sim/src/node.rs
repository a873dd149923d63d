//! What runs on the nodes of a cluster: one type for the kernel.

use crate::parts::{Part, enter};
use everyack_broker::broker::Broker;
use everyack_broker::client::{Consumer, Producer};
use everyack_broker::controller::Controller;
use everyack_broker::env::{Env, Input, Process};

/// A process of the cluster or of its clients.
#[allow(clippy::large_enum_variant)] // boxed where it is large
pub enum Node {
    /// A Kafka broker.
    Broker(Box<Broker>),
    /// The controller.
    Controller(Box<Controller>),
    /// A producer's engine.
    Producer(Box<Producer>),
    /// A consumer's engine.
    Consumer(Box<Consumer>),
}

impl Process for Node {
    fn step(&mut self, input: Input, env: &mut Env<'_>) {
        let _part = enter(match self {
            Node::Broker(_) | Node::Controller(_) => Part::Broker,
            Node::Producer(_) | Node::Consumer(_) => Part::Clients,
        });
        match self {
            Node::Broker(process) => process.step(input, env),
            Node::Controller(process) => process.step(input, env),
            Node::Producer(process) => process.step(input, env),
            Node::Consumer(process) => process.step(input, env),
        }
    }
}

impl Node {
    /// The broker, if it is one.
    pub fn broker(&self) -> Option<&Broker> {
        match self {
            Node::Broker(broker) => Some(broker),
            _ => None,
        }
    }

    /// The controller, if it is one.
    pub fn controller(&self) -> Option<&Controller> {
        match self {
            Node::Controller(controller) => Some(controller),
            _ => None,
        }
    }

    /// The producer's engine, if it is one.
    pub fn producer(&self) -> Option<&Producer> {
        match self {
            Node::Producer(producer) => Some(producer),
            _ => None,
        }
    }

    /// The consumer's engine, if it is one.
    pub fn consumer(&self) -> Option<&Consumer> {
        match self {
            Node::Consumer(consumer) => Some(consumer),
            _ => None,
        }
    }
}
