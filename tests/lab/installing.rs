//! Engines that fall short are installed, by real pip and real uv, from an index on this machine.

use std::path::Path;

use super::hosts::Lab;
use super::index::{Index, uv};
use super::laptop::{Laptop, change, pending, reasons};
use super::stage::{eventually, scenario, skip, until};
use super::stand_in::{SIMULATES, stand_in};

const HOST: &str = "spark-01";
const ENGINE: &str = "spark-01/engine.vllm";
const INSTANCE: &str = "spark-01/instance.a";
const NO_UV: &str = "uv cannot be fetched from here";

/// One server, and its engine with the declared indexes in the order of the notebook.
const MANIFEST: &str = "\
topology: demo
nodes: {spark-01: {ssh: spark-01, addresses: {lan: 10.77.0.11}}}
engines:
  vllm:
    venv: ~/vllm
    vllm: 0.13.0+cu130
    packages: {torch: 2.9.1, torchvision: 0.24.1}
    extra_indexes: [http://10.77.0.1:8800/cu130, http://10.77.0.1:8800/pytorch]
    args: {gpu_memory_utilization: 0.3}
models:
  llama: {repo: meta-llama/Llama-3.1-8B-Instruct}
instances:
  a: {node: spark-01, port: 8100, engine: vllm, model: llama}
";

/// The build that the notebook found, of the default index.
fn plain() -> String {
    MANIFEST.replace("0.13.0+cu130", "0.13.0").replace(
        "    packages: {torch: 2.9.1, torchvision: 0.24.1}\n",
        "    packages: {torch: 2.9.0}\n",
    )
}

/// A host with an index and a stand-in for what vLLM would run.
struct Scene<'a> {
    lab: &'a Lab,
    index: Index,
    laptop: Laptop,
}

/// Sets it, with uv on the host or without.
fn set<'a>(lab: &'a Lab, uv: Option<&Path>) -> Scene<'a> {
    if let Some(uv) = uv {
        lab.install(HOST, uv, "/home/nvidia/.local/bin/uv");
    }
    stand_in(lab, &[HOST], SIMULATES);
    Scene {
        lab,
        index: Index::beside(lab, &[HOST]),
        laptop: Laptop::with(lab, MANIFEST),
    }
}

impl Scene<'_> {
    /// Runs a script on the host as its user.
    fn by_hand(&self, script: &str) -> String {
        let user = "setpriv --reuid=nvidia --regid=nvidia --clear-groups env HOME=/home/nvidia";
        self.lab.exec(
            HOST,
            &format!("cd /home/nvidia && {user} sh -ec '{script}'"),
        )
    }

    /// Makes the environment by hand, as the notebook's reader had done: it is not ours.
    fn has_a_plain_build(&self) {
        self.by_hand(
            "/usr/bin/python3 -m venv ~/vllm; \
             ~/vllm/bin/pip -q install vllm==0.13.0 toolkit==2.0; echo mine >~/vllm/mine",
        );
        self.index.fetched();
    }

    /// The records of the packages that there are, without those of a new environment.
    fn records(&self) -> Vec<String> {
        let records =
            self.by_hand("cd ~/vllm/lib/python3*/site-packages && ls | grep -e dist-info -e ^~");
        let of_python = |name: &&str| !name.starts_with("pip-") && !name.starts_with("setuptools-");
        let records = records.lines().filter(of_python);
        records.map(|it| it.replace(".dist-info", "")).collect()
    }

    fn has_what_is_declared(&self) {
        self.laptop.is_converged();
        assert_eq!(
            self.records(),
            [
                "torch-2.9.1+cu130",
                "torchvision-0.24.1+cu130",
                "vllm-0.13.0+cu130"
            ]
        );
        let build = self.by_hand("cat ~/vllm/lib/python3*/site-packages/torch/version.py");
        assert!(build.contains("13.0"), "{build}");
        let traces =
            self.by_hand("grep -rl replica.tmp ~/vllm || true; ls -A ~/vllm | grep tmp || true");
        assert_eq!(traces, "");
    }
}

/// A bare node: there is no environment, and in the end a server answers.
fn from_nothing(lab: &Lab, uv: Option<&Path>) {
    let scene = set(lab, uv);
    let plan = scene.laptop.plan();
    assert_eq!(change(&plan, ENGINE)["action"], "create");
    assert_eq!(change(&plan, INSTANCE)["action"], "create");
    // Long enough to be told of.
    scene.index.takes(8.0);
    let done = scene.laptop.applies().shows("(fetching torch");
    let done = done.shows("vllm 0.13.0+cu130, torch 2.9.1+cu130");
    if uv.is_none() {
        done.shows("MB written");
    }
    scene.has_what_is_declared();
    scene.by_hand("test -f ~/vllm/.replica");
    assert_eq!(
        scene.by_hand("test -x ~/vllm/bin/pip && echo pip || echo uv"),
        if uv.is_some() { "uv" } else { "pip" }
    );
    lab.leader(HOST, "instance/a");
    // It is not taken away with the servers.
    scene.laptop.replica("destroy -y").exits(0);
    assert_eq!(scene.records().len(), 3);
    scene.laptop.applies();
    scene.has_what_is_declared();
}

#[test]
fn a_bare_node_serves_after_one_apply() {
    scenario("1", |lab| from_nothing(lab, None));
}

#[test]
fn a_bare_node_with_uv_serves_after_one_apply() {
    let Some(uv) = uv() else {
        return skip("a_bare_node_with_uv_serves_after_one_apply", NO_UV);
    };
    scenario("1", |lab| from_nothing(lab, Some(uv)));
}

/// The build that the notebook found: only what falls short is replaced, and the server that ran it.
fn another_build(lab: &Lab, uv: Option<&Path>) {
    let scene = set(lab, uv);
    scene.has_a_plain_build();
    scene.laptop.declares(&plain());
    scene.laptop.applies();
    let before = lab.leader(HOST, "instance/a");
    assert_eq!(scene.index.fetched(), Vec::<String>::new());

    scene.laptop.declares(MANIFEST);
    let plan = scene.laptop.plan();
    assert_eq!(
        pending(&plan),
        [format!("update {ENGINE}"), format!("replace {INSTANCE}")]
    );
    let field = &change(&plan, ENGINE)["fields"][2];
    assert_eq!(field["path"], "vllm");
    assert_eq!(
        (field["old"].as_str(), field["new"].as_str()),
        (Some("0.13.0"), Some("0.13.0+cu130"))
    );
    let fields = change(&plan, INSTANCE)["fields"].to_string();
    assert!(fields.contains("engine.installed.vllm"), "{fields}");
    scene.laptop.applies();
    assert!(!lab.lives(HOST, &before));
    scene.laptop.is_converged();
    assert_eq!(
        scene.records(),
        [
            "toolkit-2.0",
            "torch-2.9.1+cu130",
            "torchvision-0.24.1+cu130",
            "vllm-0.13.0+cu130"
        ]
    );
    let mut fetched = scene.index.fetched();
    fetched.sort();
    fetched.dedup();
    assert_eq!(
        fetched,
        [
            "torch-2.9.1+cu130",
            "torchvision-0.24.1+cu130",
            "vllm-0.13.0+cu130"
        ]
    );
    assert_eq!(
        // uv has a lock of its own.
        scene.by_hand("cat ~/vllm/mine; ls -A ~/vllm | grep -vx .lock"),
        "mine\n.replica.lock\nbin\ninclude\nlib\nlib64\nmine\npyvenv.cfg"
    );
}

#[test]
fn a_plain_build_becomes_the_declared_one_in_place() {
    scenario("1", |lab| another_build(lab, None));
}

#[test]
fn a_plain_build_becomes_the_declared_one_in_place_with_uv() {
    let Some(uv) = uv() else {
        return skip(
            "a_plain_build_becomes_the_declared_one_in_place_with_uv",
            NO_UV,
        );
    };
    scenario("1", |lab| another_build(lab, Some(uv)));
}

/// Whatever is installed later may bring a torch of its own; one of the same version is seen too.
fn another_torch(lab: &Lab, uv: Option<&Path>) {
    let scene = set(lab, uv);
    let pip = scene.by_hand("command -v ~/.local/bin/uv >/dev/null && echo \"$HOME/.local/bin/uv pip install --python $HOME/vllm/bin/python\" || echo \"$HOME/vllm/bin/pip install\"");
    scene.laptop.applies();
    let before = lab.leader(HOST, "instance/a");
    scene.by_hand(&format!("{pip} -q toolkit==1.0"));
    let plan = scene.laptop.plan();
    assert!(
        reasons(change(&plan, ENGINE)).contains("torch is 2.9.0"),
        "{plan:#}"
    );
    scene.laptop.applies();
    scene.laptop.is_converged();
    // The server runs the torch that it was started with, which is again the one there is.
    assert!(lab.lives(HOST, &before));

    let again = if uv.is_some() {
        "--reinstall"
    } else {
        "--force-reinstall"
    };
    scene.by_hand(&format!("{pip} -q {again} --no-deps torch==2.9.1"));
    let plan = scene.laptop.plan();
    let said = reasons(change(&plan, ENGINE));
    assert!(
        said.contains("torch 2.9.1+cu128 is built for CUDA 12.8, needed is CUDA 13"),
        "{said}"
    );
    scene.laptop.applies();
    scene.laptop.is_converged();
    assert!(scene.records().contains(&"torch-2.9.1+cu130".to_owned()));
}

#[test]
fn a_torch_that_was_swapped_by_a_later_installation_is_put_back() {
    scenario("1", |lab| another_torch(lab, None));
}

#[test]
fn a_torch_that_was_swapped_by_a_later_installation_is_put_back_with_uv() {
    let Some(uv) = uv() else {
        return skip("a_torch_that_was_swapped_…_with_uv", NO_UV);
    };
    scenario("1", |lab| another_torch(lab, Some(uv)));
}

/// Killed half-way, twice: while it fetches, and while files are being replaced.
fn interrupted(lab: &Lab, uv: Option<&Path>) {
    let mut scene = set(lab, uv);
    scene.index.takes(20.0);
    let apply = scene.laptop.starts("apply -y");
    until("a wheel is being fetched", || {
        !scene.index.fetched().is_empty()
    });
    apply.dies();
    scene.index.takes(0.0);
    scene.laptop.applies();
    scene.has_what_is_declared();

    let site = scene.by_hand("echo ~/vllm/lib/python3*/site-packages");
    scene.by_hand("rm -r ~/vllm/lib/python3*/site-packages/torch-*.dist-info");
    let apply = scene.laptop.starts("apply -y");
    eventually("torch is being unpacked", || {
        let count = scene.by_hand(&format!("ls {site}/torch/kernels 2>/dev/null | wc -l"));
        (count.parse::<u32>().ok()? > 10).then_some(())
    });
    apply.dies();
    scene.laptop.applies();
    scene.has_what_is_declared();
    let count = scene.by_hand(&format!("ls {site}/torch/kernels/*.py | wc -l"));
    assert_eq!(count, "3000");
    scene.index.dies();
}

#[test]
fn an_installation_that_was_killed_half_way_is_gone_on_from() {
    scenario("1", |lab| interrupted(lab, None));
}

#[test]
fn an_installation_that_was_killed_half_way_is_gone_on_from_with_uv() {
    let Some(uv) = uv() else {
        return skip(
            "an_installation_that_was_killed_half_way_is_gone_on_from_with_uv",
            NO_UV,
        );
    };
    scenario("1", |lab| interrupted(lab, Some(uv)));
}

/// What cannot be installed is told with its cause, and what was there serves on.
fn refused(lab: &Lab, uv: Option<&Path>) {
    const AS_BEFORE: &str = "the environment is as it was before";
    let mut scene = set(lab, uv);
    scene.has_a_plain_build();
    scene.laptop.declares(&plain());
    scene.laptop.applies();
    let before = (lab.leader(HOST, "instance/a"), scene.records());

    scene
        .laptop
        .declares(&MANIFEST.replace("0.13.0+cu130", "0.13.1+cu130"));
    let done = scene.laptop.replica("apply -y").exits(1).shows(AS_BEFORE);
    done.shows("there is no vllm==0.13.1+cu130")
        .shows("0.12.0, 0.13.0, 0.13.0+cu130");

    scene.laptop.declares(MANIFEST);
    lab.does("fill spark-01");
    let done = scene.laptop.replica("apply -y").exits(1);
    done.shows("no room left on the disk").shows(AS_BEFORE);
    lab.does("unfill spark-01");
    // Some room, and too little.
    scene.by_hand(
        "room=$(df --output=avail -k ~ | tail -n 1); head -c $((room - 5000))K /dev/zero >~/filler",
    );
    let done = scene.laptop.replica("apply -y").exits(1);
    done.shows("no room left on the disk").shows(AS_BEFORE);
    scene.by_hand("rm ~/filler");

    scene.index.dies();
    let done = scene.laptop.replica("apply -y").exits(1);
    done.shows("cannot be reached").shows(AS_BEFORE);
    scene.index.returns();
    // Of an index that shows nothing to nobody uv says only that it has nothing.
    let statuses: &[u16] = if uv.is_some() { &[500] } else { &[500, 403] };
    for status in statuses.iter().copied() {
        scene.index.answers(Some(status));
        let done = scene.laptop.replica("apply -y").exits(1);
        let told = format!("the index answers {status}");
        done.shows(&told).shows(AS_BEFORE);
        scene.index.answers(None);
    }

    assert_eq!((lab.leader(HOST, "instance/a"), scene.records()), before);
    scene.laptop.applies();
    scene.laptop.is_converged();
}

#[test]
fn what_cannot_be_installed_is_told_and_changes_nothing() {
    scenario("1 --disk 640m", |lab| refused(lab, None));
}

#[test]
#[ignore = "minutes, and `pip` has shown the same: `.ci/run all`"]
fn what_cannot_be_installed_is_told_and_changes_nothing_with_uv() {
    let Some(uv) = uv() else {
        return skip(
            "what_cannot_be_installed_is_told_and_changes_nothing_with_uv",
            NO_UV,
        );
    };
    scenario("1 --disk 640m", |lab| refused(lab, Some(uv)));
}

/// Two topologies share an environment: the second waits, and finds it done.
#[test]
fn two_applies_of_one_environment_install_it_once() {
    scenario("1", |lab| {
        let scene = set(lab, None);
        let theirs = MANIFEST
            .replace("topology: demo", "topology: theirs")
            .replace("8100", "8101");
        let colleague = Laptop::named("colleague", lab, &theirs);
        scene.index.takes(4.0);
        let ours = scene.laptop.starts("apply -y");
        let other = colleague.starts("apply -y");
        let (ours, other) = (ours.ends().exits(0), other.ends().exits(0));
        let waited =
            [&ours, &other].map(|done| done.to_string().contains("waiting for another run"));
        assert_ne!(waited[0], waited[1], "{ours}\n{other}");
        scene.has_what_is_declared();
        colleague.is_converged();
        let fetched = scene.index.fetched();
        let torches = fetched.iter().filter(|name| *name == "torch-2.9.1+cu130");
        assert_eq!(torches.count(), 1, "{fetched:?}");
    });
}

/// A folder of somebody's is no place for an environment.
#[test]
fn a_folder_that_is_no_environment_is_left_alone() {
    scenario("1", |lab| {
        let scene = set(lab, None);
        scene.by_hand("mkdir ~/vllm; echo mine >~/vllm/thesis");
        scene
            .laptop
            .replica("apply -y")
            .exits(1)
            .shows("no virtual environment");
        assert_eq!(scene.by_hand("ls -A ~/vllm"), "thesis");
    });
}

/// Killed while pip was unpacked into the new environment: the next apply unpacks it whole.
#[test]
fn an_environment_whose_making_was_cut_off_is_made_whole() {
    scenario("1", |lab| {
        let scene = set(lab, None);
        // As it is left then: the interpreter is there, pip's files are in part, its list is not.
        scene.by_hand(
            "/usr/bin/python3 -m venv ~/vllm; : >~/vllm/.replica; \
             cd ~/vllm/lib/python3*/site-packages; rm -r pip/_vendor; rm pip-*.dist-info/RECORD",
        );
        scene.laptop.applies();
        scene.has_what_is_declared();
        lab.leader(HOST, "instance/a");
    });
}
