//! How many connections to one sshd are made at a time.
//!
//! sshd bounds how many may be on their way through the handshake and the login: from ten on it drops
//! some of them at random (`MaxStartups 10:30:100`). Many nodes may be one sshd: many users of a machine,
//! or many machines behind a jump host that forwards ports.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// As many as are let through at a time: below the ten of OpenSSH, which others use too.
const AT_ONCE: usize = 8;

/// The doors of all sshds. Clones are the same doors.
#[derive(Debug, Clone, Default)]
pub struct Doors(Arc<Mutex<HashMap<Sshd, Door>>>);

/// A host, and a port there.
type Sshd = (String, u16);
type Door = Arc<Semaphore>;

impl Doors {
    /// Waits until one more may be on its way to this sshd; it is until what is returned is dropped.
    pub(super) async fn pass(&self, host: &str, port: u16) -> OwnedSemaphorePermit {
        let door = {
            let mut doors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let door = doors.entry((host.to_owned(), port));
            Arc::clone(door.or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE))))
        };
        let permit = door.acquire_owned().await;
        permit.expect("the semaphore is never closed")
    }
}
