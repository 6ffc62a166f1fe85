//! Places for HTTP requests: a limit on the connections to one origin, with fair queues.
//!
//! Over HTTP/1.1 each request under way needs a connection of its own, and an event stream occupies one for as long as it
//! is open. So there are three kinds of places. Requests whose answer is awaited have one kind. A request whose answer turns
//! out to be an event stream moves to the second kind, so that streams do not keep requests from being sent. The third
//! kind is for what others wait for, such as the app's answer to a question of the server: it goes out even when everything
//! else is taken.

use std::sync::{Arc, MutexGuard};

use tokio::sync::Notify;

use crate::descriptors;
use crate::mutex::Mutex;

/// Requests to one origin whose answers are awaited or read.
const MAX_EXCHANGES: usize = 64;

/// Event streams from one origin. More are possible only in the places of requests.
const MAX_STREAMS: usize = 448;

/// Places for urgent messages alone.
const MAX_URGENT: usize = 8;

/// Descriptors that are left for everything that is no connection to the server: the callback listener and its
/// connections, the authorization server, name resolution, files, pipes of programs.
const OTHER_DESCRIPTORS: usize = 10;

/// Fewer places than these would make calls wait for streams.
const MIN_PLACES: usize = 4;

/// One of so many places is for urgent messages where there are few in all.
const URGENT_SHARE: usize = 8;

/// Kinds of requests, by what waits for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// An ordinary request.
    Request,
    /// The opening of an event stream by GET.
    Stream,
    /// A message that others wait for, and that is over soon: an answer to the server, a cancellation, the end of a session.
    Urgent,
}

/// Numbers of places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    exchanges: usize,
    streams: usize,
    urgent: usize,
}

/// The places for requests to one origin.
#[derive(Debug)]
pub(super) struct Places {
    state: Mutex<PlacesState>,
    /// The queue of each kind of traffic. Its lock is fair, and is held by the request that is next.
    queues: [tokio::sync::Mutex<()>; 3],
    freed: Notify,
}

#[derive(Debug)]
struct PlacesState {
    limits: Limits,
    used: Limits,
}

/// A place, which is free again when this is dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    kind: PlaceKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PlaceKind {
    Exchange,
    Stream,
    Urgent,
}

impl Limits {
    const NONE: Self = Self {
        exchanges: 0,
        streams: 0,
        urgent: 0,
    };

    /// Limits of a process that can open so many more descriptors, one for each place.
    pub(super) fn for_descriptors(free: usize) -> Self {
        let most = MAX_EXCHANGES + MAX_STREAMS + MAX_URGENT;
        let total = free
            .saturating_sub(OTHER_DESCRIPTORS)
            .clamp(MIN_PLACES, most);
        let urgent = (total / URGENT_SHARE).clamp(1, MAX_URGENT);
        let exchanges = (total - urgent).div_ceil(2).min(MAX_EXCHANGES);
        Self {
            exchanges,
            streams: total - urgent - exchanges,
            urgent,
        }
    }

    /// Limits where so many requests can share connections, streams or not.
    pub(super) fn shared(total: usize) -> Self {
        let urgent = (total / URGENT_SHARE).clamp(1, MAX_URGENT);
        Self {
            exchanges: total.saturating_sub(urgent).max(1),
            streams: 0,
            urgent,
        }
    }

    const fn number_of(&mut self, kind: PlaceKind) -> &mut usize {
        match kind {
            PlaceKind::Exchange => &mut self.exchanges,
            PlaceKind::Stream => &mut self.streams,
            PlaceKind::Urgent => &mut self.urgent,
        }
    }
}

impl Default for Limits {
    /// For what this process can open now.
    fn default() -> Self {
        Self::for_descriptors(descriptors::free())
    }
}

impl Places {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(PlacesState {
                limits,
                used: Limits::NONE,
            }),
            queues: Default::default(),
            freed: Notify::new(),
        })
    }

    /// Replaces the limits. What has a place keeps it.
    pub(super) fn limit(&self, limits: Limits) {
        self.lock().limits = limits;
        self.freed.notify_waiters();
    }

    /// A place, if one is free and nobody else waits for it.
    pub(super) fn try_take(self: &Arc<Self>, traffic: Traffic) -> Option<Place> {
        let _turn = self.queues[traffic as usize].try_lock().ok()?;
        self.free_for(traffic)
    }

    /// A place, after those who came before.
    pub(super) async fn take(self: &Arc<Self>, traffic: Traffic) -> Place {
        let _turn = self.queues[traffic as usize].lock().await;
        loop {
            let mut freed = std::pin::pin!(self.freed.notified());
            freed.as_mut().enable();
            if let Some(place) = self.free_for(traffic) {
                return place;
            }
            freed.await;
        }
    }

    /// Resolves when the next place becomes free.
    pub(super) async fn freed(&self) {
        self.freed.notified().await;
    }

    fn free_for(self: &Arc<Self>, traffic: Traffic) -> Option<Place> {
        let kinds: &[PlaceKind] = match traffic {
            Traffic::Request => &[PlaceKind::Exchange],
            Traffic::Stream => &[PlaceKind::Stream, PlaceKind::Exchange],
            Traffic::Urgent => &[PlaceKind::Exchange, PlaceKind::Urgent],
        };
        let mut state = self.lock();
        let kind = kinds.iter().copied().find(|kind| state.has_room(*kind))?;
        *state.used.number_of(kind) += 1;
        drop(state);
        Some(Place {
            places: Arc::clone(self),
            kind,
        })
    }

    fn lock(&self) -> MutexGuard<'_, PlacesState> {
        self.state.lock()
    }
}

impl PlacesState {
    const fn has_room(&mut self, kind: PlaceKind) -> bool {
        *self.used.number_of(kind) < *self.limits.number_of(kind)
    }
}

impl Place {
    /// The answer is an event stream, which may be open for long: it moves to the places of streams, if one is free.
    pub(super) fn becomes_stream(&mut self) {
        if self.kind == PlaceKind::Stream {
            return;
        }
        let mut state = self.places.lock();
        if state.has_room(PlaceKind::Stream) {
            *state.used.number_of(self.kind) -= 1;
            *state.used.number_of(PlaceKind::Stream) += 1;
            self.kind = PlaceKind::Stream;
            drop(state);
            self.places.freed.notify_waiters();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *self.places.lock().used.number_of(self.kind) -= 1;
        self.places.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEW: Limits = Limits {
        exchanges: 2,
        streams: 1,
        urgent: 1,
    };

    const fn total(limits: Limits) -> usize {
        limits.exchanges + limits.streams + limits.urgent
    }

    #[test]
    fn places_leave_descriptors_for_everything_else() {
        for free in [0, 5, 17, 22, 50, 200, 1000, 8192, usize::MAX] {
            let limits = Limits::for_descriptors(free);
            assert!(limits.exchanges >= 1 && limits.streams >= 1 && limits.urgent >= 1);
            assert!(limits.exchanges <= MAX_EXCHANGES && limits.urgent <= MAX_URGENT);
            assert!(total(limits) <= MIN_PLACES.max(free.saturating_sub(OTHER_DESCRIPTORS)));
        }
        let most = Limits::for_descriptors(usize::MAX);
        assert_eq!(total(most), MAX_EXCHANGES + MAX_STREAMS + MAX_URGENT);
    }

    #[test]
    fn streams_leave_their_places_to_requests_and_urgent_messages_find_one_still() {
        let places = Places::new(FEW);
        let take = || places.try_take(Traffic::Request);
        let mut first = take().unwrap();
        let _second = take().unwrap();
        assert!(take().is_none());
        first.becomes_stream();
        let mut third = take().unwrap();
        // There is no place for another stream, so it stays where it is.
        third.becomes_stream();
        assert!(take().is_none());
        assert!(places.try_take(Traffic::Stream).is_none());
        let urgent = places.try_take(Traffic::Urgent).unwrap();
        assert!(places.try_take(Traffic::Urgent).is_none());
        drop(urgent);
        drop(first);
        let stream = places.try_take(Traffic::Stream).unwrap();
        assert_eq!(stream.kind, PlaceKind::Stream);
    }

    #[tokio::test]
    async fn requests_get_places_in_the_order_in_which_they_came() {
        let places = Places::new(FEW);
        let held: Vec<_> = std::iter::from_fn(|| places.try_take(Traffic::Request)).collect();
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut waiting = Vec::new();
        for number in 0..5 {
            let (places, order) = (Arc::clone(&places), Arc::clone(&order));
            waiting.push(tokio::spawn(async move {
                let _place = places.take(Traffic::Request).await;
                order.lock().push(number);
            }));
            tokio::task::yield_now().await;
        }
        // One that has been given up is in nobody's way.
        waiting.remove(1).abort();
        drop(held);
        for task in waiting {
            task.await.unwrap();
        }
        assert_eq!(*order.lock(), [0, 2, 3, 4]);
        let late = places.try_take(Traffic::Request);
        assert!(late.is_some());
    }

    #[tokio::test]
    async fn more_places_let_those_go_that_wait() {
        let places = Places::new(FEW);
        let _held: Vec<_> = std::iter::from_fn(|| places.try_take(Traffic::Request)).collect();
        let waiting = tokio::spawn({
            let places = Arc::clone(&places);
            async move { places.take(Traffic::Request).await }
        });
        tokio::task::yield_now().await;
        places.limit(Limits::shared(100));
        waiting.await.unwrap();
        assert_eq!(total(places.lock().limits), 100);
    }
}
