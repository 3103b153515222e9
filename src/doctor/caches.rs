//! Where what is compiled at a first start is kept: by torch.compile, Triton and FlashInfer.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::declared::variable;
use crate::node::quote_path;
use crate::resource::machine::Bytes;
use crate::resource::{Fact, Facts, Topology};

const ID: &str = "doctor-caches";

/// Where each is unless something else is said.
const USUAL: [&str; 3] = [
    "~/.cache/vllm/torch_compile_cache",
    "~/.triton/cache",
    "~/.cache/flashinfer",
];

/// The variables by which something else is said, and what stands behind them.
const SAID: [(&str, &str); 5] = [
    ("VLLM_CACHE_ROOT", "/torch_compile_cache"),
    ("TRITON_CACHE_DIR", ""),
    ("TORCHINDUCTOR_CACHE_DIR", ""),
    ("FLASHINFER_WORKSPACE_BASE", "/.cache/flashinfer"),
    ("XDG_CACHE_HOME", "/vllm/torch_compile_cache"),
];

/// The file systems that several machines have at once.
const SHARED: [&str; 9] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "ceph",
    "lustre",
    "gpfs",
    "beegfs",
    "glusterfs",
];

/// What every node is asked: of the usual folders, and of those that servers are told to use.
pub(super) fn fact(topology: &Topology) -> Fact {
    let servers = topology.instances.values();
    let said = servers.flat_map(|server| {
        SAID.iter()
            .filter_map(|(name, below)| Some(format!("{}{below}", variable(server, name)?)))
    });
    let all: BTreeSet<String> = said.chain(USUAL.map(str::to_owned)).collect();
    let words: Vec<String> = all.iter().map(|path| quote_path(path)).collect();
    let script = format!("set -- {}\n{}", words.join(" "), include_str!("caches.sh"));
    Fact::new(ID, script)
}

/// What a node said of them.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Caches(pub(super) Vec<Cache>);

/// A folder of what was compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cache {
    pub(super) path: String,
    /// What is in it: nothing where that took too long to tell.
    pub(super) size: Option<Bytes>,
    /// What its disk has left.
    pub(super) free: Bytes,
    /// The sort of its file system, and what is mounted there.
    pub(super) kind: String,
    pub(super) source: String,
}

impl Caches {
    pub(super) fn read(facts: &Facts) -> Arc<Self> {
        facts.parsed(|facts| Self(facts.get(ID).lines().filter_map(cache).collect()))
    }
}

impl Cache {
    /// Whether other machines have it too.
    pub(super) fn is_shared(&self) -> bool {
        SHARED.contains(&self.kind.trim_start_matches("fuse."))
    }
}

fn cache(line: &str) -> Option<Cache> {
    let mut words = line.strip_prefix("cache ")?.splitn(5, ' ');
    let mut next = || words.next();
    let (size, free) = (next()?.parse().ok(), next()?.parse().ok()?);
    Some(Cache {
        size: size.map(Bytes::kib),
        free: Bytes::kib(free),
        kind: next()?.to_owned(),
        source: next()?.to_owned(),
        path: next()?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;
    use crate::manifest;
    use crate::resource::Question;

    const TOPOLOGY: &str = "
topology: t
nodes: {n: {ssh: n}}
engines: {v: {venv: ~/vllm, vllm: 0.30.0, env: {VLLM_CACHE_ROOT: ~/own}}}
models: {m: a/b}
instances: {a: {node: n, port: 8100, engine: v, model: m}}
";

    #[test]
    fn the_usual_folders_and_those_that_are_declared_are_asked_of() {
        let topology = manifest::read(TOPOLOGY).unwrap();
        let home = tempfile::tempdir().unwrap();
        let own = home.path().join("own/torch_compile_cache");
        fs::create_dir_all(&own).unwrap();
        fs::write(own.join("x"), vec![1; 1 << 20]).unwrap();
        let Question::Script(script) = fact(&topology).question else {
            panic!("it is asked by a script");
        };
        let mut asked = Command::new("sh");
        let output = asked
            .arg("-c")
            .arg(script)
            .env("HOME", home.path())
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let caches = Caches::read(&[(ID.to_owned(), said)].into_iter().collect());
        assert_eq!(caches.0.len(), 4, "{caches:?}");
        let filled: Vec<_> = caches
            .0
            .iter()
            .filter(|it| it.size > Some(Bytes(0)))
            .collect();
        assert_eq!(filled.len(), 1, "{caches:?}");
        assert!(
            filled[0].path.ends_with("own/torch_compile_cache"),
            "{caches:?}"
        );
        assert!(
            filled[0].free > Bytes(0) && !filled[0].is_shared(),
            "{caches:?}"
        );
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        let said = "cache - 5 fuse.ceph pool /a b\ncache\ncache x y z\nother\n";
        let caches = Caches::read(&[(ID.to_owned(), said.to_owned())].into_iter().collect());
        let [cache] = &caches.0[..] else {
            panic!("{caches:?}");
        };
        assert_eq!((cache.size, cache.path.as_str()), (None, "/a b"));
        assert!(cache.is_shared());
    }
}
