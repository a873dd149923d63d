//! Runs a world on madsim: one seed, one fresh thread, one runtime.
//!
//! A panic anywhere inside (a process, an application, the driver) ends the run and comes back as a
//! value, with its place; nothing is printed. Nothing outlives the run: madsim frees a node's tasks
//! only when the node is killed and polled once more, so every node is killed and a simulated
//! millisecond passes before the runtime goes.

use std::any::Any;
use std::cell::RefCell;
use std::future::Future;
use std::panic::{self, AssertUnwindSafe};
use std::pin::Pin;
use std::sync::Once;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use everyack_broker::time::Nanos;
use madsim::runtime::{Handle, Runtime};
use madsim::task::NodeId as HostNode;
use madsim::time::TimeHandle;

/// A future of one thread.
pub(crate) type LocalFuture = Pin<Box<dyn Future<Output = ()>>>;

thread_local! {
    /// The nodes that this thread's run has created, to be killed at its end.
    static NODES: RefCell<Vec<HostNode>> = const { RefCell::new(Vec::new()) };
    /// Hands a future to a node that is being created or restarted: madsim takes futures of one
    /// thread only from an initializer, which must itself be `Send`.
    static STARTING: RefCell<Option<LocalFuture>> = const { RefCell::new(None) };
    /// On threads of a run: the message and place of its panic.
    static PANIC: RefCell<Option<Option<String>>> = const { RefCell::new(None) };
}

/// Runs `body` to its end on a thread and a runtime of its own, both seeded with `seed`. `Err` is the
/// message and place of a panic.
pub fn host<T, B, F>(seed: u64, body: B) -> Result<T, String>
where
    T: Send,
    B: FnOnce() -> F + Send,
    F: Future<Output = T>,
{
    keep_panics_quiet();
    thread::scope(|scope| {
        // The seed runner's own thread: madsim needs a fresh one for every seed.
        let run = thread::Builder::new()
            .name(format!("seed {seed:#x}"))
            .spawn_scoped(scope, move || {
                PANIC.with_borrow_mut(|panic| *panic = Some(None));
                let outcome = panic::catch_unwind(AssertUnwindSafe(|| run(seed, body)));
                outcome.map_err(|payload| {
                    PANIC
                        .with_borrow_mut(|panic| panic.as_mut().and_then(Option::take))
                        .unwrap_or_else(|| message_of(&*payload))
                })
            })
            .expect("a thread can be started");
        run.join().expect("panics are caught inside")
    })
}

fn run<T, B, F>(seed: u64, body: B) -> T
where
    B: FnOnce() -> F,
    F: Future<Output = T>,
{
    let runtime = Runtime::with_seed_and_config(seed, madsim::Config::default());
    let outcome = runtime.block_on(async {
        let outcome = CatchUnwind(Box::pin(async { body().await })).await;
        let handle = Handle::current();
        for node in NODES.with_borrow_mut(std::mem::take) {
            handle.kill(node);
        }
        madsim::time::sleep(Duration::from_millis(1)).await;
        outcome
    });
    drop(runtime);
    outcome.unwrap_or_else(|payload| panic::resume_unwind(payload))
}

fn message_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").to_string()
}

/// The process-wide panic hook keeps what panics on threads of a run, and passes on all others.
fn keep_panics_quiet() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let place = info
                .location()
                .map_or(String::new(), |at| format!(", {}:{}", at.file(), at.line()));
            let kept = PANIC.try_with(|panic| match panic.borrow_mut().as_mut() {
                Some(first) => {
                    let text = message_of(info.payload());
                    first.get_or_insert_with(|| format!("{text}{place}"));
                    true
                }
                None => false,
            });
            if !kept.unwrap_or(false) {
                previous(info);
            }
        }));
    });
}

/// A future whose panic is its outcome, so that madsim never sees one (it would print it).
pub(crate) struct CatchUnwind<F>(pub Pin<Box<F>>);

impl<F: Future> Future for CatchUnwind<F> {
    type Output = thread::Result<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let future = self.0.as_mut();
        match panic::catch_unwind(AssertUnwindSafe(|| future.poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(outcome)) => Poll::Ready(Ok(outcome)),
            Err(payload) => Poll::Ready(Err(payload)),
        }
    }
}

/// Creates a killable node that runs this future.
pub(crate) fn spawn_node(name: &str, future: LocalFuture) -> HostNode {
    STARTING.with_borrow_mut(|starting| *starting = Some(future));
    let node = Handle::current()
        .create_node()
        .name(name)
        .init(|| STARTING.with_borrow_mut(Option::take).expect("handed over"))
        .build();
    NODES.with_borrow_mut(|nodes| nodes.push(node.id()));
    node.id()
}

/// Kills a node; its futures are dropped when the calling task yields.
pub(crate) fn kill_node(node: HostNode) {
    Handle::current().kill(node);
}

/// Kills whatever runs on the node and runs this future there. A restart alone would not reset it.
pub(crate) fn restart_node(node: HostNode, future: LocalFuture) {
    kill_node(node);
    STARTING.with_borrow_mut(|starting| *starting = Some(future));
    Handle::current().restart(node);
}

/// Lets every task that is ready run, then returns: madsim fires timers only when no task is ready.
pub(crate) async fn let_ready_tasks_run() {
    // The shortest sleep that there is.
    madsim::time::sleep(Duration::from_millis(1)).await;
}

/// The clocks that code on the host reads. They follow the world's time.
pub(crate) struct Clocks {
    time: TimeHandle,
}

impl Clocks {
    /// Those of this thread's run.
    pub(crate) fn current() -> Clocks {
        Clocks {
            time: TimeHandle::current(),
        }
    }

    /// Moves them to this instant of the world, where they are not past it.
    pub(crate) fn advance_to(&self, now: Nanos) {
        let ahead = Duration::from_nanos(now).checked_sub(self.time.elapsed());
        if let Some(ahead) = ahead {
            self.time.advance(ahead);
        }
    }
}
