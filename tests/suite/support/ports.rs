//! Ports that no other scenario uses, in this process or in another.

use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process;

/// Below the ports that the kernel gives away by itself.
const FIRST: u16 = 20_000;
const COUNT: u16 = 10_000;

/// Free ports, held until this is dropped. What holds them is a name, not the port itself, so that
/// the program under test can listen.
#[derive(Debug)]
pub(crate) struct Ports {
    numbers: Vec<u16>,
    _held: Vec<UnixListener>,
}

impl Ports {
    pub(crate) fn reserve(count: usize) -> Self {
        let start = (process::id() % u32::from(COUNT)) as u16;
        let (numbers, held) = (0..COUNT)
            .map(|i| FIRST + (start + i) % COUNT)
            .filter_map(|port| Some((port, hold(port)?)))
            .take(count)
            .unzip();
        Self {
            numbers,
            _held: held,
        }
    }

    pub(crate) fn get(&self, index: usize) -> u16 {
        self.numbers[index]
    }
}

/// Holds the name of a port in the kernel's own name space, where nothing is left behind.
fn hold(port: u16) -> Option<UnixListener> {
    let name = SocketAddr::from_abstract_name(format!("replica-suite-port-{port}")).ok()?;
    let held = UnixListener::bind_addr(&name).ok()?;
    TcpListener::bind(("127.0.0.1", port)).ok()?;
    Some(held)
}
