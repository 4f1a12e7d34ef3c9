//! Signals, one every millisecond, for a thread that has to get along with them.

use nix::sys::pthread::{pthread_kill, pthread_self};
use nix::sys::signal::Signal;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

const EACH: Duration = Duration::from_millis(1);

/// While it lives, the thread that made it is interrupted every millisecond; from its first moment
/// one signal at least has come. Dropping it checks that.
#[derive(Debug)]
pub(crate) struct Interrupted {
    stop: Option<Sender<()>>,
    /// Gives back how many signals were seen to come.
    sender: Option<JoinHandle<u64>>,
    handler: signal_hook::SigId,
    /// It names the thread that made it.
    _stays: PhantomData<*const ()>,
}

impl Interrupted {
    #[must_use]
    pub(crate) fn begin() -> Self {
        let came = Arc::new(AtomicBool::new(false));
        let signal = Signal::SIGUSR1;
        let handler = signal_hook::flag::register(signal as i32, Arc::clone(&came)).unwrap();
        let (stop, stopped) = mpsc::channel();
        let (tell, told) = mpsc::channel();
        let target = pthread_self();
        let send = move || {
            let mut count = 0;
            while stopped.recv_timeout(EACH) == Err(RecvTimeoutError::Timeout) {
                pthread_kill(target, signal).unwrap();
                if came.swap(false, Ordering::AcqRel) {
                    count += 1;
                    let _ = tell.send(());
                }
            }
            count
        };
        let sender = Builder::new().name("interrupts".to_owned()).spawn(send).unwrap();
        told.recv().unwrap();
        Self { stop: Some(stop), sender: Some(sender), handler, _stays: PhantomData }
    }
}

impl Drop for Interrupted {
    fn drop(&mut self) {
        drop(self.stop.take());
        let count = self.sender.take().map(JoinHandle::join);
        signal_hook::low_level::unregister(self.handler);
        if !std::thread::panicking() {
            assert!(count.unwrap().unwrap() > 0, "no signal came");
        }
    }
}
