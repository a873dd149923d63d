//! What a configuration costs when nothing goes wrong: two runs without a fault, one at the suite's pace
//! for the latency of acknowledgements (the first sends of a producer, which wait for metadata and a
//! producer id, among them), one in which the producers send all they have at once for the throughput. Both are *modelled*: service times, links and disks are those of the simulated world.

use super::{RunKey, Running, guarded};
use crate::report::Price;
use crate::runner::statistics::Histogram;
use everyack_sim::RunSpec;
use everyack_sim::fault::{Family, FaultPlan};
use everyack_sim::result::Outcome;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// Messages of the one producer in the run for the throughput; of several, one may still wait for its
/// producer id when another is done.
const AT_ONCE: u32 = 4_000;

impl Running<'_> {
    /// The price of each cell's configuration.
    pub(super) fn prices(&self) -> Vec<Option<Price>> {
        let mut first: BTreeMap<&str, usize> = BTreeMap::new();
        for (at, cell) in self.cells.iter().enumerate() {
            first.entry(cell.configuration()).or_insert(at);
        }
        let distinct: Vec<(&str, usize)> = first.into_iter().collect();
        let found = Mutex::new(BTreeMap::new());
        self.each(distinct.len() as u64, &|unit| {
            let (configuration, cell) = distinct[unit as usize];
            if let Some(price) = self.price(cell) {
                let mut found = found.lock().expect("no thread panics with it");
                found.insert(configuration, price);
            }
        });
        let found = found.into_inner().expect("every thread has ended");
        let of = |cell: &crate::suite::CellPlan| found.get(cell.configuration()).copied();
        self.cells.iter().map(of).collect()
    }

    fn price(&self, cell: usize) -> Option<Price> {
        let cell = &self.cells[cell];
        let seed = RunKey::Batch(0).seed(self.options.seed_base, cell.configuration());
        let wire = self.options.wire.of(seed);
        let mut paced = cell.spec(seed, FaultPlan::default(), wire, self.options.bug);
        paced.family = Family::None.name().to_owned();
        let mut at_once = RunSpec {
            plan: FaultPlan::default(),
            ..paced.clone()
        };
        at_once.applications.producers = 1;
        at_once.workload.messages_per_producer = AT_ONCE;
        at_once.workload.spread_ms = 0;
        at_once.workload.processing_us = 0;
        let (paced, at_once) = (
            guarded(self.host.run, &paced),
            guarded(self.host.run, &at_once),
        );
        if paced.outcome != Outcome::Finished || at_once.outcome != Outcome::Finished {
            return None;
        }
        let mut latencies = Histogram::default();
        for us in &paced.ack_us {
            latencies.add(u64::from(*us));
        }
        // All were sent at one instant, so that latencies are times; before the first acknowledgement the
        // producers learn of the cluster and get their ids.
        let times = at_once.ack_us.first().zip(at_once.ack_us.last());
        let took_us = times.map_or(0, |(first, last)| last - first);
        let per_s = |us: u32| (at_once.messages.acked as f64 * 1e6 / f64::from(us)).round();
        Some(Price {
            ack_ms: latencies.ack_quantiles(),
            messages_per_s: (took_us > 0).then(|| per_s(took_us)),
        })
    }
}
