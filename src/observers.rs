//! Observers that come and go while a bridge works.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mcp_bridge_net::mutex::Mutex;
use mcp_bridge_net::observer::{ObservedEvent, Observer};

/// Several observers, or none: then nothing is observed.
#[derive(Debug, Default)]
pub(crate) struct Observers {
    /// True if there is one.
    is_watching: AtomicBool,
    all: Mutex<Vec<Arc<dyn Observer>>>,
}

impl Observers {
    /// Lets one more see what happens.
    pub(crate) fn add(&self, observer: Arc<dyn Observer>) {
        let mut all = self.all.lock();
        all.push(observer);
        self.is_watching.store(true, Ordering::Relaxed);
    }

    /// Lets it see no more.
    #[cfg(any(feature = "commands", test))]
    pub(crate) fn remove(&self, observer: &Arc<dyn Observer>) {
        let mut all = self.all.lock();
        all.retain(|known| !Arc::ptr_eq(known, observer));
        self.is_watching.store(!all.is_empty(), Ordering::Relaxed);
    }
}

impl Observer for Observers {
    fn observe(&self, event: &ObservedEvent<'_>) {
        for observer in self.all.lock().iter() {
            observer.observe(event);
        }
    }

    fn is_watching(&self) -> bool {
        self.is_watching.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mcp_bridge_net::observer::{EventKind, Observation, Step};

    #[derive(Debug, Default)]
    struct Heard(Mutex<Vec<String>>);

    impl Observer for Heard {
        fn observe(&self, event: &ObservedEvent<'_>) {
            if let EventKind::Step { detail, .. } = event.kind {
                self.0.lock().push(detail.to_owned());
            }
        }
    }

    #[test]
    fn each_hears_what_happens_while_it_is_there_and_without_one_nothing_is_made() {
        let observers = Arc::new(Observers::default());
        let observation = Observation::by(Arc::clone(&observers) as Arc<dyn Observer>);
        let say = |detail: &str| observation.step(Step::Stream, || detail.to_owned());
        let (first, second) = (Arc::new(Heard::default()), Arc::new(Heard::default()));
        observation.step(Step::Stream, || panic!("nobody is there"));
        let [one, other] = [&first, &second].map(|it| Arc::clone(it) as Arc<dyn Observer>);
        observers.add(Arc::clone(&one));
        say("a");
        observers.add(Arc::clone(&other));
        say("b");
        observers.remove(&one);
        say("c");
        observers.remove(&other);
        observation.step(Step::Stream, || panic!("nobody is there"));
        assert_eq!(*first.0.lock(), ["a", "b"]);
        assert_eq!(*second.0.lock(), ["b", "c"]);
    }
}
