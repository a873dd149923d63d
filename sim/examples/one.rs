use everyack_sim::fault::*;
use everyack_sim::spec::*;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let family = Family::from_name(args.get(1).map(|s| s.as_str()).unwrap_or("none")).unwrap();
    let seed: u64 = args.get(2).map(|s| s.parse().unwrap()).unwrap_or(1);
    let n: u64 = args.get(3).map(|s| s.parse().unwrap()).unwrap_or(1);
    let acks = args.get(4).cloned().unwrap_or("all".into());
    let mut p = PropertyFiles::default();
    for (k, v) in [
        ("broker.session.timeout.ms", "3000"),
        ("broker.heartbeat.interval.ms", "500"),
        ("replica.lag.time.max.ms", "3000"),
        ("min.insync.replicas", "2"),
        ("offsets.topic.num.partitions", "1"),
        ("replica.fetch.backoff.ms", "200"),
    ] {
        p.broker.insert(k.into(), v.into());
    }
    for (k, v) in [
        ("acks", acks.as_str()),
        ("request.timeout.ms", "3000"),
        ("delivery.timeout.ms", "15000"),
    ] {
        p.producer.insert(k.into(), v.into());
    }
    for (k, v) in [
        ("enable.auto.commit", "false"),
        ("auto.offset.reset", "earliest"),
        ("request.timeout.ms", "3000"),
        ("default.api.timeout.ms", "6000"),
    ] {
        p.consumer.insert(k.into(), v.into());
    }
    let timeouts = Timeouts::from_properties(&p).unwrap();
    let topology = Topology {
        brokers: 3,
        controllers: 1,
        topic: "orders".into(),
        partitions: 3,
        replication_factor: 3,
    };
    let workload = Workload {
        messages_per_producer: 500,
        message_bytes: 100,
        spread_ms: 15000,
        processing_us: 100,
    };
    let ctx = DrawContext::new(timeouts.clone(), &topology, &workload, 2, 2);
    let t = std::time::Instant::now();
    let mut lost = 0;
    for s in seed..seed + n {
        let plan = draw(
            family,
            &ctx,
            &mut everyack_broker::env::Stream::new(s, draw::PLAN_STREAM),
        );
        let spec = RunSpec {
            seed: s,
            topology: topology.clone(),
            properties: p.clone(),
            applications: Applications {
                producer: "checks-results".into(),
                producers: 2,
                consumer: "commit-after-processing".into(),
                consumers: 2,
            },
            workload: workload.clone(),
            family: family.name().into(),
            plan,
            wire: everyack_sim::run::sampled_wire(s),
            bug: None,
            limits: Limits {
                simulated_ms: 600_000,
                events: 50_000_000,
            },
            record: if n == 1 {
                if args.len() > 5 {
                    Record::Full
                } else {
                    Record::Story
                }
            } else {
                Record::Summary
            },
        };
        let r = everyack_sim::run(&spec);
        lost += (r.messages.broken() > 0) as u32;
        if n == 1 {
            println!("{:?}", spec.plan);
            for s in r
                .steps
                .iter()
                .take(args.get(5).map_or(0, |a| a.parse().unwrap()))
            {
                println!("{} {:>12} node {} {}", s.step, s.at_ns, s.node, s.input);
            }
            for l in &r.story {
                println!("{:>10.3} {:14} {}", l.at_us as f64 / 1000., l.who, l.what);
            }
            println!(
                "{:?} {:?} fired {} exposed {} marks {:?} gap {} hash {:x} sim {}s req {} ev {} p50 {:?} anomalies {:?} losses {:?}",
                r.outcome,
                r.messages,
                r.fired,
                r.exposed,
                r.marks,
                r.unavailable_ms,
                r.trace_hash,
                r.simulated_ns / 1_000_000_000,
                r.requests,
                r.events,
                r.ack_us.get(r.ack_us.len() / 2),
                r.anomalies,
                r.losses.iter().take(5).collect::<Vec<_>>()
            );
        } else if r.outcome != everyack_sim::result::Outcome::Finished
            || !r.anomalies.is_empty()
            || r.messages.broken() > 0
        {
            let mut m = std::collections::BTreeMap::new();
            for l in &r.losses {
                *m.entry(format!("{:?}/{:?}", l.verdict, l.mechanism))
                    .or_insert(0) += 1;
            }
            println!(
                "seed {s}: {:?} broken {} {:?} anomalies {:?} sim {} exposed {}",
                r.outcome,
                r.messages.broken(),
                m,
                r.anomalies.first(),
                r.simulated_ns / 1_000_000_000,
                r.exposed
            );
        }
    }
    println!(
        "{n} runs, {lost} lossy, {:.1} runs/s",
        n as f64 / t.elapsed().as_secs_f64()
    );
}
