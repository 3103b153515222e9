//! What a node says when it is asked what its owner should know.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::resource::machine::Bytes;
use crate::resource::{Fact, Facts};

const ID: &str = "doctor";

/// What every node is asked.
pub(super) fn fact() -> Fact {
    Fact::new(ID, include_str!("look.sh"))
}

/// What a node said. What it could not tell is nothing here.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Look {
    /// `MemTotal`, `MemAvailable` and their like.
    pub(super) memory: BTreeMap<String, Bytes>,
    /// The size of `/dev/shm`, and what is in it.
    pub(super) shm: Option<(Bytes, Bytes)>,
    /// Who has most mapped.
    pub(super) holders: Vec<Holder>,
    /// Who has memory of the GPU.
    pub(super) gpu_users: Vec<Holder>,
    /// What ends programs before the machine runs out of memory.
    pub(super) guards: BTreeSet<String>,
    pub(super) ports: Vec<Port>,
    pub(super) addresses: Vec<(String, Ipv4Addr)>,
    /// Whether it can tell which file an address comes from.
    pub(super) tells_who_keeps: bool,
    /// The file that an interface has its addresses from.
    pub(super) kept: BTreeMap<String, String>,
    pub(super) gids: Vec<Gid>,
    pub(super) versions: BTreeMap<String, String>,
    pub(super) gpus: Vec<GpuState>,
    /// Seconds since the epoch, when it was asked.
    pub(super) clock: Option<u64>,
    /// Sessions that one connection may have at a time, where that is said.
    pub(super) max_sessions: Option<u64>,
    /// What keeps its sshd from forwarding, where something does.
    pub(super) forbids_forwarding: Option<String>,
    /// What was said of it first, which holds.
    forwarding_said: BTreeSet<String>,
    /// Whether the user's systemd outlives a login.
    pub(super) lingers: Option<bool>,
}

/// A process that holds memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) pid: u32,
    pub(super) memory: Bytes,
    pub(super) user: String,
    pub(super) name: String,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Port {
    pub(super) name: String,
    pub(super) is_up: bool,
    /// In Mb/s.
    pub(super) speed: Option<u64>,
    pub(super) mtu: Option<u64>,
    /// The lanes of its PCIe link, and how many it could have.
    pub(super) lanes: Option<(u32, u32)>,
    /// The speed of each lane in GT/s, and what it could be.
    pub(super) lane_speed: Option<(f64, f64)>,
    /// Its RDMA device.
    pub(super) rdma: Option<String>,
}

/// An entry of the table by which RoCE knows addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gid {
    pub(super) device: String,
    pub(super) index: u32,
    /// `v2`, or an older sort.
    pub(super) kind: String,
    pub(super) address: Ipv6Addr,
}

/// How a GPU stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct GpuState {
    /// The clock of its multiprocessors, in MHz.
    pub(super) clock: Option<f64>,
    /// In W.
    pub(super) power: Option<f64>,
    /// In °C.
    pub(super) heat: Option<f64>,
    /// How much of the time it works, in percent.
    pub(super) busy: Option<f64>,
    /// What holds its clock down, as the bits of NVML.
    pub(super) held_by: Option<u64>,
}

impl GpuState {
    /// Reads `CLOCK, POWER, HEAT, BUSY, REASONS`, each of which may be `[N/A]`.
    pub(super) fn read(text: &str) -> Self {
        let mut fields = text.split(',').map(str::trim);
        let mut number = || fields.next().and_then(|it| it.parse().ok());
        let (clock, power, heat, busy) = (number(), number(), number(), number());
        let bits = fields.next().and_then(|it| it.strip_prefix("0x"));
        Self {
            clock,
            power,
            heat,
            busy,
            held_by: bits.and_then(|it| u64::from_str_radix(it, 16).ok()),
        }
    }
}

impl Look {
    /// Reads the answer. What cannot be read is left out; a line that begins with `#` says where an answer
    /// was told.
    pub(super) fn read(facts: &Facts) -> Arc<Self> {
        facts.parsed(|facts| {
            let mut look = Self::default();
            for line in facts.get(ID).lines() {
                let _ = look.take(line.trim_end());
            }
            look
        })
    }

    fn take(&mut self, line: &str) -> Option<()> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let pair = || Some((*fields.first()?, *fields.get(1)?));
        match word {
            "memory" => {
                let (name, kib) = pair()?;
                self.memory
                    .insert(name.to_owned(), Bytes::kib(kib.parse().ok()?));
            }
            "shm" => {
                let (size, used) = pair()?;
                let kib = |text: &str| text.parse().ok().map(Bytes::kib);
                self.shm = kib(size).zip(kib(used));
            }
            "holder" => self.holders.push(holder(&fields, Bytes::kib)?),
            "user" => self.gpu_users.push(holder(&fields, Bytes::mib)?),
            "guard" => drop(self.guards.insert(rest.to_owned())),
            "port" => self.ports.push(port(&fields)?),
            "address" => {
                let (name, address) = pair()?;
                let address = address.split('/').next()?.parse().ok()?;
                self.addresses.push((name.to_owned(), address));
            }
            "keeps" => self.tells_who_keeps = true,
            "kept" => {
                let (name, file) = pair()?;
                self.kept.insert(name.to_owned(), file.to_owned());
            }
            "gid" => self.gids.push(gid(&fields)?),
            "version" => {
                let (what, version) = rest.split_once(' ')?;
                if version != "-" && !version.is_empty() {
                    self.versions.insert(what.to_owned(), version.to_owned());
                }
            }
            "gpu" => self.gpus.push(GpuState::read(rest)),
            "clock" => self.clock = rest.parse().ok(),
            "sshd" => self.sshd(pair()?),
            "linger" => self.lingers = Some(rest == "yes"),
            _ => {}
        }
        Some(())
    }

    /// Takes what its sshd is told; the first that is said holds.
    fn sshd(&mut self, (what, value): (&str, &str)) {
        const FORBID: [&str; 3] = [
            "AllowTcpForwarding no",
            "AllowTcpForwarding remote",
            "DisableForwarding yes",
        ];
        if what == "MaxSessions" {
            self.max_sessions = self.max_sessions.or(value.parse().ok());
        } else if self.forwarding_said.insert(what.to_owned()) {
            let line = format!("{what} {}", value.to_lowercase());
            if FORBID.contains(&line.as_str()) {
                self.forbids_forwarding = Some(line);
            }
        }
    }

    /// An amount of `/proc/meminfo`.
    pub(super) fn of_memory(&self, name: &str) -> Option<Bytes> {
        self.memory.get(name).copied()
    }

    /// The interface that has an address.
    pub(super) fn port_of(&self, address: &str) -> Option<&Port> {
        let address: Ipv4Addr = address.parse().ok()?;
        let (name, _) = self.addresses.iter().find(|(_, own)| *own == address)?;
        self.ports.iter().find(|port| port.name == *name)
    }

    /// The number by which RoCEv2 knows an IPv4 address of a device.
    pub(super) fn gid_of(&self, device: &str, address: Ipv4Addr) -> Option<u32> {
        let is_it = |gid: &&Gid| {
            gid.device == device
                && gid.kind == "v2"
                && gid.address.to_ipv4_mapped() == Some(address)
        };
        self.gids.iter().find(is_it).map(|gid| gid.index)
    }
}

/// Reads `PID SIZE USER NAME…`.
fn holder(fields: &[&str], unit: fn(u64) -> Bytes) -> Option<Holder> {
    let [pid, size, user, name @ ..] = fields else {
        return None;
    };
    Some(Holder {
        pid: pid.parse().ok()?,
        memory: unit(size.parse().ok()?),
        user: (*user).to_owned(),
        name: name.join(" "),
    })
}

/// Reads `NAME STATE SPEED MTU LANES MOST LANE-SPEED MOST RDMA`.
fn port(fields: &[&str]) -> Option<Port> {
    let &[
        name,
        state,
        speed,
        mtu,
        lanes,
        most_lanes,
        lane_speed,
        most_speed,
        rdma,
    ] = fields
    else {
        return None;
    };
    let pair = |one: &str, other: &str| Some((one.parse().ok()?, other.parse().ok()?));
    let speeds = |one: &str, other: &str| Some((one.parse().ok()?, other.parse().ok()?));
    Some(Port {
        name: name.to_owned(),
        is_up: state == "up",
        speed: speed.parse().ok(),
        mtu: mtu.parse().ok(),
        lanes: pair(lanes, most_lanes),
        lane_speed: speeds(lane_speed, most_speed),
        rdma: Some(rdma.to_owned()).filter(|it| it != "-"),
    })
}

/// Reads `DEVICE INDEX KIND GID`; a place of the table that is empty has nothing but zeros.
fn gid(fields: &[&str]) -> Option<Gid> {
    let &[device, index, kind, address] = fields else {
        return None;
    };
    let address: Ipv6Addr = address.parse().ok()?;
    (!address.is_unspecified()).then_some(Gid {
        device: device.to_owned(),
        index: index.parse().ok()?,
        kind: kind.to_owned(),
        address,
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::resource::Question;

    fn read(answer: &str) -> Arc<Look> {
        Look::read(&[(ID.to_owned(), answer.to_owned())].into_iter().collect())
    }

    #[test]
    fn what_a_node_says_is_read() {
        let look = read(
            "# told in a report\nmemory MemTotal 127600000\nshm 63800000 48\nholder 7 1048576 nvidia python3 x\n\
             user 8 70000 nvidia VLLM::EngineCore\nguard earlyoom\n\
             port enp1s0f0np0 up 200000 9000 4 4 32.0 32.0 rocep1s0f0\nport docker0 down -1 1500 - - - - -\n\
             address enp1s0f0np0 192.168.100.10/24\nkeeps\nkept enp1s0f0np0 /etc/netplan/x\n\
             gid rocep1s0f0 3 v2 0000:0000:0000:0000:0000:ffff:c0a8:640a\ngid rocep1s0f0 4 v2 ::\n\
             version BIOS GX10DGX.0103\nversion driver -\ngpu 2411, 11.20, 41, 0, 0x0000000000000001\n\
             clock 1764369930\nsshd MaxSessions 2\nsshd MaxSessions 10\nsshd AllowTcpForwarding Remote\n\
             sshd AllowTcpForwarding yes\nlinger no\n",
        );
        let port = look.port_of("192.168.100.10").unwrap();
        assert_eq!(port.lanes, Some((4, 4)));
        assert_eq!(port.lane_speed, Some((32.0, 32.0)));
        assert_eq!(look.ports[1].speed, None);
        assert!(!look.ports[1].is_up);
        let address = Ipv4Addr::new(192, 168, 100, 10);
        assert_eq!(look.gid_of("rocep1s0f0", address), Some(3));
        assert_eq!(look.gids.len(), 1);
        assert_eq!(look.gpu_users[0].memory, Bytes::mib(70_000));
        assert_eq!(look.holders[0].name, "python3 x");
        assert_eq!(look.versions.len(), 1);
        assert_eq!(look.gpus[0].held_by, Some(1));
        assert_eq!((look.max_sessions, look.lingers), (Some(2), Some(false)));
        let forbids = look.forbids_forwarding.as_deref();
        assert_eq!(forbids, Some("AllowTcpForwarding remote"));
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        let look =
            read("memory\nport a\ngid\nuser x\nholder\nversion\nclock x\n\nport\naddress a b\n");
        assert_eq!(*look, Look::default());
    }

    #[test]
    fn this_machine_can_be_asked() {
        let Question::Script(script) = fact().question else {
            panic!("it is asked by a script");
        };
        let output = Command::new("sh").arg("-c").arg(script).output().unwrap();
        assert!(output.status.success());
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        let look = read(&String::from_utf8_lossy(&output.stdout));
        assert!(look.of_memory("MemAvailable") <= look.of_memory("MemTotal"));
        assert!(look.versions.contains_key("kernel") && look.clock.is_some());
    }
}
