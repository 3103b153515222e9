//! What the logs of servers say of what computes: the back ends that vLLM chose, and what it had to do without.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::name::{InstanceName, NodeName};
use crate::node::{LOG_TEXT, quote_path};
use crate::plan::Address;
use crate::resource::{Fact, Facts, StateFolder, instance};
use crate::visible::without_colours;

const ID: &str = "doctor-kernels";

/// What every node is asked of the logs of a topology.
pub(super) fn fact(topology: &str) -> Fact {
    let folder = StateFolder::of(topology).logs();
    let script = format!(
        "r_folder={} r_kind={}\n{LOG_TEXT}\n{}",
        quote_path(&folder),
        instance::KIND,
        include_str!("kernels.sh")
    );
    Fact::new(ID, script)
}

/// What the newest start of each server said, by what it is called on its node.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Kernels {
    said: BTreeMap<String, Vec<String>>,
}

impl Kernels {
    pub(super) fn read(facts: &Facts) -> Arc<Self> {
        facts.parsed(|facts| {
            let mut kernels = Self::default();
            let lines = facts.get(ID).lines();
            for line in lines.filter_map(|line| line.strip_prefix("kernel ")) {
                if let Some((thing, text)) = line.split_once(' ') {
                    let text = without_colours(text).trim().to_owned();
                    kernels.said.entry(thing.to_owned()).or_default().push(text);
                }
            }
            kernels
        })
    }

    /// What a server said.
    pub(super) fn of(&self, node: &NodeName, server: &InstanceName) -> &[String] {
        let address = Address::on(node, instance::KIND, Some(server.as_str()));
        self.said.get(&address.local()).map_or(&[], Vec::as_slice)
    }
}

/// The back ends that a server chose, without those that it could have chosen.
pub(super) fn chosen(said: &[String]) -> BTreeSet<&str> {
    const NAMES: [&str; 4] = [" backend", " kernel", "Kernel", " GEMM"];
    let chosen = said.iter().filter_map(|text| text.strip_prefix("Using "));
    let chosen = chosen.map(|text| text.split(" out of potential").next().unwrap_or(text));
    chosen
        .map(|text| text.trim_end_matches('.'))
        .filter(|text| NAMES.iter().any(|name| text.contains(name)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;
    use crate::resource::Question;

    const OLDER: &str = "INFO 11-27 00:32:50 [cuda.py:1] Using TRITON_ATTN attention backend out of potential backends: []\n";

    /// As a log has it: with colours, who says it, and all arguments.
    const NEWEST: &str = "\
(APIServer pid=7) INFO 11-27 00:32:50 [utils.py:253] non-default args: {'model': 'm', 'attention_backend': 'secret'}\n\
\u{1b}[0;36m(EngineCore pid=9)\u{1b}[0;0m INFO 11-27 00:32:53 [cuda.py:334] Using FLASHINFER attention backend out of \
potential backends: ['FLASHINFER', 'TRITON_ATTN'].\n\
(EngineCore pid=9) INFO 11-27 00:32:53 [cuda.py:334] Using FLASHINFER attention backend out of potential backends: \
['FLASHINFER', 'TRITON_ATTN'].\n\
(EngineCore pid=9) INFO 11-27 00:32:53 [core.py:114] Initializing a V1 LLM engine (v0.25.1) with config: backend, eager mode\n\
(EngineCore pid=9) INFO 11-27 00:32:54 [vllm.py:958] Cudagraph is disabled under eager mode\n\
(EngineCore pid=9) INFO 11-27 00:32:55 [flash_attn.py:593] Using FlashAttention version 2\n\
(EngineCore pid=9) INFO 11-27 00:32:56 [loader.py:1] Loading weights took 2 seconds\n";

    #[test]
    fn the_newest_log_of_each_server_is_asked() {
        let home = tempfile::tempdir().unwrap();
        let logs = home.path().join(".local/state/replica/t/log");
        fs::create_dir_all(&logs).unwrap();
        fs::write(logs.join("instance.a.9.log"), OLDER).unwrap();
        fs::write(logs.join("instance.a.10.log"), NEWEST).unwrap();
        fs::write(logs.join("instance.b-c.1.log"), OLDER).unwrap();
        fs::write(logs.join("proxy.1.log"), OLDER).unwrap();
        let Question::Script(script) = fact("t").question else {
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
        assert!(!said.contains("secret"), "{said}");
        let kernels = Kernels::read(&[(ID.to_owned(), said)].into_iter().collect());
        let node: NodeName = "n".parse().unwrap();
        let of = |name: &str| kernels.of(&node, &name.parse().unwrap()).to_vec();
        assert_eq!(of("a").len(), 3, "{:?}", of("a"));
        assert_eq!(chosen(&of("a")), ["FLASHINFER attention backend"].into());
        assert_eq!(chosen(&of("b-c")), ["TRITON_ATTN attention backend"].into());
        assert_eq!(of("c"), Vec::<String>::new());
    }
}
