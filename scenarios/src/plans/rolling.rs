//! One replica after the other: whose turn it is, and who comes back first.
//!
//! A leader is called A, the one after it B, and so on. An outage that must outlast the others is
//! counted from the strike of the last one.

use super::script::{POWER, Script, after, insert, plan, then};
use everyack_sim::fault::{Family, Fault, FaultPlan, Trigger, What, When, Whom};
use everyack_sim::mechanism::Mechanism::{self, *};

/// How long after the last failure those that come back first do, in milliseconds.
const SOON_MS: u64 = 100;

pub(super) fn plans(script: &Script<'_>, mechanism: Mechanism) -> Vec<FaultPlan> {
    let nth = script.nth();
    match mechanism {
        P01 => vec![in_turn(script, after(Trigger::ProduceInFlight, nth))],
        P19 => vec![in_turn(script, after(Trigger::ProduceArrived, nth))],
        P04 => {
            let alone = after(script.alone_on_the_leader(), nth);
            vec![script.behind_slow_links(in_turn(script, alone))]
        }
        S01 | S02 | R05 => [50, 1_000, 5]
            .map(|delay_ms| {
                let when = When::After {
                    event: Trigger::AckedUnsynced,
                    nth,
                    delay_us: delay_ms * 1_000,
                };
                in_turn(script, when)
            })
            .to_vec(),
        R02 => vec![the_last_one_took_some_alone(script)],
        R03 => vec![the_first_one_missed_some(script)],
        _ => Vec::new(),
    }
}

/// What befalls the n-th leader of so many. Where kills and power losses are mixed the last one loses
/// power, so that what it had not synced is still in the page caches of those that were killed.
fn what(script: &Script<'_>, nth: usize, of: usize) -> What {
    match script.family {
        Family::RollingCrash => What::Crash,
        Family::RollingPowerLoss => POWER,
        _ if nth + 1 == of => POWER,
        _ => What::Crash,
    }
}

/// Everybody in turn, each as soon as it leads. The last one, which is still the ISR, is back first,
/// and the others before they can have copied anything.
fn in_turn(script: &Script<'_>, first: When) -> FaultPlan {
    let replicas = usize::from(script.config.replication_factor.unsigned_abs());
    let last = replicas - 1;
    let mut faults = Vec::new();
    for n in 0..replicas {
        let when = match n {
            0 => first.clone(),
            _ => then(n - 1, Trigger::LeaderApplied, 1),
        };
        let what = what(script, n, replicas);
        let mut fault = Fault::new(when, what, Whom::LeaderOf(0), script.noticed_ms());
        if n < last {
            fault.counted_from = Some(last);
            fault.for_ms += script.context.timeouts.broker_return_ms();
        }
        faults.push(fault);
    }
    plan(faults)
}

/// All but the last go; that one takes records alone, goes, and those before it come back first. An
/// unclean election takes one of them.
fn the_last_one_took_some_alone(script: &Script<'_>) -> FaultPlan {
    let mut plan = in_turn(script, after(Trigger::Acked, script.nth()));
    let last = plan.faults.len() - 1;
    for fault in &mut plan.faults[..last] {
        fault.for_ms = SOON_MS;
    }
    let alone = then(last - 1, Trigger::IsrIsLeader, 1);
    insert(&mut plan.faults, last, script.mark(alone));
    plan.faults[last + 1].when = then(last, script.taken(), 4);
    plan
}

/// The first one goes and comes back first; what the others took meanwhile it lacks.
fn the_first_one_missed_some(script: &Script<'_>) -> FaultPlan {
    let mut plan = in_turn(script, after(Trigger::Acked, script.nth()));
    plan.faults[0].for_ms = SOON_MS;
    // Those that have the records stay away for longer than their sessions last.
    for fault in &mut plan.faults[1..] {
        fault.for_ms = 2 * script.noticed_ms();
    }
    let leads = then(0, Trigger::LeaderApplied, 1);
    insert(&mut plan.faults, 1, script.mark(leads));
    plan.faults[2].when = then(1, script.taken(), 4);
    plan
}
