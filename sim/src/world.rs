//! The kernel and the applications together: the driver loop, and the boundary between them.
//!
//! The driver is one task. It takes events from the kernel one by one; time moves only there. An
//! application is ordinary async code on a killable node of the host. Its calls step its engine at
//! once, at the present instant. When an event answered a call that an application waits for, the
//! driver lets the application run before it goes on.
//!
//! What a client was told is an event at the moment when its engine answers, whether or not the
//! application runs again; an engine that was killed answers nothing.
//!
//! Not modelled: the time that application code takes, other than what it sleeps or processes.

mod boundary;
mod calls;
mod handler;
mod sleepers;

use self::calls::Calls;
use self::handler::FailingHandler;
use self::sleepers::Sleepers;
use crate::application::{Caller, Context, Main, Parameters};
use crate::event::{ClientEvent, Event, EventKind};
use crate::host::{self, Clocks};
use crate::kernel::{Kernel, Next, purpose};
use crate::parts::{Part, enter};
use everyack_broker::client::{CallId, Reply};
use everyack_broker::env::{Process, Stream};
use everyack_broker::ids::NodeId;
use everyack_broker::time::{Nanos, SECONDS};
use std::any::Any;
use std::cell::{RefCell, RefMut};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::panic;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// How long a supervisor waits before it starts an application again that ended with an error.
pub const RESTART_DELAY: Nanos = SECONDS;

/// Control tokens from here on are the world's own; the driver uses those below.
const OWN_TOKENS: u64 = 1 << 63;
const RESTARTS: u64 = OWN_TOKENS | 1 << 62;

/// An application of the world, by its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApplicationId(pub usize);

/// What an application is made from.
pub struct ApplicationSpec<P> {
    /// Its name, "producer 0".
    pub name: String,
    /// The node of its client engine: application and engine are one operating system process.
    pub node: NodeId,
    /// Number among its kind, from 0.
    pub index: u32,
    /// The workload, and where it goes.
    pub parameters: Rc<Parameters>,
    /// Makes a new engine for each start.
    pub engine: Box<dyn Fn() -> P>,
    /// A second client of the same process, on a node of its own: it starts and ends with the first.
    pub companion: Option<Companion<P>>,
    /// Its code.
    pub main: Main,
}

/// See [`ApplicationSpec::companion`].
pub struct Companion<P> {
    /// The node of its engine.
    pub node: NodeId,
    /// Makes a new engine for each start.
    pub engine: Box<dyn Fn() -> P>,
}

struct ApplicationState<P> {
    spec: ApplicationSpec<P>,
    incarnation: u32,
    alive: bool,
    /// It was woken, or started, and has not run since.
    awake: bool,
    host_node: Option<madsim::task::NodeId>,
    /// One past the last message that it sent.
    next_sequence: u32,
}

struct State<P: Process> {
    seed: u64,
    kernel: Kernel<P>,
    clocks: Clocks,
    calls: Calls,
    sleepers: Sleepers,
    /// Handlers of applications that fail, by their node.
    handlers: BTreeMap<NodeId, FailingHandler>,
    /// An operator is there.
    attended: bool,
    applications: Vec<ApplicationState<P>>,
    /// Applications that are awake.
    awake: u32,
    /// Wakes the driver once none is.
    settled: Option<Waker>,
    panic: Option<Box<dyn Any + Send>>,
}

/// The world of one run. Clones share it.
pub struct World<P: Process>(Rc<RefCell<State<P>>>);

impl<P: Process> Clone for World<P> {
    fn clone(&self) -> Self {
        World(Rc::clone(&self.0))
    }
}

impl<P: Process + 'static> World<P> {
    /// Takes over a kernel. To be called on the host.
    pub fn new(seed: u64, kernel: Kernel<P>) -> Self {
        World(Rc::new(RefCell::new(State {
            seed,
            kernel,
            clocks: Clocks::current(),
            calls: Calls::default(),
            sleepers: Sleepers::default(),
            handlers: BTreeMap::new(),
            attended: false,
            applications: Vec::new(),
            awake: 0,
            settled: None,
            panic: None,
        })))
    }

    /// Whether an operator is there, see [`Context::is_attended`].
    ///
    /// [`Context::is_attended`]: crate::application::Context::is_attended
    pub fn set_attended(&self, attended: bool) {
        self.0.borrow_mut().attended = attended;
    }

    /// The kernel, for the driver between two events; not to be held over an await.
    pub fn kernel(&self) -> RefMut<'_, Kernel<P>> {
        RefMut::map(self.0.borrow_mut(), |state| &mut state.kernel)
    }

    /// Present instant.
    pub fn now(&self) -> Nanos {
        self.0.borrow().kernel.now()
    }

    /// Lets the kernel go on until it has something for the driver or an application, and lets the
    /// applications run that were woken. Their timers and restarts come back as [`Next::Quiet`].
    pub async fn next(&self) -> Next {
        let (next, restart, awake) = {
            let mut state = self.0.borrow_mut();
            state.answer_all();
            let mut restart = None;
            let next = match state.kernel.run_until_news() {
                Next::Control(token) if token >= RESTARTS => {
                    restart = state.restart_due(token);
                    Next::Quiet
                }
                Next::Control(token) if token >= OWN_TOKENS => {
                    state.wake_sleeper(token);
                    Next::Quiet
                }
                next => next,
            };
            state.answer_all();
            (next, restart, state.awake > 0)
        };
        if let Some(application) = restart {
            self.start_application(application).await;
        } else if awake {
            self.settle().await;
        }
        next
    }

    /// Moves every event since the last call behind those in `into`, in order: facts of a process and
    /// what its clients were told are in one stream. Frames that the kernel's watch picked go to
    /// `watched`.
    pub fn take_events(&self, into: &mut Vec<Event>, watched: &mut Vec<(NodeId, NodeId)>) {
        let mut state = self.0.borrow_mut();
        state.answer_all();
        if !state.kernel.events.is_empty() {
            into.append(&mut state.kernel.events);
        }
        if !state.kernel.watched.is_empty() {
            watched.append(&mut state.kernel.watched);
        }
    }

    /// Puts an event of the driver's own (a fault) into the stream.
    pub fn record(&self, node: NodeId, kind: EventKind) {
        let mut state = self.0.borrow_mut();
        state.answer_all();
        state.kernel.record(node, kind);
    }

    /// From here on the handler of the application on that node fails on the records that it is given
    /// next: on so many different ones, so often on each.
    pub fn break_handler(&self, node: NodeId, records: u32, times: u32) {
        let failing = FailingHandler::new(records, times);
        self.0.borrow_mut().handlers.insert(node, failing);
    }

    /// That handler works again.
    pub fn mend_handler(&self, node: NodeId) {
        self.0.borrow_mut().handlers.remove(&node);
    }

    /// Adds an application; it is not started yet.
    pub fn add_application(&self, spec: ApplicationSpec<P>) -> ApplicationId {
        let mut state = self.0.borrow_mut();
        state.applications.push(ApplicationState {
            spec,
            incarnation: 0,
            alive: false,
            awake: false,
            host_node: None,
            next_sequence: 0,
        });
        ApplicationId(state.applications.len() - 1)
    }

    /// Whether the application runs.
    pub fn is_running(&self, application: ApplicationId) -> bool {
        self.0.borrow().applications[application.0].alive
    }

    /// Starts an application with a new engine, and lets it run until it waits.
    pub async fn start_application(&self, application: ApplicationId) {
        let (context, main, name, known) = {
            let mut state = self.0.borrow_mut();
            let (seed, now) = (state.seed, state.kernel.now());
            let started = &mut state.applications[application.0];
            assert!(!started.alive, "{} runs already", started.spec.name);
            started.alive = true;
            started.incarnation += 1;
            let node = started.spec.node;
            let caller = Caller {
                application,
                node,
                incarnation: started.incarnation,
                companion: started.spec.companion.as_ref().map(|c| c.node),
            };
            let context = Context::new(
                self.0.clone(),
                caller,
                started.spec.index,
                Rc::clone(&started.spec.parameters),
                Stream::new(seed, purpose::application(node, started.incarnation)),
                now,
            );
            let parts = (
                context,
                Rc::clone(&started.spec.main),
                started.spec.name.clone(),
                started.host_node,
            );
            let engine = (started.spec.engine)();
            let companion = started.spec.companion.as_ref();
            let companion = companion.map(|c| (c.node, (c.engine)()));
            state.kernel.start(node, engine);
            if let Some((node, engine)) = companion {
                state.kernel.start(node, engine);
            }
            state.answer_all();
            state.awaken(application);
            parts
        };
        let task = Box::pin(self.clone().run_application(context, main));
        match known {
            Some(node) => host::restart_node(node, task),
            None => {
                let node = host::spawn_node(&name, task);
                self.0.borrow_mut().applications[application.0].host_node = Some(node);
            }
        }
        self.settle().await;
    }

    /// Kills an application and its engine at this instant: the engine answers nothing more, the
    /// application runs no further. Answers whether it was running.
    pub async fn kill_application(&self, application: ApplicationId) -> bool {
        let host_node = {
            let mut state = self.0.borrow_mut();
            if !state.applications[application.0].alive {
                return false;
            }
            state.end_application(application);
            state.applications[application.0].host_node
        };
        if let Some(node) = host_node {
            host::kill_node(node);
            host::let_ready_tasks_run().await;
        }
        self.settle().await;
        true
    }

    async fn run_application(self, context: Context, main: Main) {
        let caller = context.caller();
        let mut main = host::CatchUnwind(Box::pin(async move { main(context).await }));
        let outcome = poll_fn(|context| {
            let _part = enter(Part::Clients);
            self.0.borrow_mut().runs(caller);
            Pin::new(&mut main).poll(context)
        })
        .await;
        let mut state = self.0.borrow_mut();
        match outcome {
            Err(payload) => {
                state.panic.get_or_insert(payload);
            }
            Ok(outcome) if state.is_current(caller) => {
                state.end_application(caller.application);
                if outcome.is_err() {
                    let at = state.kernel.now().saturating_add(RESTART_DELAY);
                    let application = caller.application.0 as u64;
                    let token = RESTARTS | application << 32 | u64::from(caller.incarnation);
                    state.kernel.control(at, token);
                }
            }
            Ok(_) => {}
        }
    }

    /// Lets every application run that was woken, until each waits again.
    async fn settle(&self) {
        self.0.borrow().clocks.advance_to(self.now());
        poll_fn(|context| {
            let mut state = self.0.borrow_mut();
            if state.awake == 0 {
                return Poll::Ready(());
            }
            state.settled = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
        let panic = self.0.borrow_mut().panic.take();
        if let Some(payload) = panic {
            panic::resume_unwind(payload);
        }
    }
}

impl<P: Process> State<P> {
    fn client_event(&mut self, node: NodeId, event: ClientEvent) {
        self.kernel.record(node, EventKind::Client(event));
    }

    /// Hands the answers that the last step gave to who waits for them.
    #[inline]
    fn answer_all(&mut self) {
        if !self.kernel.replies.is_empty() {
            self.answer_some();
        }
    }

    fn answer_some(&mut self) {
        let mut replies = std::mem::take(&mut self.kernel.replies);
        for (_, call, reply) in replies.drain(..) {
            self.answer(call, reply);
        }
        self.kernel.replies = replies;
    }

    #[inline]
    fn answer(&mut self, call: CallId, reply: Reply) {
        let Some(pending) = self.calls.get_mut(call) else {
            return;
        };
        let application = pending.application;
        let (at, events) = (self.kernel.now(), &mut self.kernel.events);
        let node = self.applications[application.0].spec.node;
        pending.about.told(&reply, |event| {
            let kind = EventKind::Client(event);
            events.push(Event { at, node, kind });
        });
        match reply {
            Reply::Accepted => pending.accepted = true,
            reply => {
                assert!(pending.answer.is_none(), "{call:?} is answered twice");
                pending.answer = Some(reply);
            }
        }
        if let Some(waker) = pending.waker.take() {
            waker.wake();
            self.awaken(application);
        }
    }

    /// The application is about to be run by the host.
    fn awaken(&mut self, application: ApplicationId) {
        let awake = &mut self.applications[application.0].awake;
        self.awake += u32::from(!*awake);
        *awake = true;
    }

    fn fall_asleep(&mut self, application: ApplicationId) {
        let awake = &mut self.applications[application.0].awake;
        self.awake -= u32::from(*awake);
        *awake = false;
        if self.awake == 0
            && let Some(driver) = self.settled.take()
        {
            driver.wake();
        }
    }

    /// The host runs an application; it may be the last poll of one that was killed.
    fn runs(&mut self, caller: Caller) {
        if self.applications[caller.application.0].incarnation == caller.incarnation {
            self.fall_asleep(caller.application);
        }
    }

    fn is_current(&self, caller: Caller) -> bool {
        let application = &self.applications[caller.application.0];
        application.alive && application.incarnation == caller.incarnation
    }

    /// The operating system process of application and engine is gone.
    fn end_application(&mut self, application: ApplicationId) {
        let ended = &mut self.applications[application.0];
        ended.alive = false;
        let node = ended.spec.node;
        let companion = ended.spec.companion.as_ref().map(|c| c.node);
        self.kernel.kill(node);
        if let Some(companion) = companion {
            self.kernel.kill(companion);
        }
        self.calls.forget(application);
        self.sleepers.forget(application);
        self.fall_asleep(application);
    }

    /// The application whose restart this token announces, unless somebody started it meanwhile.
    fn restart_due(&self, token: u64) -> Option<ApplicationId> {
        let index = ((token & !RESTARTS) >> 32) as usize;
        let application = &self.applications[index];
        let unchanged = application.incarnation == token as u32 && !application.alive;
        unchanged.then_some(ApplicationId(index))
    }

    fn wake_sleeper(&mut self, token: u64) {
        if let Some((application, waker)) = self.sleepers.fire(token & !OWN_TOKENS) {
            waker.wake();
            self.awaken(application);
        }
    }
}

#[cfg(test)]
mod tests;
