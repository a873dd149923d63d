//! A leader that is alone in its ISR, and fails: its followers are cut off from it, or were killed
//! before it.

use super::script::{POWER, Script, after, plan, then};
use everyack_sim::fault::{Direction, Family, Fault, FaultPlan, Trigger, What, When, Whom};
use everyack_sim::mechanism::Mechanism::{self, *};

/// How long after the failure others come back first, in milliseconds.
const SOON_MS: u64 = 100;

pub(super) fn plans(script: &Script<'_>, mechanism: Mechanism) -> Vec<FaultPlan> {
    match mechanism {
        P01 => vec![fails(script, Trigger::ProduceInFlight, 2)],
        P19 => vec![fails(script, Trigger::ProduceArrived, 2)],
        P04 => {
            let next = if is_shrunk(script) {
                // Its other partitions are not as far.
                at_once(script)
            } else {
                // Other partitions lose their leaders first.
                let alone = after(script.alone_on_the_leader(), script.nth());
                script.behind_slow_links(starting(script, alone, None))
            };
            vec![fails(script, script.taken(), 4), next]
        }
        // What it took alone; or with one other, and its own copy is gone.
        R02 if script.family == Family::ShrunkIsrDiskDestroyed => {
            let with_another = one_follower_missed_some(script);
            match script.config.effective_min_isr {
                1 => vec![fails(script, script.taken(), 4), with_another],
                _ => vec![with_another],
            }
        }
        R01 | R02 | S02 | S01 => vec![
            fails(script, script.taken(), 4),
            fails(script, script.taken(), 8),
        ],
        // What the others have too, from before: it fails as soon as it is alone.
        R05 if script.config.unclean => vec![all_back_together(script)],
        R05 | S20 => vec![at_once(script)],
        R03 => vec![one_follower_missed_some(script)],
        _ => Vec::new(),
    }
}

/// What the family does to the leader in the end.
fn blow(script: &Script<'_>) -> What {
    match script.family {
        Family::ShrunkIsrCrash | Family::LastIsrCrash => What::Crash,
        Family::ShrunkIsrPowerLoss | Family::LastIsrPowerLoss => POWER,
        Family::ShrunkIsrDiskDestroyed => What::DestroyDisk,
        other => panic!("the family {other} does not end with the last of an ISR"),
    }
}

fn is_shrunk(script: &Script<'_>) -> bool {
    matches!(
        script.family,
        Family::ShrunkIsrCrash | Family::ShrunkIsrPowerLoss | Family::ShrunkIsrDiskDestroyed
    )
}

const CUT: What = What::CutFromFollowers {
    direction: Direction::Both,
};

/// Others than the leader: replicas, or with one replica the brokers that have none.
fn others(script: &Script<'_>) -> std::ops::Range<u32> {
    let replicas = script.config.replication_factor.unsigned_abs().max(2);
    1..u32::from(replicas).min(script.config.brokers.max(2))
}

/// The faults that leave the leader alone, from this instant on. The outages are counted from the
/// strike of the fault `last`, and end soon after it for those that were killed.
fn left_alone(script: &Script<'_>, first: When, last: usize) -> Vec<Fault> {
    let mut faults = Vec::new();
    if is_shrunk(script) {
        // The cut outlasts the leader's session, so that an election finds nobody who copied since.
        faults.push(Fault::new(
            first,
            CUT,
            Whom::LeaderOf(0),
            script.noticed_ms(),
        ));
    } else {
        for (n, other) in others(script).enumerate() {
            let when = match n {
                0 => first.clone(),
                _ => When::AfterFault {
                    fault: n - 1,
                    delay_ms: 50,
                },
            };
            let whom = Whom::ReplicaOf(0, other);
            faults.push(Fault::new(when, What::Crash, whom, SOON_MS));
        }
    }
    for fault in &mut faults {
        fault.counted_from = Some(last);
    }
    faults
}

/// Left alone from this instant on; then the leader fails, at once where no event is to come first.
fn starting(script: &Script<'_>, first: When, event: Option<(Trigger, u32)>) -> FaultPlan {
    let before = if is_shrunk(script) {
        1
    } else {
        others(script).len()
    };
    let alone = then(before - 1, Trigger::IsrIsLeader, 1);
    let last = before + usize::from(event.is_some());
    let mut faults = left_alone(script, first, last);
    let when = match event {
        None => alone,
        Some((event, nth)) => {
            faults.push(script.mark(alone));
            then(before, event, nth)
        }
    };
    let for_ms = script.noticed_ms();
    faults.push(Fault::new(when, blow(script), Whom::LeaderOf(0), for_ms));
    plan(faults)
}

/// The leader is left alone, and fails after so many of these events.
fn fails(script: &Script<'_>, event: Trigger, nth: u32) -> FaultPlan {
    let first = after(Trigger::Acked, script.nth());
    starting(script, first, Some((event, nth)))
}

/// The leader is left alone when consumers are behind, and fails as soon as it is.
fn at_once(script: &Script<'_>) -> FaultPlan {
    starting(script, after(Trigger::Acked, script.late_nth()), None)
}

/// As above, and it is back right behind the others: whoever is unfenced first leads.
fn all_back_together(script: &Script<'_>) -> FaultPlan {
    let mut plan = at_once(script);
    let last = plan.faults.len() - 1;
    let back_ms = plan.faults[last].for_ms;
    for fault in &mut plan.faults[..last] {
        fault.for_ms = back_ms - 1;
    }
    plan
}

/// One replica is left behind first, and the others take records; then the leader is left alone and
/// fails, and the one that was left behind is elected: it is the first of the assignment that lives.
fn one_follower_missed_some(script: &Script<'_>) -> FaultPlan {
    let first = after(Trigger::Acked, script.nth());
    let missed = Whom::ReplicaOf(0, 1);
    let noticed_ms = script.noticed_ms();
    let timeouts = &script.context.timeouts;
    let (what, behind_ms, for_ms) = if is_shrunk(script) {
        // `ReplicaManager.startup` looks every half of the limit.
        (CUT, timeouts.replica_lag_time_max_ms * 3 / 2, noticed_ms)
    } else {
        let noticed = timeouts.broker_session_timeout_ms;
        (
            What::Crash,
            noticed + timeouts.broker_heartbeat_interval_ms,
            SOON_MS,
        )
    };
    let mut faults = vec![Fault::new(first, what, missed, for_ms)];
    // Once it is out of the ISR, four records without it.
    faults.push(script.mark(When::AfterFault {
        fault: 0,
        delay_ms: behind_ms,
    }));
    let when = then(1, script.taken(), 4);
    if is_shrunk(script) {
        faults.push(Fault::new(when, CUT, Whom::LeaderOf(0), noticed_ms));
    } else {
        for other in 2..script.config.replication_factor.unsigned_abs() {
            let whom = Whom::ReplicaOf(0, other.into());
            faults.push(Fault::new(when.clone(), What::Crash, whom, 2 * noticed_ms));
        }
    }
    // The leader's own, behind these.
    let last = faults.len();
    for fault in faults
        .iter_mut()
        .filter(|f| !matches!(f.what, What::SlowLinks { .. }))
    {
        fault.counted_from = Some(last);
    }
    let alone = then(faults.len() - 1, Trigger::IsrIsLeader, 1);
    faults.push(Fault::new(
        alone,
        blow(script),
        Whom::LeaderOf(0),
        2 * noticed_ms,
    ));
    plan(faults)
}
