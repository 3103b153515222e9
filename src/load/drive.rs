//! The loop: pacing, stopping and transport meet here, and nowhere else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::shape::Course;

/// What carries a request, as the loop sees it.
pub(super) trait Transport: Send + Sync + 'static {
    /// What a request needs before its moment comes: a connection.
    type Link: Send;
    /// What is seen of a request.
    type Seen: Send + 'static;

    /// Makes ready for one request.
    fn open(&self) -> impl Future<Output = Self::Link> + Send;

    /// Sends request `index`, and sees it through.
    fn send(&self, link: Self::Link, index: u32) -> impl Future<Output = Self::Seen> + Send;
}

/// Drives a course to its end, and returns what was seen, in the order of sending.
///
/// There is one lane for each request that may be in flight. Every lane makes its first link ready
/// before any lane sends, so that no connection is made while the first requests are measured.
pub(super) async fn drive<T: Transport>(course: Course, transport: Arc<T>) -> Vec<T::Seen> {
    let width = course.in_flight();
    let next = Arc::new(AtomicU32::new(0));
    let ready = Arc::new(Barrier::new(width as usize));
    let mut lanes = JoinSet::new();
    for _ in 0..width {
        let (transport, next, ready) = (transport.clone(), next.clone(), ready.clone());
        lanes.spawn(async move {
            let claim = || Some(next.fetch_add(1, Relaxed)).filter(|i| *i < course.requests());
            let mut gate = Some(ready);
            let mut seen = Vec::new();
            while let Some(index) = claim() {
                let link = transport.open().await;
                if let Some(gate) = gate.take() {
                    gate.wait().await; // no lane claims twice before every lane claimed once
                }
                seen.push((index, transport.send(link, index).await));
            }
            seen
        });
    }
    let mut seen: Vec<_> = lanes.join_all().await.into_iter().flatten().collect();
    seen.sort_by_key(|(index, _)| *index);
    seen.into_iter().map(|(_, seen)| seen).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::{LoadShape, Pacing, Stop};

    /// Counts what is in flight; a request ends when `together` of them have met.
    struct Counting {
        now: AtomicU32,
        peak: AtomicU32,
        opened: AtomicU32,
        opened_at_first: AtomicU32,
        together: Barrier,
    }

    impl Counting {
        fn meeting(together: usize) -> Arc<Self> {
            Arc::new(Self {
                now: AtomicU32::new(0),
                peak: AtomicU32::new(0),
                opened: AtomicU32::new(0),
                opened_at_first: AtomicU32::new(0),
                together: Barrier::new(together),
            })
        }
    }

    impl Transport for Counting {
        type Link = ();
        type Seen = u32;

        async fn open(&self) {
            self.opened.fetch_add(1, Relaxed);
        }

        async fn send(&self, (): (), index: u32) -> u32 {
            if index == 0 {
                self.opened_at_first
                    .store(self.opened.load(Relaxed), Relaxed);
            }
            let now = self.now.fetch_add(1, Relaxed) + 1;
            self.peak.fetch_max(now, Relaxed);
            self.together.wait().await;
            self.now.fetch_sub(1, Relaxed);
            index
        }
    }

    #[tokio::test]
    async fn a_batch_is_all_in_flight_over_links_made_before() {
        let transport = Counting::meeting(8);
        let seen = drive(LoadShape::Batch(8).course(), transport.clone()).await;
        assert_eq!(seen, (0..8).collect::<Vec<_>>());
        assert_eq!(transport.peak.load(Relaxed), 8);
        assert_eq!(transport.opened_at_first.load(Relaxed), 8);
    }

    #[tokio::test]
    async fn a_sequence_has_one_in_flight() {
        let transport = Counting::meeting(1);
        let seen = drive(LoadShape::Sequential(5).course(), transport.clone()).await;
        assert_eq!(seen, [0, 1, 2, 3, 4]);
        assert_eq!(transport.peak.load(Relaxed), 1);
        assert_eq!(transport.opened.load(Relaxed), 5);
    }

    #[tokio::test]
    async fn a_closed_course_never_has_more_in_flight_than_it_says() {
        let transport = Counting::meeting(3);
        let course = Course {
            pacing: Pacing::Closed { in_flight: 3 },
            stop: Stop::After(9),
        };
        assert_eq!(drive(course, transport.clone()).await.len(), 9);
        assert_eq!(transport.peak.load(Relaxed), 3);
    }
}
