//! What both sides of the proxy want of a TCP connection, and the limit on how many there are.

use std::io;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpStream;

use crate::net::file_table;

/// After this long without traffic, the kernel asks whether the other side is still there: a peer
/// that lost its power or its network never says goodbye, and would hold a silent stream for ever.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Sends small writes at once (a token is one), and finds peers that vanished.
///
/// A socket that refuses is still a connection, so refusals are not errors.
pub(super) fn tune(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let _ = sockopt::set_socket_keepalive(stream, true);
    let _ = sockopt::set_tcp_keepidle(stream, KEEPALIVE);
    let _ = sockopt::set_tcp_keepintvl(stream, KEEPALIVE / 3);
    let _ = sockopt::set_tcp_keepcnt(stream, 3);
}

/// The same of a client's, which is given up when it acknowledges nothing of what was sent for so
/// long: a peer that vanished does not, and one that reads nothing has no room for it.
pub(super) fn tune_client(stream: &TcpStream, taking: Duration) {
    tune(stream);
    let milliseconds = u32::try_from(taking.as_millis()).unwrap_or(u32::MAX);
    let _ = sockopt::set_tcp_user_timeout(stream, milliseconds.max(1));
}

/// Room for so many open files is made before any client has to wait for it.
const FILES: u64 = 16_384;

/// Raises the soft limit on open files to the hard one, and returns what it is then: each request
/// in flight takes two descriptors, and the usual soft limit of 1024 ends at 500 streams.
pub(super) fn raise_fd_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if setrlimit(Resource::Nofile, raised).is_err() {
        tracing::warn!(limit = ?limit.current, "the limit on open files could not be raised");
    }
    file_table::make_room_for(FILES);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Whether a connection failed for want of descriptors, ports or memory here: that must not
/// take a backend out, as the next one would fail the same.
pub(super) fn is_own_fault(error: &io::Error) -> bool {
    let own = [
        Errno::MFILE,
        Errno::NFILE,
        Errno::ADDRNOTAVAIL,
        Errno::NOBUFS,
        Errno::NOMEM,
    ];
    Errno::from_io_error(error).is_some_and(|errno| own.contains(&errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_want_is_not_a_backends_fault() {
        let fault = |errno: Errno| is_own_fault(&io::Error::from(errno));
        assert!(fault(Errno::MFILE) && fault(Errno::ADDRNOTAVAIL));
        assert!(!fault(Errno::CONNREFUSED) && !fault(Errno::HOSTUNREACH));
        let slow = io::Error::new(io::ErrorKind::TimedOut, "no connection in time");
        assert!(!is_own_fault(&slow));
    }
}
