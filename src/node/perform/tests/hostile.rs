//! Whatever stands in a value, a shell gets it as it was meant, and does nothing that it says.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::*;
use crate::node::{Command, quote_path};
use crate::plan::effect::{KeepLog, RunScript};

/// What a value would make somewhere if a shell read it as its own text.
const CANARY: &str = "canary";

/// What has a meaning to a shell, to a program that takes options, or to whoever reads lines.
const PIECES: &[&str] = &[
    "$(touch canary)",
    "`touch canary`",
    "'; touch canary; '",
    "\"; touch canary; \"",
    "'\"'\"'",
    "\ntouch canary\n",
    "; touch canary #",
    "& touch canary &",
    "|| touch canary",
    ">canary",
    "<(touch canary)",
    "\n}\ntouch canary\n{",
    "\nEND\ntouch canary\n",
    "\r\n",
    "\t",
    " ",
    "  ",
    "-",
    "--",
    "-rf",
    "--help",
    "~",
    "~root",
    "*",
    "?",
    "[!a]",
    "{a,b}",
    "\\",
    "\\\n",
    "\\'",
    "$HOME",
    "${IFS}",
    "$1",
    "$$",
    "!!",
    "%s%n",
    "#",
    "=",
    "A=b",
    "if",
    "exit 7",
    "é",
    "日本",
    "\u{1f600}",
    "\u{202e}",
    "\u{85}",
    "\u{1}",
    "\u{7}",
    "\u{1b}[2J",
    "\u{7f}",
    "\u{feff}",
];

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => prop::sample::select(PIECES).prop_map(str::to_owned),
        1 => "[^\0]{0,8}",
        1 => "[a-z]{1,4}",
    ]
}

/// A text that somebody may have put into a manifest.
fn hostile() -> impl Strategy<Value = String> {
    // Longer than a pipe holds, and as long as one word of a command line may be.
    let tail = prop_oneof![15 => Just(0), 1 => Just(25_000)];
    (prop::collection::vec(piece(), 0..6), tail)
        .prop_map(|(pieces, tail)| pieces.concat() + &"'x$(".repeat(tail))
}

/// One that can be what a file is called.
fn file_name() -> impl Strategy<Value = String> {
    let name = prop::collection::vec(piece(), 1..6);
    name.prop_map(|pieces| {
        let mut name = pieces.concat().replace('/', "%");
        while name.len() > 120 {
            name.pop();
        }
        if matches!(name.as_str(), "" | "." | "..") {
            name.push('x');
        }
        name
    })
}

/// So many draws, other ones each time, unless `PROPTEST_RNG_SEED` says which.
fn drawn<T>(count: usize, strategy: impl Strategy<Value = T>) -> Vec<T> {
    let seed = std::env::var("PROPTEST_RNG_SEED").ok();
    let seed = seed.and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| fastrand::u64(..));
    println_seed(seed);
    let bytes: Vec<u8> = seed.to_le_bytes().repeat(4);
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let draw = |_| strategy.new_tree(&mut runner).unwrap().current();
    (0..count).map(draw).collect()
}

#[expect(clippy::print_stderr, reason = "a test that fails is to be run again")]
fn println_seed(seed: u64) {
    eprintln!("PROPTEST_RNG_SEED={seed}");
}

/// Every file below a folder that a value would have made.
fn canaries(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        if entry.file_name() == CANARY {
            found.push(entry.path().display().to_string());
        }
        if entry.file_type().unwrap().is_dir() {
            found.extend(canaries(&entry.path()));
        }
    }
    found
}

#[tokio::test]
async fn a_script_is_given_what_was_meant() {
    let folder = TempDir::new().unwrap();
    let text = drawn(12, (hostile(), hostile(), hostile(), hostile()));
    for node in shells() {
        for (plain, secret, path, word) in &text {
            let script = format!(
                "cd -- {} || exit\nset -- {} {}\n\
                 printf '%s\\0' \"$plain\" \"$secret\" \"$@\"; printf '%s\\0' \"$plain\" >&2",
                quote(folder.path().to_str().unwrap()),
                quote(word),
                quote_path(&format!("~/{path}")),
            );
            let command = Command::script(script)
                .with("plain", plain)
                .with_secret("secret", secret);
            let output = node.run(&command).await.unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            let home = format!("{}/{path}", std::env::home_dir().unwrap().display());
            let said: Vec<_> = said.split_terminator('\0').collect();
            assert_eq!(said, [plain, secret, word, &home]);
            let error = String::from_utf8(output.stderr).unwrap();
            assert_eq!(error.trim_end_matches('\0'), plain);
        }
    }
    assert_eq!(canaries(folder.path()), [""; 0]);
}

/// What a process is started with: its words, its variables, and the folder that it runs in.
fn started_with(pid: u32) -> (Vec<String>, Vec<String>, std::path::PathBuf) {
    let words = |name: &str| {
        let bytes = fs::read(format!("/proc/{pid}/{name}")).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let words = text.split_terminator('\0').map(str::to_owned);
        words.collect()
    };
    let folder = fs::read_link(format!("/proc/{pid}/cwd")).unwrap();
    (words("cmdline"), words("environ"), folder)
}

#[tokio::test]
async fn a_process_has_the_words_variables_and_folder_that_were_meant() {
    const SLEEP: &str = "import time; time.sleep(1000)";
    let draws = drawn(6, (hostile(), hostile(), hostile(), file_name()));
    for node in shells() {
        for (word, value, spec, name) in &draws {
            let thing = Thing::new();
            let mut wanted = thing.launch(&[python(), "-c", SLEEP, "-", word, "~/x", value]);
            wanted.env = BTreeMap::from([("SAID".to_owned(), value.clone())]);
            wanted.spec = serde_json::json!({ "said": spec }).to_string();
            wanted.folder = thing.at(&format!("{name}.folder"));
            wanted.log = thing.at(&format!("{name}.logs/a.log"));
            wanted.path = vec![thing.at(&format!("{name}.bin"))];
            let pid = launch(&node, &wanted).await.unwrap().pid;
            let (words, variables, folder) = started_with(pid);
            let home = std::env::home_dir().unwrap();
            let meant = |text: &str| match text.strip_prefix('~') {
                Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                    format!("{}{rest}", home.display())
                }
                _ => text.to_owned(),
            };
            let rest = words[4..].iter().map(String::as_str);
            assert_eq!(
                rest.collect::<Vec<_>>(),
                [&*meant(word), &meant("~/x"), &meant(value)]
            );
            let has = |variable: String| assert!(variables.contains(&variable), "{variables:?}");
            has(format!("SAID={value}"));
            has(format!("REPLICA_SPEC={}", wanted.spec));
            assert_eq!(folder, Path::new(&wanted.folder));
            let path = variables.iter().find(|it| it.starts_with("PATH=")).unwrap();
            assert!(path.starts_with(&format!("PATH={}:", wanted.path[0])));
            assert!(Path::new(&wanted.log).is_file());
            stop(&node, &thing.stop(Duration::ZERO), &silent)
                .await
                .unwrap();
            assert_eq!(canaries(thing.folder.path()), [""; 0]);
        }
    }
}

/// A proxy's control, and its request, in a folder of this name.
async fn told_in(thing: &Thing, name: &str, word: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = thing.at(name);
    fs::create_dir_all(&folder).unwrap();
    let program = format!("{folder}/replica");
    fs::write(
        &program,
        "#!/bin/sh\ncat >asked\nprintf '%s' \"$*\" >words\n",
    )
    .unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let request = Request::Drain {
        backend: word.to_owned(),
        wait: false,
    };
    let control = ProxyControl {
        program,
        folder: folder.clone(),
        request: request.clone(),
        timeout: None,
        keys: Keys::default(),
        awaited: BTreeMap::new(),
        tells_more: true,
    };
    // It answers nothing, and so it fails.
    super::control(&here(), &control, &silent)
        .await
        .unwrap_err();
    let asked = fs::read_to_string(format!("{folder}/asked")).unwrap();
    assert_eq!(serde_json::from_str::<Request>(&asked).unwrap(), request);
    let words = fs::read_to_string(format!("{folder}/words")).unwrap();
    assert_eq!(words, "proxy-control proxy.sock");
}

#[tokio::test]
async fn files_are_put_read_and_removed_where_they_were_meant() {
    for (name, content) in drawn(8, (file_name(), hostile())) {
        for node in shells() {
            let thing = Thing::new();
            let (folder, beside) = (thing.at(&name), thing.at("beside/it"));
            fs::create_dir_all(&beside).unwrap();
            let source = thing.folder.path().join("source");
            fs::write(&source, &content).unwrap();
            let target = format!("{folder}/{name}");
            let sent = Upload {
                source,
                target: target.clone(),
            };
            upload(&node, &sent).await.unwrap();
            assert_eq!(fs::read_to_string(&target).unwrap(), content);
            let kept = KeepLog {
                log: target.clone(),
                name: "kept".to_owned(),
            };
            let kept = keep_log(&node, &kept, thing.folder.path()).await.unwrap();
            assert_eq!(fs::read_to_string(kept).unwrap(), content);
            told_in(&thing, &format!("{name}.run"), &content).await;
            let emptied = Emptied {
                root: "~/.local/state/replica",
                last: "log",
                beside: "run",
            };
            let gone = [target.clone(), sent.note()];
            remove(&node, &gone, emptied).await.unwrap();
            assert!(!Path::new(&target).exists());
            assert!(Path::new(&beside).is_dir());
            assert_eq!(canaries(thing.folder.path()), [""; 0]);
        }
    }
}

#[tokio::test]
async fn work_is_done_under_the_lock_that_was_meant() {
    for name in drawn(6, file_name()) {
        for node in shells() {
            let thing = Thing::new();
            let lock = thing.at(&format!("{name}/lock"));
            let work = RunScript {
                doing: name.clone(),
                script: format!("r_said={}\necho \"outcome: ${{#r_said}}\"\n", quote(&name)),
                secrets: BTreeMap::new(),
                lock: lock.clone(),
                patience: MINUTE,
                attempts: 1,
                log_reader: LogReader::Installer,
            };
            let length = run_script(&node, &work, &silent).await.unwrap();
            // In bytes, as the locale of a script has no others; some shells count so in any case.
            assert_eq!(length, name.len().to_string());
            assert!(Path::new(&lock).exists());
            assert_eq!(canaries(thing.folder.path()), [""; 0]);
        }
    }
}

/// Nothing that a test looks for is looked for in vain.
#[tokio::test]
async fn what_is_not_quoted_is_caught() {
    let thing = Thing::new();
    let script = format!("cd -- {}\necho $(touch canary)", quote(&thing.at("")));
    here().run(&Command::script(script)).await.unwrap();
    assert_eq!(canaries(thing.folder.path()), [thing.at(CANARY)]);
}

/// What no shell can be given is not given to one in another shape.
#[tokio::test]
async fn a_script_with_a_nul_character_is_not_run() {
    for node in shells() {
        for command in [
            Command::script("echo ran").with("value", "a\0b"),
            Command::script("echo ran").with_secret("value", "a\0b"),
            Command::script("echo 'a\0b'"),
        ] {
            let error = node.run(&command).await.unwrap_err();
            assert!(error.to_string().contains("NUL"), "{error}");
        }
    }
}
