//! What a machine has that a server needs: memory, disk, tools, GPUs.
//!
//! It costs a node several programs, and `nvidia-smi` may be slow: rooms ask it only of nodes that
//! are to run a real engine.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::facts::{Fact, Facts};

const ID: &str = "machine";

/// The fact that a [`Machine`] is read from.
pub fn fact() -> Fact {
    Fact::new(ID, include_str!("machine.sh"))
}

/// One machine. What it could not tell is nothing here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    /// The memory that the kernel has.
    pub memory_total: Option<Bytes>,
    /// The memory that can be had without swapping, caches that can be dropped included.
    pub memory_available: Option<Bytes>,
    /// What is free on the disk of the home.
    pub home_free: Option<Bytes>,
    /// How much memory a process may pin at most; nothing where there is no limit, or it is not told.
    pub pins: Option<Bytes>,
    /// The compilers that it has, by their names.
    pub tools: BTreeSet<String>,
    /// The version of the driver that its kernel has loaded: `580.95.05`.
    pub driver: Option<String>,
    /// The version of its C library, where that is glibc: `2.39`.
    pub libc: Option<String>,
    /// Its GPUs, in the order of their numbers: none where `nvidia-smi` does not tell of any.
    pub gpus: Vec<Gpu>,
    /// Why `nvidia-smi` does not tell of them, in words that go on after it.
    pub gpu_trouble: Option<String>,
    /// The processes that hold most of its memory, where little is left; the largest first.
    pub holders: Vec<Holder>,
}

/// One GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// What it is called: `NVIDIA GB10`.
    pub name: String,
    /// Its memory.
    pub memory: Memory,
}

/// The memory of a GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Memory {
    /// It has one for itself.
    Own(GpuMemory),
    /// It shares the machine's, as a GB10 does.
    Unified,
    /// It is split by MIG, and each part has some of it.
    Partitioned,
    /// It is not told, for the reason that stands in its place: `[Insufficient Permissions]`.
    Untold(String),
}

/// The memory of a GPU that has its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GpuMemory {
    /// All of it.
    pub total: Bytes,
    /// What is in use.
    pub used: Bytes,
    /// What can be had.
    pub free: Bytes,
}

/// A process that holds much memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// Its short name.
    pub name: String,
    /// What it holds.
    pub memory: Bytes,
}

/// An amount of memory or disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl Bytes {
    /// So many times 1024 bytes.
    pub fn kib(count: u64) -> Self {
        Self(count.saturating_mul(1 << 10))
    }

    /// So many times 1024 x 1024 bytes.
    pub fn mib(count: u64) -> Self {
        Self(count.saturating_mul(1 << 20))
    }

    /// So many times 1024 x 1024 x 1024 bytes.
    pub fn gib(count: u64) -> Self {
        Self(count.saturating_mul(1 << 30))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} GiB", self.0 as f64 / (1u64 << 30) as f64)
    }
}

impl Machine {
    /// Reads the answer. What cannot be read is left out.
    pub fn read(facts: &Facts) -> Arc<Self> {
        facts.parsed(|facts| {
            let mut machine = Self::default();
            for line in facts.get(ID).lines() {
                let _ = machine.take(line.trim_end());
            }
            machine
        })
    }

    fn take(&mut self, line: &str) -> Option<()> {
        if line == "gpus-silent" {
            self.gpu_trouble = Some("gives no answer".to_owned());
        }
        let (word, rest) = line.split_once(' ')?;
        let kib = || rest.parse().ok().map(Bytes::kib);
        match word {
            "total" => self.memory_total = kib(),
            "available" => self.memory_available = kib(),
            "home" => self.home_free = kib(),
            "pins" => self.pins = kib(),
            "driver" => self.driver = Some(rest.to_owned()),
            "libc" => self.libc = Some(rest.strip_prefix("glibc ")?.to_owned()),
            "tool" => drop(self.tools.insert(rest.to_owned())),
            "gpu" => self.gpus.push(gpu(rest)?),
            "mig" => self.gpus.push(Gpu {
                memory: Memory::Partitioned,
                ..gpu(rest)?
            }),
            "gpus-failed" => self.gpu_trouble = Some(format!("fails: {rest}")),
            "holder" => self.holders.push(holder(rest)?),
            _ => {}
        }
        Some(())
    }

    /// Whether its GPUs share its memory with it.
    pub fn is_unified(&self) -> bool {
        !self.gpus.is_empty() && self.gpus.iter().all(|gpu| gpu.memory == Memory::Unified)
    }
}

/// Reads `name, total, used, free` in MiB; a GPU without memory of its own says `[N/A]`, and as one
/// that is not told stands why in its place.
fn gpu(line: &str) -> Option<Gpu> {
    // The name may have commas in it.
    let mut fields = line.rsplitn(4, ',').map(str::trim);
    let mut next = || {
        let field = fields.next()?;
        match field.parse() {
            Ok(mib) => Some(Ok(Bytes::mib(mib))),
            // Anything else is what `nvidia-smi` says when it fails.
            Err(_) => field.starts_with('[').then_some(Err(field)),
        }
    };
    let (free, used, total) = (next()?, next()?, next()?);
    let memory = match (total, used, free) {
        (Ok(total), Ok(used), Ok(free)) => Memory::Own(GpuMemory { total, used, free }),
        (Err("[N/A]" | "[Not Supported]"), ..) => Memory::Unified,
        (Err(why), ..) | (_, Err(why), _) | (_, _, Err(why)) => Memory::Untold(why.to_owned()),
    };
    let name = fields.next()?.to_owned();
    Some(Gpu { name, memory })
}

/// Reads `pid KiB name…`.
fn holder(line: &str) -> Option<Holder> {
    let mut fields = line.splitn(3, ' ');
    Some(Holder {
        pid: fields.next()?.parse().ok()?,
        memory: Bytes::kib(fields.next()?.parse().ok()?),
        name: fields.next()?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::resource::facts::Question;

    fn read(answer: &str) -> Arc<Machine> {
        Machine::read(&[(ID.to_owned(), answer.to_owned())].into_iter().collect())
    }

    #[test]
    fn a_spark_shares_its_memory_with_its_gpu() {
        let spark = read(
            "total 127600000\navailable 104857600\nhome 734003200\ntool gcc\ntool g++\n\
             gpu NVIDIA GB10, [N/A], [N/A], [N/A]\n",
        );
        assert!(spark.is_unified());
        assert_eq!(spark.gpus[0].name, "NVIDIA GB10");
        assert_eq!(spark.memory_available, Some(Bytes::gib(100)));
        assert_eq!(spark.home_free.unwrap().to_string(), "700.0 GiB");
        assert!(spark.tools.contains("gcc") && !spark.tools.contains("clang"));
    }

    #[test]
    fn a_card_has_memory_of_its_own() {
        let machine =
            read("gpu NVIDIA RTX PRO 6000, Blackwell, 97887, 14, 97241\nholder 7 1048576 a b\n");
        let Memory::Own(memory) = machine.gpus[0].memory else {
            panic!("{machine:?}");
        };
        assert_eq!(machine.gpus[0].name, "NVIDIA RTX PRO 6000, Blackwell");
        assert_eq!(memory.free, Bytes::mib(97_241));
        assert!(!machine.is_unified());
        assert_eq!(
            (machine.holders[0].name.as_str(), machine.holders[0].memory),
            ("a b", Bytes::gib(1))
        );
    }

    #[test]
    fn a_card_that_is_split_or_keeps_silent_shares_nothing_with_the_machine() {
        let machine = read(
            "mig NVIDIA A100-SXM4-40GB, 40536, [Insufficient Permissions], 30000\n\
             mig NVIDIA H100, [N/A], [N/A], [N/A]\n\
             gpu NVIDIA A100, 40536, [Insufficient Permissions], [Insufficient Permissions]\n",
        );
        let memory: Vec<_> = machine.gpus.iter().map(|gpu| &gpu.memory).collect();
        let untold = Memory::Untold("[Insufficient Permissions]".to_owned());
        assert_eq!(
            memory,
            [&Memory::Partitioned, &Memory::Partitioned, &untold]
        );
        assert!(!machine.is_unified());
    }

    /// What a machine tells whose `nvidia-smi` is this script.
    fn asked_beside(nvidia_smi: &str) -> Arc<Machine> {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let tool = folder.path().join("nvidia-smi");
        std::fs::write(&tool, format!("#!/bin/sh\n{nvidia_smi}\n")).unwrap();
        std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).unwrap();
        let Question::Script(script) = fact().question else {
            panic!("a machine is asked by a script");
        };
        let path = format!("{}:/usr/bin:/bin", folder.path().display());
        let mut shell = Command::new("sh");
        let output = shell.arg("-c").arg(script).env("PATH", path).output();
        let output = output.unwrap();
        read(&String::from_utf8_lossy(&output.stdout))
    }

    #[test]
    fn a_driver_is_asked_in_the_words_that_it_knows_and_its_trouble_is_told() {
        let own = asked_beside(
            "case $1 in *mig*) echo 'Disabled, NVIDIA L4, 100, 10, 90'; echo 'Enabled, NVIDIA A100, 100, [N/A], [N/A]'; esac",
        );
        assert!(matches!(own.gpus[0].memory, Memory::Own(_)), "{own:?}");
        assert_eq!(own.gpus[1].memory, Memory::Partitioned);
        let spark = asked_beside("echo '[N/A], NVIDIA GB10, [N/A], [N/A], [N/A]'");
        assert!(
            spark.is_unified() && spark.gpu_trouble.is_none(),
            "{spark:?}"
        );
        let old = asked_beside(
            "case $1 in *mig*) echo 'Field \"mig.mode.current\" is not a valid field to query.'; exit 2; esac\n\
             echo 'Tesla P4, 100, 10, 90'",
        );
        assert_eq!(old.gpus[0].name, "Tesla P4");
        let broken = asked_beside(
            "echo; echo 'Failed to initialize NVML: Driver/library version mismatch'; echo more; exit 18",
        );
        assert_eq!(
            broken.gpu_trouble.as_deref(),
            Some("fails: Failed to initialize NVML: Driver/library version mismatch")
        );
        let none = asked_beside("echo 'No devices were found'; exit 6");
        assert_eq!(
            none.gpu_trouble.as_deref(),
            Some("fails: No devices were found")
        );
        assert!(broken.gpus.is_empty() && broken.memory_total.is_some());
    }

    #[test]
    fn what_cannot_be_read_is_unknown() {
        for answer in [
            "",
            "total\navailable x\nhome \ngpu No devices were found\ngpu a, b, c, d\ngpu\nholder 1\n",
        ] {
            assert_eq!(*read(answer), Machine::default(), "{answer}");
        }
        assert!(!read("").is_unified());
    }

    #[test]
    fn this_machine_can_be_asked() {
        let Question::Script(script) = fact().question else {
            panic!("a machine is asked by a script");
        };
        let output = Command::new("sh").arg("-c").arg(script).output();
        let output = output.unwrap();
        assert!(output.status.success());
        let machine = read(&String::from_utf8_lossy(&output.stdout));
        assert!(machine.memory_available.unwrap() <= machine.memory_total.unwrap());
        assert!(machine.home_free.is_some());
    }
}
