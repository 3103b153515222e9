//! The machine, which scenarios share, and have alone while they measure.

use std::cell::Cell;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A share of the machine, or all of it. It ends with its value.
#[derive(Debug)]
pub(crate) struct Share {
    is_whole: bool,
}

#[derive(Debug, Default)]
struct Users {
    sharing: usize,
    is_whole_taken: bool,
    waiting_for_whole: usize,
}

static USERS: Mutex<Users> = Mutex::new(Users {
    sharing: 0,
    is_whole_taken: false,
    waiting_for_whole: 0,
});
static CHANGED: Condvar = Condvar::new();

thread_local! {
    /// How much this test has of it: who has some already waits for nobody, who might wait for this one.
    static OWN: Cell<usize> = const { Cell::new(0) };
}

impl Share {
    /// A share beside others, once nobody measures or is about to.
    pub(crate) fn some() -> Self {
        let mut users = users();
        while OWN.get() == 0 && (users.is_whole_taken || users.waiting_for_whole > 0) {
            users = wait(users);
        }
        users.sharing += 1;
        Self::taken(false)
    }

    /// All of it, once everybody else is done: the processes of others make numbers of what is measured
    /// beside them that no promise is about.
    pub(crate) fn whole() -> Self {
        let mut users = users();
        users.waiting_for_whole += 1;
        while users.is_whole_taken || users.sharing > 0 {
            users = wait(users);
        }
        users.waiting_for_whole -= 1;
        users.is_whole_taken = true;
        Self::taken(true)
    }

    fn taken(is_whole: bool) -> Self {
        OWN.set(OWN.get() + 1);
        Self { is_whole }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        // A scenario that hands its place to another thread has it counted there: nobody waits for it.
        OWN.set(OWN.get().saturating_sub(1));
        let mut users = users();
        if self.is_whole {
            users.is_whole_taken = false;
        } else {
            users.sharing -= 1;
        }
        CHANGED.notify_all();
    }
}

fn users() -> MutexGuard<'static, Users> {
    USERS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait(users: MutexGuard<'static, Users>) -> MutexGuard<'static, Users> {
    CHANGED.wait(users).unwrap_or_else(PoisonError::into_inner)
}
