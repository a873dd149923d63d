//! What the kernel costs by itself: a request and its response between two processes that do
//! nothing, without and with a queue between.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use everyack_broker::env::{ConnId, Env, Input, Process, Queue};
use everyack_broker::ids::NodeId;
use everyack_broker::wire::{
    ApiVersionsRequest, ErrorCode, Frame, InitProducerIdResponse, Request, Response,
};
use everyack_sim::kernel::{Kernel, MachineId};
use everyack_sim::spec::WireMode;
use std::collections::VecDeque;

const SERVER: NodeId = NodeId(1);
const CLIENT: NodeId = NodeId(2000);

enum Echo {
    Server {
        queued: bool,
        waiting: VecDeque<(ConnId, i32)>,
    },
    Client {
        answered: u64,
    },
}

fn response(correlation: i32) -> Frame {
    let answer = InitProducerIdResponse {
        error: ErrorCode::None,
        producer_id: 1,
        producer_epoch: 0,
    };
    Frame::response(correlation, Response::InitProducerId(answer))
}

fn request(correlation: i32) -> Frame {
    Frame::request(correlation, Request::ApiVersions(ApiVersionsRequest))
}

impl Process for Echo {
    fn step(&mut self, input: Input, env: &mut Env<'_>) {
        match (self, input) {
            (Echo::Client { .. }, Input::Start) => {
                env.connect(SERVER);
            }
            (Echo::Client { .. }, Input::Connected(conn)) => env.send(conn, request(0)),
            (Echo::Client { answered }, Input::Received(conn, Frame::Response(id, _))) => {
                *answered += 1;
                env.send(conn, request(id.wrapping_add(1)));
            }
            (Echo::Server { queued, waiting }, Input::Received(conn, Frame::Request(id, _))) => {
                if *queued {
                    waiting.push_back((conn, id));
                    env.serve(Queue::RequestHandler, 10_000);
                } else {
                    env.send(conn, response(id));
                }
            }
            (Echo::Server { waiting, .. }, Input::Serve(_)) => {
                let (conn, id) = waiting.pop_front().expect("an item was queued");
                env.send(conn, response(id));
            }
            _ => {}
        }
    }
}

fn world(queued: bool, wire: WireMode) -> Kernel<Echo> {
    let mut kernel = Kernel::new(1, wire);
    kernel.add_node(SERVER, MachineId(1));
    let waiting = VecDeque::new();
    kernel.start(SERVER, Echo::Server { queued, waiting });
    for client in 0..4 {
        let id = NodeId(CLIENT.0 + client);
        kernel.add_node(id, MachineId(100 + client));
        kernel.start(id, Echo::Client { answered: 0 });
    }
    kernel
}

/// Round trips of one iteration.
const ROUND_TRIPS: u64 = 1000;

fn answered(kernel: &Kernel<Echo>) -> u64 {
    (0..4)
        .map(|client| match kernel.process(NodeId(CLIENT.0 + client)) {
            Some(Echo::Client { answered }) => *answered,
            _ => 0,
        })
        .sum()
}

fn round_trips(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("round trip");
    group.throughput(Throughput::Elements(ROUND_TRIPS));
    for (name, queued, wire) in [
        ("echo", false, WireMode::Typed),
        ("echo through a queue", true, WireMode::Typed),
        ("echo as bytes", false, WireMode::Bytes),
    ] {
        group.bench_function(name, |bencher| {
            let mut kernel = world(queued, wire);
            // Two events a round trip, three with the queue.
            let events = ROUND_TRIPS * if queued { 3 } else { 2 };
            bencher.iter(|| {
                for _ in 0..events {
                    kernel.next();
                }
            });
            assert!(answered(&kernel) > 0, "nothing was echoed");
        });
    }
    group.finish();
}

criterion_group!(benches, round_trips);
criterion_main!(benches);
