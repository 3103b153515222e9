//! What the README, and the page of recipes, tell a stranger to type does what they say.
//!
//! Every command of their `sh` and `console` blocks is run, in order, in a copy of the samples, and
//! must end with exit 0, or with the code of a trailing `# exit 2`. What would run these very tests is
//! not run: there every alias, run and test that it names must be there. A block that cannot be run
//! here stands below `<!-- not run: why -->`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use replica::compare::foretell;
use replica::manifest::Variables;
use replica::plan::ReasonCode;
use replica::view::{Style, compare};

use super::builders;
use super::support::{MANIFESTS, Workdir};

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
const RECIPES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/README.md");

/// How the README starts a program that is not installed yet.
const FROM_SOURCE: &str = "cargo run --release -- ";

/// What is not run because it would run this very test, or wait for it.
const FOR_BUILDERS: [&str; 3] = ["cargo ", ".ci/run", ".ci/release"];

/// Commands that ask no node.
const ASKS_NOBODY: [&str; 8] = [
    "validate",
    "fmt",
    "schema",
    "completions",
    "man",
    "explain",
    "dashboard",
    "init --local",
];

/// One thing to type.
#[derive(Debug, PartialEq, Eq)]
struct Typed {
    line: usize,
    text: String,
    exit: i32,
    /// Why it is not run.
    not_run: Option<String>,
}

/// Reads what there is to type.
fn typed(readme: &str) -> Vec<Typed> {
    let mut found = Vec::new();
    let mut not_run: Option<String> = None;
    let mut fence: Option<String> = None;
    let mut lines = readme.lines().enumerate();
    while let Some((i, line)) = lines.next() {
        let line = line.trim();
        match (&fence, line.strip_prefix("```")) {
            (None, Some(language)) => fence = Some(language.to_owned()),
            (Some(_), Some(_)) => (fence, not_run) = (None, None),
            (None, None) => {
                let why = line.strip_prefix("<!-- not run:");
                if let Some(why) = why.and_then(|rest| rest.strip_suffix("-->")) {
                    not_run = Some(why.trim().to_owned());
                } else if !line.is_empty() {
                    not_run = None;
                }
            }
            (Some(language), None) => {
                let prompted = line.strip_prefix("$ ");
                let text = match language.as_str() {
                    "console" => prompted,
                    "sh" => Some(prompted.unwrap_or(line)),
                    _ => None,
                };
                let Some(text) = text.filter(|text| !text.is_empty() && !text.starts_with('#'))
                else {
                    continue;
                };
                let mut text = text.to_owned();
                while let Some(begun) = text.strip_suffix('\\') {
                    let (_, next) = lines.next().expect("a line goes on");
                    text = format!("{begun}{}", next.trim());
                }
                let (text, exit) = match text.split_once(" #") {
                    Some((text, said)) => (text.trim().to_owned(), exit_of(said)),
                    None => (text, 0),
                };
                found.push(Typed {
                    line: i + 1,
                    text,
                    exit,
                    not_run: not_run.clone(),
                });
            }
        }
    }
    found
}

/// The code that a comment says a command ends with.
fn exit_of(comment: &str) -> i32 {
    let code = comment.trim().strip_prefix("exit ");
    code.map_or(0, |code| code.parse().unwrap())
}

impl Typed {
    /// Whether it is for who builds replica, and not for who uses it.
    fn is_for_builders(&self) -> bool {
        let is_from_source = self.text.starts_with(FROM_SOURCE);
        !is_from_source && FOR_BUILDERS.iter().any(|it| self.text.starts_with(it))
    }

    /// What is run for it, if anything is: a command of ours, or a request to what one has brought up.
    fn command(&self) -> Option<String> {
        if self.not_run.is_some() || self.is_for_builders() {
            return None;
        }
        let line = self.text.replace(FROM_SOURCE, "replica ");
        assert!(
            line.starts_with("replica ") || line.starts_with("curl "),
            "README.md:{}: `{}` is no command of replica; say why it is not run: \
             `<!-- not run: why -->` above its block",
            self.line,
            self.text
        );
        Some(line)
    }

    /// Stops before a machine is asked that is not this one.
    fn check_that_it_stays_here(&self, line: &str, place: &Workdir) {
        let words = line.split_whitespace().skip(1);
        let said = words.clone().collect::<Vec<_>>().join(" ");
        let begins = |it: &&str| said == *it || said.starts_with(&format!("{it} "));
        if ASKS_NOBODY.iter().any(begins) {
            return;
        }
        let is_manifest = |word: &&str| Path::new(word).extension().is_some_and(|it| it == "yaml");
        for file in words.skip(1).filter(is_manifest) {
            let text = place.read(file);
            let goes_elsewhere = text
                .lines()
                .filter_map(|line| line.split('#').next()?.split_once("ssh:"))
                .any(|(_, target)| !target.trim_start().starts_with("local"));
            assert!(
                !goes_elsewhere,
                "README.md:{}: `{}` asks other machines; say that it is not run",
                self.line, self.text
            );
        }
    }
}

/// A copy of the samples, and the topologies that are brought up beside that of the place for as long as a test
/// takes.
struct Copies {
    place: Workdir,
    beside: Vec<String>,
}

impl Copies {
    /// Saves a manifest whose topology is one of its own, on the place's ports.
    fn save_beside(&mut self, file: &str, text: &str) {
        let place = &self.place;
        let stem = Path::new(file).file_stem().unwrap().to_str().unwrap();
        let own = format!("{}-{stem}", place.topology);
        let text = place.own(text).replace(&place.topology, &own);
        place.write(file, &text.replace("8300", &place.port(3).to_string()));
        self.beside.push(file.to_owned());
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        for file in &self.beside {
            if self.place.read(file).contains("{ssh: local}") {
                let _ = self.place.replica(&["destroy", file, "-y"]);
            }
        }
    }
}

/// A copy of the samples under a name and on ports of its own, with `replica` at hand.
fn copy_of_the_samples() -> Copies {
    let mut copies = Copies {
        place: Workdir::measuring_local(),
        beside: Vec::new(),
    };
    fs::create_dir(copies.place.work().join("manifests")).unwrap();
    for entry in fs::read_dir(MANIFESTS).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let name = format!("manifests/{}", path.file_name().unwrap().to_str().unwrap());
        let place = &copies.place;
        if path.ends_with("refused.yaml") {
            // Its results are not those of the others.
            copies.save_beside(&name, &text);
        } else if path.extension().is_some_and(|it| it == "yaml") {
            place.write(name, &place.own(&text));
        } else {
            // What lies beside them is named by them.
            place.write(name, &text);
        }
    }
    fs::create_dir(copies.place.home().join("bin")).unwrap();
    let program = copies.place.home().join("bin/replica");
    symlink(env!("CARGO_BIN_EXE_replica"), program).unwrap();
    copies
}

fn run(place: &Workdir, line: &str) -> Output {
    let mut command = Command::new("sh");
    command.args(["-c", line]).stdin(Stdio::null());
    place.settle(&mut command);
    let path = std::env::var("PATH").unwrap_or_default();
    let own = place.home().join("bin");
    command.env("PATH", format!("{}:{path}", own.display()));
    command.output().unwrap()
}

/// Runs what a page tells to type.
#[expect(clippy::print_stdout, reason = "what is not run is worth a look")]
fn hold(page: &str, place: &Workdir) {
    let all = typed(&fs::read_to_string(page).unwrap());
    assert!(!all.is_empty(), "there is nothing to type");
    for typed in &all {
        if typed.is_for_builders() {
            let missing = builders::missing(&typed.text);
            assert_eq!(missing, None, "{page}:{}: {}", typed.line, typed.text);
        }
        let Some(line) = typed.command() else {
            let why = typed.not_run.as_deref().unwrap_or("it would run itself");
            println!("{page}:{}: not run: {}: {why}", typed.line, typed.text);
            continue;
        };
        typed.check_that_it_stays_here(&line, place);
        let output = run(place, &line);
        assert_eq!(
            output.status.code(),
            Some(typed.exit),
            "{page}:{}: {}\n--- out\n{}\n--- err\n{}",
            typed.line,
            typed.text,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn every_command_of_the_readme_does_what_it_says() {
    hold(README, &copy_of_the_samples().place);
}

/// What stands in the blocks of one language.
fn blocks<'a>(page: &'a str, language: &'a str) -> impl Iterator<Item = &'a str> {
    let head = format!("```{language}\n");
    let parts = page.match_indices(&head).map(|(at, head)| at + head.len());
    let starts: Vec<usize> = parts.collect();
    let text = move |at: usize| page[at..].split("```").next().unwrap_or_default();
    starts.into_iter().map(text)
}

/// The name under which a recipe is to be saved, where it is a whole manifest.
fn saved_as(block: &str) -> Option<&str> {
    let mut lines = block
        .lines()
        .skip(1)
        .filter_map(|line| line.strip_prefix("# "));
    lines.find(|name| {
        !name.contains(' ') && Path::new(name).extension().is_some_and(|end| end == "yaml")
    })
}

#[test]
fn every_recipe_does_what_it_says() {
    let page = fs::read_to_string(RECIPES).unwrap();
    let mut copies = copy_of_the_samples();
    let mut saved = Vec::new();
    for block in blocks(&page, "yaml") {
        if let Some(name) = saved_as(block) {
            copies.save_beside(name, block);
            saved.push(name);
        }
    }
    assert_eq!(saved, ["one.yaml", "settings.yaml", "second.yaml"]);
    for name in saved {
        let is_used = page.contains(&format!("$ replica validate {name}"))
            || page.contains(&format!("$ replica apply {name}"));
        assert!(is_used, "nothing is done with {name}");
    }
    hold(RECIPES, &copies.place);
}

/// What a recipe shows of a manifest is good in the place of what a sample has there.
#[test]
fn every_part_of_a_recipe_is_one_of_a_manifest() {
    let read = |text: &str| serde_yaml::from_str::<serde_json::Value>(text).unwrap();
    let page = fs::read_to_string(RECIPES).unwrap();
    let sample = fs::read_to_string(format!("{MANIFESTS}/disaggregated.yaml")).unwrap();
    let parts = blocks(&page, "yaml").filter(|block| saved_as(block).is_none());
    let mut count = 0;
    for part in parts {
        let mut whole = read(&sample);
        for (key, value) in read(part).as_object().unwrap() {
            whole[key] = value.clone();
        }
        if let Err(error) = replica::manifest::read(&whole.to_string()) {
            panic!("{part}\n{error}");
        }
        count += 1;
    }
    assert_eq!(count, 2);
}

/// A line in which every number is the same one, as those of no two runs are.
fn numbered(line: &str) -> String {
    let mut out = String::new();
    for c in narrow(line).chars() {
        let is_number = c.is_ascii_digit() || (c == '.' && out.ends_with('0'));
        if !is_number {
            out.push(c);
        } else if !out.ends_with('0') {
            out.push('0');
        }
    }
    out
}

/// What the README shows of a result that is refused is what comes out.
#[test]
fn the_refused_result_is_the_one_of_the_readme() {
    let copies = copy_of_the_samples();
    let place = &copies.place;
    let said = place
        .replica(&["apply", "manifests/refused.yaml", "-y"])
        .exits(7);
    let out: Vec<_> = said.out.lines().map(numbered).collect();
    let page = fs::read_to_string(README).unwrap();
    let shown = page.split("### A result that is refused").nth(1).unwrap();
    let shown = blocks(shown, "text").next().unwrap();
    // Of the table, a machine with much to do leaves out what it cannot know.
    let lines = shown.lines().skip_while(|line| !line.starts_with('✗'));
    let lines = lines.filter(|line| *line != "...");
    let missing: Vec<_> = lines
        .map(|line| numbered(&place.own(line)))
        .filter(|line| !out.contains(&narrow(line)))
        .collect();
    assert!(missing.is_empty(), "{missing:#?}\nis not in\n{said}");
    assert!(shown.contains("`b` was cold"));
}

#[test]
fn what_there_is_to_type_is_read_as_a_reader_reads_it() {
    let readme = "\
```console
$ replica plan \\
    --json
No changes.
$ replica plan -detailed-exitcode   # exit 2
$ cargo rooms      # the cases
```
<!-- not run: it needs a GPU -->
```sh
# first
replica apply
```
```text
$ not this
```
";
    let all = typed(readme);
    let describe: Vec<_> = all
        .iter()
        .map(|it| (it.line, it.text.as_str(), it.exit, it.not_run.as_deref()))
        .collect();
    assert_eq!(
        describe,
        [
            (2, "replica plan --json", 0, None),
            (5, "replica plan -detailed-exitcode", 2, None),
            (6, "cargo rooms", 0, None),
            (11, "replica apply", 0, Some("it needs a GPU")),
        ]
    );
}

/// A line without how far its columns are from each other.
fn narrow(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What the README shows of two GB10s is what the command says, of two of the benchmarks.
#[test]
fn what_is_predicted_of_two_gb10s_is_what_the_readme_shows() {
    let shown = ["in2048-out128", "in8192-out64"];
    let arms = ["replicated", "disaggregated"];
    let file = Path::new(MANIFESTS).join("experiment.yaml");
    let manifest = replica::manifest::load(&file, Variables::default()).unwrap();
    let mut experiment = manifest.experiment.unwrap();
    experiment
        .benchmarks
        .retain(|it| shown.contains(&it.as_str()));
    experiment
        .arms
        .retain(|arm, _| arms.contains(&arm.as_str()));
    experiment
        .against
        .retain(|arm| arms.contains(&arm.as_str()));
    let foretold = foretell(&experiment, &manifest.folder).unwrap();
    let said = compare::foretold("spark", &experiment, &foretold, Style::plain());
    let is_shown = |line: &&str| shown.iter().any(|name| line.trim().starts_with(name));
    let lines: Vec<_> = said.lines().filter(is_shown).collect();
    assert_eq!(lines.len(), 8, "{said}");
    let readme = fs::read_to_string(README).unwrap();
    let readme: Vec<_> = readme.lines().map(narrow).collect();
    let missing: Vec<_> = lines
        .iter()
        .filter(|it| !readme.contains(&narrow(it)))
        .collect();
    assert!(
        missing.is_empty(),
        "the README shows other lines than\n{said}"
    );
}

/// The README is where a machine's author looks for the words.
#[test]
fn every_reason_code_is_in_the_readme() {
    let readme = fs::read_to_string(README).unwrap();
    let lacks = |readme: &str| -> Vec<&str> {
        let words = ReasonCode::ALL.iter().map(|code| code.word());
        words
            .filter(|word| !readme.contains(&format!("`{word}`")))
            .collect()
    };
    assert_eq!(lacks(&readme), Vec::<&str>::new());
    assert_eq!(lacks(&readme.replace("`no_memory`", "")), ["no_memory"]);
}
