use everyack_scenarios::suite;
use everyack_sim::run::sampled_wire;
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
#[allow(clippy::all)]
fn main() {
    let n: u64 = std::env::args().nth(1).map_or(16, |s| s.parse().unwrap());
    let suite = suite::bundled("standard").unwrap().unwrap();
    let cell = suite.cells().unwrap().remove(0);
    let specs: Vec<_> = (0..n)
        .map(|s| cell.spec(s, cell.draw(s), sampled_wire(s), None))
        .collect();
    if let Some(seed) = std::env::args().nth(3) {
        let s: u64 = seed.parse().unwrap();
        let mut spec = cell.spec(s, cell.draw(s), everyack_sim::spec::WireMode::Typed, None);
        spec.record = everyack_sim::spec::Record::Full;
        let r = everyack_sim::run(&spec);
        for st in &r.steps {
            println!("{} {} {} {:x}", st.at_ns, st.node, st.input, st.hash);
        }
        for st in &r.story {
            println!("STORY {:?}", st);
        }
        return;
    }
    let (mut ev, mut rq, mut sim, mut h) = (0, 0, 0, 0u64);
    #[allow(clippy::disallowed_methods)]
    let t = std::time::Instant::now();
    for s in &specs {
        let r = everyack_sim::run(s);
        if std::env::args().len() > 2 {
            println!("{:x} {} {}", r.trace_hash, r.events, r.requests);
        }
        ev += r.events;
        rq += r.requests;
        sim += r.simulated_ns;
        h = h.wrapping_mul(31).wrapping_add(r.trace_hash);
    }
    let w = t.elapsed().as_secs_f64();
    println!(
        "{:.1} runs/s {} events {} requests {:.1} sim s; hash {h:x}; Event {} Frame {} Input {} Output {}",
        n as f64 / w,
        ev / n,
        rq / n,
        sim as f64 / 1e9 / n as f64,
        std::mem::size_of::<everyack_sim::event::Event>(),
        std::mem::size_of::<everyack_broker::wire::Frame>(),
        std::mem::size_of::<everyack_broker::env::Input>(),
        std::mem::size_of::<everyack_broker::env::Output>()
    );
}
