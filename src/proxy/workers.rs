//! The threads that serve clients, each its own from when they come to when they leave.
//!
//! What a request touches stays on one core: nobody is woken across threads for it, and no cache line
//! goes to and fro with it. A runtime that moves tasks to whoever is free costs a seventh more of CPU
//! a request, and more where there are few.

use std::cell::Cell;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;

use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// So many threads at most: one serves 15,000 requests a second.
pub(super) const MOST: usize = 8;

thread_local! {
    static HERE: Cell<usize> = const { Cell::new(0) };
}

/// Which of them runs this, from 1 on; 0 on any other thread.
pub(super) fn here() -> usize {
    HERE.get()
}

/// What each waits by takes so many open files: epoll, what wakes it, and signals.
const FILES: u64 = 3;

/// No more threads than one for so many open files that the process may have.
const FILES_FOR_EACH: u64 = 64;

/// As many threads as there are cores to run them, and open files for their clients.
pub(super) fn as_many_as(files: u64) -> usize {
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let served = usize::try_from(files / FILES_FOR_EACH).unwrap_or(MOST);
    cores.min(served).clamp(1, MOST)
}

/// All of them. Dropped, they end, and with them whatever they still do.
#[derive(Debug)]
pub(super) struct Workers(Vec<Worker>);

#[derive(Debug)]
struct Worker {
    runtime: Handle,
    /// Shared with each of its clients, and so a count of them.
    clients: Arc<()>,
    /// The thread ends when this is dropped.
    _alive: oneshot::Sender<()>,
}

impl Workers {
    /// Starts so many; with none, whoever accepts clients also serves them.
    pub(super) fn start(threads: usize) -> io::Result<Self> {
        let numbers = 1..=threads.min(MOST);
        Ok(Self(numbers.map(Worker::start).collect::<Result<_, _>>()?))
    }

    /// How many open files they take.
    pub(super) fn files(&self) -> u64 {
        self.0.len() as u64 * FILES
    }

    /// Has a client served by the one that has the fewest.
    pub(super) fn serve<F>(
        &self,
        stream: TcpStream,
        converse: impl FnOnce(TcpStream) -> F + Send + 'static,
    ) -> io::Result<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let Some(worker) = self
            .0
            .iter()
            .min_by_key(|it| Arc::strong_count(&it.clients))
        else {
            tokio::spawn(converse(stream));
            return Ok(());
        };
        let stream = stream.into_std()?;
        let client = Arc::clone(&worker.clients);
        worker.runtime.spawn(async move {
            match TcpStream::from_std(stream) {
                Ok(stream) => converse(stream).await,
                Err(error) => tracing::warn!(%error, "a connection was not taken over"),
            }
            drop(client);
        });
        Ok(())
    }
}

impl Worker {
    fn start(number: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (alive, over) = oneshot::channel();
        let named = thread::Builder::new().name(format!("worker-{number}"));
        named.spawn(move || {
            HERE.set(number);
            // Nothing is ever sent: it ends with who could.
            let _ = runtime.block_on(over);
        })?;
        Ok(Self {
            runtime: handle,
            clients: Arc::default(),
            _alive: alive,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpListener;
    use tokio::sync::mpsc;

    use super::*;

    /// A client that has connected, as it was accepted, and its own end.
    async fn client() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let asking = TcpStream::connect(listener.local_addr().unwrap()).await;
        (listener.accept().await.unwrap().0, asking.unwrap())
    }

    /// Where a client is served that stays, and what tells of its end.
    async fn served(workers: &Workers) -> (usize, TcpStream, mpsc::Receiver<()>) {
        let (accepted, asking) = client().await;
        let (tell, mut told) = mpsc::channel(1);
        let (stays, over) = mpsc::channel::<()>(1);
        let converse = |stream: TcpStream| async move {
            tell.send(here()).await.unwrap();
            stream.readable().await.unwrap();
            drop(stays);
        };
        workers.serve(accepted, converse).unwrap();
        (told.recv().await.unwrap(), asking, over)
    }

    #[tokio::test]
    async fn a_client_comes_to_who_has_the_fewest() {
        let workers = Workers::start(3).unwrap();
        let mut clients = Vec::new();
        for _ in 0..6 {
            clients.push(served(&workers).await);
        }
        let at: Vec<_> = clients.iter().map(|(at, ..)| *at).collect();
        assert_eq!(at, [1, 2, 3, 1, 2, 3]);
        let (left, asking, mut over) = clients.remove(1);
        drop(asking);
        assert_eq!(over.recv().await, None);
        // Its place is free a moment after its end.
        while Arc::strong_count(&workers.0[left - 1].clients) > 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(served(&workers).await.0, left);
    }

    #[test]
    fn few_open_files_are_left_to_clients() {
        for files in [0, 32, 64, 127] {
            assert_eq!(as_many_as(files), 1);
        }
        assert!((1..=MOST).contains(&as_many_as(u64::MAX)));
    }

    #[tokio::test]
    async fn without_workers_it_is_served_where_it_came() {
        let workers = Workers::start(0).unwrap();
        let (at, _asking, _over) = served(&workers).await;
        assert_eq!(at, 0);
    }

    #[tokio::test]
    async fn they_end_with_who_started_them() {
        let workers = Workers::start(1).unwrap();
        let (_, _asking, mut over) = served(&workers).await;
        drop(workers);
        assert_eq!(over.recv().await, None);
    }
}
