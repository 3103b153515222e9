//! Commands for who builds replica: whether they name something that is there. They are not run, for
//! they would run the very tests that read this.

use std::fs;
use std::path::Path;

/// What cargo can do without us.
const BUILT_IN: [&str; 5] = ["bench", "doc", "install", "run", "test"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// What a command names that is not there.
pub(super) fn missing(command: &str) -> Option<String> {
    let words: Vec<_> = command.split_whitespace().collect();
    match words.as_slice() {
        [".ci/run" | ".ci/release"] => None,
        [".ci/run", run] => {
            let is_there = read(".ci/run").contains(&format!("1:{run})"));
            (!is_there).then(|| format!("the run {run}"))
        }
        ["cargo", verb, rest @ ..] if BUILT_IN.contains(verb) => missing_target(rest),
        ["cargo", alias, rest @ ..] => match expansion(alias) {
            Some(words) => {
                let words: Vec<_> = words.split_whitespace().skip(1).collect();
                missing_target(&[words.as_slice(), rest].concat())
            }
            None => Some(format!("the alias {alias}")),
        },
        _ => Some("a command".to_owned()),
    }
}

/// What an alias stands for.
fn expansion(alias: &str) -> Option<String> {
    let config = read(".cargo/config.toml");
    let head = format!("{alias} = \"");
    let line = config.lines().find_map(|line| line.strip_prefix(&head))?;
    Some(line.trim_end_matches('"').to_owned())
}

/// Looks for the target and the tests that the words of a `cargo test` name.
fn missing_target(words: &[&str]) -> Option<String> {
    let target = words
        .windows(2)
        .find(|pair| ["--test", "--bench"].contains(&pair[0]))
        .map(|pair| pair[1]);
    let is_declared = |name: &&str| read("Cargo.toml").contains(&format!("name = \"{name}\""));
    if let Some(target) = target.filter(|name| !is_declared(name)) {
        return Some(format!("the target {target}"));
    }
    let tests = words.iter().filter(|word| word.contains("::"));
    let missing = |test: &&&str| !names_a_test(target, test);
    tests
        .copied()
        .find(|test| missing(&test))
        .map(str::to_owned)
}

/// Whether there is a test, or a room with tests, that a name begins.
fn names_a_test(target: Option<&str>, name: &str) -> bool {
    let folders = match target {
        Some("lab") => vec!["tests/lab"],
        Some("suite") => vec!["tests"],
        _ => vec!["src", "tests/suite"],
    };
    let (rooms, test) = name.rsplit_once("::").unwrap_or((name, ""));
    let room = rooms.replace("::", "/");
    let room_or_test = format!("{room}/{test}");
    folders.iter().any(|folder| {
        let is_room = |path: &str| {
            let path = format!("{folder}/{}", path.trim_end_matches('/'));
            root().join(&path).is_dir() || root().join(format!("{path}.rs")).is_file()
        };
        let file = root().join(format!("{folder}/{room}.rs"));
        let text = fs::read_to_string(file).unwrap_or_default();
        is_room(&room_or_test) || (!test.is_empty() && text.contains(&format!("fn {test}")))
    })
}

#[test]
fn what_is_not_there_is_missed() {
    for there in [
        ".ci/run",
        ".ci/run quick",
        ".ci/release",
        "cargo test",
        "cargo lint",
        "cargo unit proxy::policy",
        "cargo bless view::",
        "cargo test --test lab replicated::the_single",
        "cargo lab1 replicated::the_single",
        "cargo bench --bench scale",
    ] {
        assert_eq!(missing(there), None, "{there}");
    }
    for (not_there, what) in [
        (".ci/run slow", "the run slow"),
        ("cargo polish", "the alias polish"),
        ("cargo test --test laboratory", "the target laboratory"),
        ("cargo unit proxy::politics", "proxy::politics"),
        (
            "cargo lab1 replicated::the_married",
            "replicated::the_married",
        ),
        ("make", "a command"),
    ] {
        assert_eq!(missing(not_there).as_deref(), Some(what), "{not_there}");
    }
}
