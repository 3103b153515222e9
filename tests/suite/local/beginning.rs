//! A first manifest is written by what this machine says of itself, and every command takes it.

use crate::suite::support::{MANIFESTS, Workdir};

/// An SSH configuration that names nobody, in place of the developer's own.
fn nobody(place: &Workdir) -> String {
    place.write("ssh_config", "Host *\n  User nobody\n");
    place.work().join("ssh_config").display().to_string()
}

#[test]
fn what_this_machine_says_is_a_manifest_that_can_be_planned() {
    let place = Workdir::empty();
    let said = place.replica(&["init", "local"]).exits(0);
    let _ = said.shows("topology.yaml is written, by what here said.");
    let text = place.read("topology.yaml");
    let first = "# yaml-language-server: $schema=topology.schema.json\n";
    assert!(text.starts_with(first), "{text}");
    let schema = std::fs::read_to_string(format!("{MANIFESTS}/../schemas/topology.json"));
    assert_eq!(place.read("topology.schema.json"), schema.unwrap());
    let _ = place
        .replica(&["validate"])
        .exits(0)
        .shows("1 proxy and 2 benchmarks");
    let plan = place.replica(&["plan", "--json"]).exits(0).json();
    assert!(
        plan["changes"].as_array().is_some_and(|it| it.len() > 3),
        "{plan:#}"
    );
}

#[test]
fn a_file_that_is_there_is_left_as_it_is() {
    let place = Workdir::empty();
    place.write("topology.yaml", "mine\n");
    for words in [
        &["init", "--local"][..],
        &["init", "local"],
        &["init", "--local", "-o", "topology.yaml"],
    ] {
        let said = place.replica(words).exits(1);
        let _ = said
            .says("`topology.yaml` is there already")
            .says("-o FILE");
    }
    assert_eq!(place.read("topology.yaml"), "mine\n");
    assert!(!place.work().join("topology.schema.json").exists());
    let said = place
        .replica(&["init", "--local", "-o", "own.yaml", "--json"])
        .exits(0);
    assert_eq!(said.json()["file"], "own.yaml", "{said}");
    let _ = place.replica(&["validate", "own.yaml"]).exits(0);
}

#[test]
fn the_simulated_topology_is_the_sample() {
    let place = Workdir::empty();
    let _ = place.replica(&["init", "--local"]).exits(0);
    let read = |text: &str| serde_yaml::from_str::<serde_json::Value>(text).unwrap();
    let sample = std::fs::read_to_string(format!("{MANIFESTS}/local.yaml")).unwrap();
    let text = place.read("topology.yaml");
    assert_eq!(read(&text), read(&sample));
    assert!(!text.contains("manifests/"), "{text}");
}

#[test]
fn what_somebody_else_serves_is_a_beginning() {
    let place = Workdir::empty();
    place.write(
        "recipe.yaml",
        "model: Qwen/Qwen3-1.7B\nruntime: vllm\ncontainer: scitrera/dgx-spark-vllm:latest\n\
         defaults: {port: 8000, tensor_parallel: 1, max_model_len: 4096}\nenv: {HF_TOKEN: hush, A: '${B}'}\n",
    );
    let _ = place
        .replica(&["init", "local", "--from", "recipe.yaml"])
        .exits(0);
    let text = place.read("topology.yaml");
    for line in [
        "      max_model_len: 4096\n",
        "      HF_TOKEN: {from_env: HF_TOKEN}\n",
        "      A: \"$${B}\"\n",
        "model: Qwen3-1.7B",
    ] {
        assert!(text.contains(line), "no `{line}` in\n{text}");
    }
    assert!(!text.contains("hush"), "{text}");
    let _ = place.replica(&["validate"]).exits(0);
    let command = "vllm serve Qwen/Qwen3-8B --max-model-len 8192 --port 9000";
    let _ = place
        .replica(&["init", "local", "--from", command, "-o", "b.yaml"])
        .exits(0);
    let text = place.read("b.yaml");
    assert!(
        text.contains("max_model_len: 8192") && text.contains("model: Qwen3-8B"),
        "{text}"
    );
    let _ = place.replica(&["validate", "b.yaml"]).exits(0);
    for (from, why) in [
        ("nowhere.yaml", "nowhere.yaml"),
        ("vllm serve $MODEL", "$MODEL"),
        ("vllm serve", "it names no model"),
    ] {
        let said = place
            .replica(&["init", "local", "--from", from, "-o", "c.yaml"])
            .exits(1);
        let _ = said.says(why);
    }
    assert!(!place.work().join("c.yaml").exists());
}

#[test]
fn without_a_host_it_says_how_to_name_one() {
    let place = Workdir::empty();
    let config = nobody(&place);
    let said = place.replica(&["init", "--ssh-config", &config]).exits(64);
    let _ = said
        .says("replica init user@host")
        .says("replica init --local");
    let _ = place.replica(&["init", "--local", "local"]).exits(64);
}

#[test]
fn a_host_that_was_named_and_is_not_there_leaves_nothing_written() {
    let place = Workdir::empty();
    let config = nobody(&place);
    let words = ["init", "local", "127.0.0.1:1", "--ssh-config", &config];
    let said = place.replica(&words).exits(4);
    let _ = said.says("127.0.0.1:1: ").says("nothing was written");
    assert!(!place.work().join("topology.yaml").exists());
    // One that nobody named is only left out, where others are there.
    place.write("ssh_config", "Host gone\n  HostName 127.0.0.1\n  Port 1\n");
    let said = place
        .replica(&["init", "--ssh-config", &config, "--json"])
        .exits(4);
    assert!(said.json()["left_out"]["gone"].is_string(), "{said}");
}

#[test]
fn a_host_that_nobody_knows_is_told_without_a_manifest_that_is_not_there() {
    let place = Workdir::empty();
    let config = nobody(&place);
    let words = ["init", "no-such-host.invalid", "--ssh-config", &config];
    let said = place.replica(&words).exits(4).says("nothing was written");
    let said = said.says("check how it is spelt, or give it a HostName in ~/.ssh/config");
    assert!(!said.err.contains("manifest"), "{said}");
}

#[test]
fn the_commands_in_what_is_written_name_the_file() {
    let place = Workdir::empty();
    let _ = place.replica(&["init", "local"]).exits(0);
    assert!(
        place
            .read("topology.yaml")
            .contains("#   replica plan         what would change?\n")
    );
    let _ = place
        .replica(&["init", "local", "-o", "my own.yaml"])
        .exits(0);
    let text = place.read("my own.yaml");
    for line in [
        "#   replica plan     'my own.yaml'     what",
        "#   replica destroy  'my own.yaml'     stop",
    ] {
        assert!(text.contains(line), "no `{line}` in\n{text}");
    }
    let _ = place
        .replica(&["fmt", "--check", "topology.yaml", "my own.yaml"])
        .exits(0);
}

#[test]
fn two_that_begin_at_once_share_the_schema() {
    let place = Workdir::empty();
    let names: Vec<String> = (0..4).map(|number| format!("{number}.yaml")).collect();
    let begun: Vec<_> = names
        .iter()
        .map(|name| place.begin(&["init", "--local", "-o", name]))
        .collect();
    for one in begun {
        let _ = one.end().exits(0);
    }
    let same: Vec<_> = (0..4).map(|_| place.begin(&["init", "--local"])).collect();
    let codes = same
        .into_iter()
        .map(|one| one.end().code)
        .collect::<Vec<_>>();
    assert_eq!(
        codes.iter().filter(|code| **code == Some(0)).count(),
        1,
        "{codes:?}"
    );
    let schema = std::fs::read_to_string(format!("{MANIFESTS}/../schemas/topology.json"));
    assert_eq!(place.read("topology.schema.json"), schema.unwrap());
}

/// What stands in the way of a first manifest: what is asked for beside `init`, the exit code, and what is said of why
/// and of what helps.
const IN_THE_WAY: &[(&[&str], i32, &str, &str)] = &[
    (&["--local", "-o", "-"], 64, "`-` is no file", "-o FILE"),
    (
        &["--local", "-o", "folder"],
        1,
        "`folder` is a folder",
        "-o folder/topology.yaml",
    ),
    (
        &["--local", "-o", "no/t.yaml"],
        1,
        "there is no folder `no`",
        "mkdir -p no",
    ),
    (
        &["local", "--ssh-config", "folder"],
        1,
        "the SSH configuration cannot be read",
        "directory",
    ),
    (
        &["local", "--ssh-config", "nowhere"],
        1,
        "the SSH configuration cannot be read",
        "No such file",
    ),
    (
        &["local", "--from", ""],
        1,
        "cannot be read as a file",
        HELPS,
    ),
    (
        &["local", "--from", "vllm srve a/b"],
        1,
        "is no command line of vLLM",
        HELPS,
    ),
    (
        &["local", "--from", "folder"],
        1,
        "cannot be read: Is a directory",
        HELPS,
    ),
    (
        &["local", "--from", "bin.sh"],
        1,
        "is no text in UTF-8",
        HELPS,
    ),
    (&["local", "--from", "long.sh"], 1, "1 MiB at most", HELPS),
    (
        &["local", "--from", "dup.yaml"],
        1,
        "is not YAML: ",
        "no key stands twice",
    ),
    (
        &["local", "--from", "tab.yaml"],
        1,
        "is not YAML: ",
        "indented by blanks",
    ),
    (
        &["local", "--from", "two.sh"],
        1,
        "a quote in it has no end",
        "pair of quotes",
    ),
    (
        &["local", "--from", "vllm serve a/b --x $(date)"],
        1,
        "is for a shell to fill in",
        "write what it stands for",
    ),
];

const HELPS: &str = "--from 'vllm serve";

#[test]
fn what_is_in_the_way_is_told_and_nothing_is_written() {
    let place = Workdir::empty();
    let config = nobody(&place);
    std::fs::create_dir(place.work().join("folder")).unwrap();
    place.write("long.sh", &"x".repeat((1 << 20) + 1));
    place.write(
        "dup.yaml",
        "model: a/b\nmodel: c/d\ncommand: vllm serve {model}\n",
    );
    place.write("tab.yaml", "model: a/b\n\tcommand: vllm serve {model}\n");
    place.write("two.sh", "vllm serve 'a/b\n");
    std::fs::write(place.work().join("bin.sh"), [0xff, 0xfe, 0]).unwrap();
    let count = || std::fs::read_dir(place.work()).unwrap().count();
    let before = count();
    for (words, exit, why, hint) in IN_THE_WAY {
        let mut all = [&["init"][..], *words].concat();
        if !words.contains(&"--ssh-config") {
            all.extend(["--ssh-config", &config]);
        }
        let _ = place.replica(&all).exits(*exit).says(why).says(hint);
    }
    assert_eq!(count(), before);
}

#[test]
fn what_no_manifest_can_have_of_a_command_line_is_told_and_the_rest_is_taken() {
    let place = Workdir::empty();
    place.write(
        "serve.sh",
        "vllm serve a/b --port 99999 --max-model-len 4k --unheard-of 1 --seed 7 --'evil: {' x\n",
    );
    place.write("topology.schema.json", "{}");
    let said = place
        .replica(&["init", "local", "--from", "serve.sh", "-o", "my first.yaml"])
        .exits(0);
    let said = said
        .says("`max_model_len` is not in it: ")
        .says("`unheard_of` is not in it: ");
    let _ = said
        .says("replica schema > topology.schema.json")
        .shows("replica plan 'my first.yaml'");
    let text = place.read("my first.yaml");
    for line in [
        "    args:\n      seed: 7\n",
        "`port`: `99999` is none",
        "replica apply    'my first.yaml'",
    ] {
        assert!(text.contains(line), "no `{line}` in\n{text}");
    }
    assert_eq!(place.read("topology.schema.json"), "{}");
    let _ = place.replica(&["validate", "my first.yaml"]).exits(0);
}
