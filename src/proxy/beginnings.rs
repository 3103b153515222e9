//! When each request in flight at a backend began. A place is used again, so that no request costs an
//! allocation; only who asks for the oldest looks through them all.

use tokio::time::Instant;

/// The beginnings of what has not ended.
#[derive(Debug, Default)]
pub(super) struct Beginnings {
    places: Vec<Option<Instant>>,
    free: Vec<usize>,
}

impl Beginnings {
    /// Notes that something begins now, and where that is noted.
    pub(super) fn note(&mut self) -> usize {
        let now = Some(Instant::now());
        if let Some(place) = self.free.pop() {
            self.places[place] = now;
            return place;
        }
        self.places.push(now);
        self.places.len() - 1
    }

    /// Forgets what ended.
    pub(super) fn forget(&mut self, place: usize) {
        self.places[place] = None;
        self.free.push(place);
    }

    /// The first of them.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.places.iter().flatten().min().copied()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_oldest_is_found_wherever_it_stands() {
        let mut beginnings = Beginnings::default();
        let began = Instant::now();
        let second = Duration::from_secs(1);
        let first = beginnings.note();
        tokio::time::advance(second).await;
        let other = beginnings.note();
        tokio::time::advance(second).await;
        assert_eq!(beginnings.oldest(), Some(began));
        beginnings.forget(first);
        assert_eq!(beginnings.note(), first, "a place is used again");
        assert_eq!(beginnings.oldest(), Some(began + second));
        beginnings.forget(other);
        assert_eq!(beginnings.oldest(), Some(began + 2 * second));
        beginnings.forget(first);
        assert_eq!(beginnings.oldest(), None);
    }
}
