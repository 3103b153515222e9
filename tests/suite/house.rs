//! Guards of the house: what may stand in which room. Each check is a function of source text, and
//! has a control that shows that it can fail.

use std::fs;
use std::path::{Path, PathBuf};

use replica::resource::KINDS;

/// The names of the kinds.
fn kinds() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|kind| kind.name())
}

/// What the corridor may say all the same: the effect that is named after what it speaks to.
const SPOKEN: &str = "Effect::ProxyControl";

/// What reaches out of the process.
const EFFECTS: [&str; 7] = [
    "tokio::",
    "std::fs",
    "use std::{fs",
    "std::process",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
];

/// The one room that reads files: the binaries at hand.
const READERS: [&str; 2] = [
    "src/resource/program/binaries.rs",
    "src/resource/program/build_id.rs",
];

const PRINTS: [&str; 11] = [
    "println!",
    "eprintln!",
    "print!",
    "eprint!",
    "io::stdout",
    "io::stderr",
    "stdout()",
    "stderr()",
    // What draws lines, and what would print for itself.
    "indicatif",
    "/dev/tty",
    "error.print",
];

/// Who prints: the one file through which all passes that people see, with its lines that are drawn
/// over; the programs of a node, each in its own log, and what speaks to one.
const PRINTERS: [&str; 8] = [
    "src/view/screen.rs",
    "src/view/bars.rs",
    "src/simulator/log.rs",
    "src/simulator/mod.rs",
    "src/proxy/log.rs",
    "src/cli/proxy.rs",
    "src/cli/send_load.rs",
    "src/cli/transfer.rs",
];

/// Who may name the SSH library: its room, and the filter of the trace.
const SSH: [&str; 2] = ["src/node/ssh/", "src/cli/mod.rs"];

const LONGEST: usize = 700;

/// A source file: its path from the root, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The lines of code: no comments, no tests.
    fn code(&self) -> impl Iterator<Item = &str> {
        let tests = ["/tests.rs", "/tests/", "/scenarios/"];
        let is_test = tests.iter().any(|part| self.path.contains(part));
        let lines = self
            .text
            .lines()
            .take_while(move |line| !is_test && !line.starts_with("#[cfg(test)]"));
        let is_shell = self.is_shell();
        lines.map(move |line| match is_shell {
            true if line.trim_start().starts_with('#') => "",
            true => line,
            false => without_comment(line),
        })
    }

    fn is_shell(&self) -> bool {
        let end = Path::new(&self.path).extension();
        end.is_some_and(|end| end == "sh")
    }

    fn is_among(&self, paths: &[&str]) -> bool {
        paths.iter().any(|path| self.path.starts_with(path))
    }

    /// The lines of code in which one of these words stands.
    fn lines_with(&self, words: &[&str]) -> Vec<String> {
        let has = |line: &&str| words.iter().any(|word| line.contains(word));
        let lines = self.code().filter(has);
        lines
            .map(|line| format!("{}: {}", self.path, line.trim()))
            .collect()
    }
}

fn without_comment(line: &str) -> &str {
    // `://` is an address.
    let mut from = 0;
    while let Some(at) = line[from..].find("//").map(|at| at + from) {
        if !line[..at].ends_with(':') {
            return &line[..at];
        }
        from = at + 2;
    }
    line
}

pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(super) fn files_below(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn sources(folder: &str) -> Vec<Source> {
    sources_in(folder, "rs")
}

/// The sources in one language, by how its files end.
fn sources_in(folder: &str, language: &str) -> Vec<Source> {
    let is_one = |path: &PathBuf| path.extension().is_some_and(|end| end == language);
    let files = files_below(folder).into_iter().filter(is_one);
    let sources: Vec<_> = files
        .map(|path| Source {
            text: fs::read_to_string(&path).unwrap(),
            path: path.strip_prefix(root()).unwrap().display().to_string(),
        })
        .collect();
    assert!(!sources.is_empty(), "{folder} is empty");
    sources
}

/// A source as a control has it.
fn control(path: &str, text: &str) -> Source {
    Source {
        path: path.to_owned(),
        text: text.to_owned(),
    }
}

fn kinds_named(source: &Source) -> Vec<String> {
    let names = |line: &&str| {
        let line = line.replace(SPOKEN, "").to_lowercase();
        kinds().chain(["vllm"]).any(|kind| line.contains(kind))
    };
    let lines = source.code().filter(names);
    lines
        .map(|line| format!("{}: {}", source.path, line.trim()))
        .collect()
}

/// The commands that go for everything, whatever it is.
const COMMANDS: [&str; 3] = [
    "src/cli/destroy.rs",
    "src/cli/status.rs",
    "src/view/status.rs",
];

/// Where a kind is known by name beside its own room: the list, what a manifest declares of each,
/// and what counts or shows them one by one.
const LISTS: [&str; 6] = [
    "src/resource/catalogue.rs",
    "src/resource/topology.rs",
    "src/cli/validate.rs",
    "src/view/bench.rs",
    "src/view/compare.rs",
    "src/view/report/",
];

/// What is a word of others: a folder of vLLM's package, a key of a request as OpenAI has it.
const OF_OTHERS: [(&str, &str); 2] = [
    ("src/resource/instance/toolchain.sh", "engine"),
    ("src/view/output.rs", "model"),
];

/// Where a kind is named outside of its own room: as a text of its own in Rust, as a word in
/// shell. In Rust, rooms rest on rooms, and have fields that are called like what they tell of.
fn kinds_named_elsewhere(source: &Source) -> Vec<String> {
    let is_room = |kind: &str| source.path.starts_with(&format!("src/resource/{kind}/"));
    if source.is_among(&LISTS) || (!source.is_shell() && kinds().any(is_room)) {
        return Vec::new();
    }
    let is_others = |kind: &str| OF_OTHERS.contains(&(source.path.as_str(), kind));
    let quote = if source.is_shell() { "" } else { "\"" };
    let others: Vec<_> = kinds()
        .filter(|kind| !is_room(kind) && !is_others(kind))
        .map(|kind| format!("{quote}{kind}{quote}"))
        .collect();
    let names = |line: &&str| {
        let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '"');
        words.any(|word| others.iter().any(|other| other == word))
    };
    let lines = source.code().filter(names);
    lines
        .map(|line| format!("{}: {}", source.path, line.trim()))
        .collect()
}

fn effects_in_rooms(source: &Source) -> Vec<String> {
    if source.is_among(&READERS) {
        return Vec::new();
    }
    source.lines_with(&EFFECTS)
}

fn prints(source: &Source) -> Vec<String> {
    if source.is_among(&PRINTERS) {
        return Vec::new();
    }
    source.lines_with(&PRINTS)
}

fn names_the_ssh_library(source: &Source) -> Vec<String> {
    if source.is_among(&SSH) {
        return Vec::new();
    }
    source.lines_with(&["russh"])
}

/// Text becomes things, and never the other way: no room knows how a manifest is written.
fn knows_of_text(source: &Source) -> Vec<String> {
    let lines = source.code().filter(|line| {
        let words = line.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
        let mut paths = words.filter(|word| !word.is_empty());
        paths.any(|path| path.starts_with("crate::manifest") || path.starts_with("manifest::"))
    });
    lines
        .map(|line| format!("{}: {}", source.path, line.trim()))
        .collect()
}

/// Where a load shape is told apart from others: that is for the shape itself to say.
fn names_a_shape(source: &Source) -> Vec<String> {
    if source.is_among(&["src/shape/"]) {
        return Vec::new();
    }
    let is_variant = |rest: &str| rest.starts_with(|c: char| c.is_ascii_uppercase());
    let named = |line: &&str| line.split("Shape::").skip(1).any(is_variant);
    let lines = source.code().filter(named);
    lines
        .map(|line| format!("{}: {}", source.path, line.trim()))
        .collect()
}

/// Where a shape that is yet to come would be taken for one of the others.
fn forgets_a_shape(source: &Source) -> Vec<String> {
    source.lines_with(&["_ =>"])
}

/// The rooms of a measurement, lowest first: none imports from one above it, or from the rooms that
/// use them all.
const MEASURING: [&str; 6] = ["name", "shape", "prompts", "results", "verdict", "load"];

/// What stands above all of them.
const ABOVE: [&str; 5] = ["resource", "converge", "view", "cli", "manifest"];

fn imports_from_above(source: &Source) -> Vec<String> {
    let room = |room: &&str| source.path.starts_with(&format!("src/{room}/"));
    let Some(place) = MEASURING.iter().position(room) else {
        return Vec::new();
    };
    let mut above: Vec<&str> = [&MEASURING[place + 1..], &ABOVE].concat();
    if ["shape", "prompts"].contains(&MEASURING[place]) {
        above.extend(["plan", "node", "proxy"]);
    }
    let above: Vec<String> = above.iter().map(|name| format!("crate::{name}")).collect();
    let words: Vec<&str> = above.iter().map(String::as_str).collect();
    source.lines_with(&words)
}

/// What is above the plan, which stands on the ground.
const ABOVE_THE_PLAN: [&str; 13] = [
    "cli",
    "converge",
    "load",
    "logs",
    "manifest",
    "node",
    "proxy",
    "resource",
    "results",
    "simulator",
    "transfer",
    "verdict",
    "view",
];

fn reaches_up(source: &Source) -> Vec<String> {
    let paths: Vec<_> = ABOVE_THE_PLAN.map(|room| format!("crate::{room}")).into();
    let paths: Vec<_> = paths.iter().map(String::as_str).collect();
    source.lines_with(&paths)
}

/// What only code could make, or could not be compared and written down.
fn is_no_data(source: &Source) -> Vec<String> {
    source.lines_with(&["fn(", "dyn ", "&'static"])
}

/// What only somebody says who knows how the state folder is laid out.
const LAYOUT: [&str; 12] = [
    ".local/state",
    "/replica/",
    "replica/*",
    "\"bin\"",
    "\"bin/",
    "\"log\"",
    "\"log/",
    "\"run\"",
    "\"run/",
    "/log\"",
    "/run\"",
    "../bin",
];

/// The one file that does.
const LAID_OUT: [&str; 1] = ["src/resource/node_files.rs"];

fn knows_the_layout(source: &Source) -> Vec<String> {
    if source.is_among(&LAID_OUT) {
        return Vec::new();
    }
    source.lines_with(&LAYOUT)
}

fn unfinished(source: &Source) -> Vec<String> {
    source.lines_with(&["todo!", "unimplemented!"])
}

fn too_long(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    let long = (lines > LONGEST).then(|| format!("{}: {lines} lines", source.path));
    long.into_iter().collect()
}

/// Holds a check against every source of a folder.
fn hold(folder: &str, check: impl Fn(&Source) -> Vec<String>) {
    let wrong: Vec<_> = sources(folder).iter().flat_map(check).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_corridor_names_no_kind() {
    hold("src/converge", kinds_named);
    let named = |path, text| kinds_named(&control(path, text)).len();
    let path = "src/converge/decide.rs";
    assert_eq!(named(path, "if address.kind == \"proxy\" {\n"), 1);
    assert_eq!(named(path, "fn next(one: &ProxyDeclaration) {}\n"), 1);
    assert_eq!(named(path, "let program = 1;\n"), 1);
    assert_eq!(named(path, "Effect::ProxyControl(control) => 1,\n"), 0);
    assert_eq!(named(path, "Effect::ProxyControl(proxy) => 1,\n"), 1);
    assert_eq!(
        named(path, "// The proxy is told first.\nlet a = 1; // a model\n"),
        0
    );
    assert_eq!(
        named(path, "#[cfg(test)]\nmod tests { fn engine() {} }\n"),
        0
    );
}

/// What serves, what it served and which ports it wants is told by the things themselves.
#[test]
fn the_commands_name_no_kind() {
    for path in COMMANDS {
        let text = fs::read_to_string(root().join(path)).unwrap();
        let named = kinds_named(&control(path, &text));
        assert!(named.is_empty(), "{}", named.join("\n"));
    }
    let named = |text| kinds_named(&control(COMMANDS[0], text)).len();
    assert_eq!(named("use crate::resource::instance::Instance;\n"), 1);
    assert_eq!(named("pub proxy: Option<ServiceStatus>,\n"), 1);
    assert_eq!(named("/// As the proxy dials it.\n"), 0);
}

#[test]
fn no_kind_is_named_outside_its_room_and_the_list() {
    let folders = [
        "cli", "converge", "node", "plan", "resource", "transfer", "view",
    ];
    for folder in folders {
        hold(&format!("src/{folder}"), kinds_named_elsewhere);
    }
    let scripts = sources_in("src", "sh");
    let wrong: Vec<_> = scripts.iter().flat_map(kinds_named_elsewhere).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let found = |path, text| kinds_named_elsewhere(&control(path, text)).len();
    let named = "Address::on(node, \"program\", None)\n";
    assert_eq!(found("src/resource/orphan.rs", named), 1);
    assert_eq!(found("src/resource/program/mod.rs", named), 0);
    assert_eq!(found("src/cli/logs.rs", "\"the program of a node\"\n"), 0);
    let script = "case $r_kind in proxy) ;; esac\n";
    assert_eq!(found("src/node/script/stop.sh", script), 1);
    assert_eq!(found("src/resource/engine/look.sh", script), 1);
    assert_eq!(found("src/node/script/stop.sh", "# a proxy\n"), 0);
}

#[test]
fn rooms_have_no_effects() {
    hold("src/resource", effects_in_rooms);
    let found = |path, text| effects_in_rooms(&control(path, text)).len();
    let room = "src/resource/instance/mod.rs";
    assert_eq!(found(room, "use std::fs;\n"), 1);
    assert_eq!(
        found(room, "let s = tokio::net::TcpStream::connect(a);\n"),
        1
    );
    assert_eq!(found(READERS[0], "use std::fs;\n"), 0);
}

#[test]
fn only_the_view_prints() {
    hold("src", prints);
    let found = |path, text| prints(&control(path, text)).len();
    assert_eq!(found("src/cli/plan.rs", "println!(\"done\");\n"), 1);
    assert_eq!(
        found("src/cli/plan.rs", "let out = std::io::stdout();\n"),
        1
    );
    assert_eq!(found("src/view/plan.rs", "println!(\"done\");\n"), 1);
    assert_eq!(found("src/cli/mod.rs", "let _ = error.print();\n"), 1);
    assert_eq!(found("src/view/screen.rs", "println!(\"done\");\n"), 0);
}

/// What is handed to a stream or a line in those two files, and is not made visible before.
fn prints_unseen(source: &Source) -> Vec<String> {
    let code: Vec<&str> = source.code().collect();
    let writes = ["write_all(", "set_message(", ".write(bytes"];
    let mut found = Vec::new();
    for (at, line) in code.iter().enumerate() {
        let is_written = writes.iter().any(|it| line.contains(it));
        let near = code[at.saturating_sub(5)..=at].join("\n");
        let is_seen = ["seen(", "visible_in_colour(", "Seen(", "fn print("];
        if is_written && !is_seen.iter().any(|it| near.contains(it)) {
            found.push(format!("{}: {}", source.path, line.trim()));
        }
    }
    found
}

#[test]
fn what_is_printed_is_made_visible_first() {
    for path in &PRINTERS[..2] {
        let text = fs::read_to_string(root().join(path)).unwrap();
        assert_eq!(prints_unseen(&control(path, &text)), Vec::<String>::new());
    }
    let found = |text| prints_unseen(&control(PRINTERS[0], text)).len();
    assert_eq!(
        found("io::stderr().lock().write_all(text.as_bytes());\n"),
        1
    );
    assert_eq!(found("self.0.set_message(text.to_owned());\n"), 1);
    assert_eq!(
        found("let text = seen(text, style);\nout.write_all(text.as_bytes());\n"),
        0
    );
}

/// A command of ours with a manifest put in by hand: quoted for no shell, and named though it is the
/// one that is looked for.
fn names_a_manifest_by_hand(source: &Source) -> Vec<String> {
    let by_hand = [
        "apply", "bench", "destroy", "logs", "output", "plan", "status", "validate",
    ];
    let by_hand = by_hand.map(|verb| {
        [
            format!("replica {verb} {{"),
            format!("replica {verb} manifests"),
        ]
    });
    let by_hand: Vec<&str> = by_hand.iter().flatten().map(String::as_str).collect();
    source.lines_with(&by_hand)
}

#[test]
fn commands_in_hints_get_their_manifest_in_one_place() {
    hold("src", names_a_manifest_by_hand);
    let found = |text| names_a_manifest_by_hand(&control("src/cli/bench.rs", text)).len();
    assert_eq!(
        found("format!(\"run `replica apply {}` first\", file)\n"),
        1
    );
    assert_eq!(
        found("\"read `replica validate manifests/local.yaml`\"\n"),
        1
    );
    assert_eq!(found("\"`replica logs instance.a`\"\n"), 0);
    assert_eq!(found("format!(\"`replica logs instance.{}`\", name)\n"), 0);
}

#[test]
fn the_ssh_library_stays_in_its_room() {
    hold("src", names_the_ssh_library);
    let found = |path, text| names_the_ssh_library(&control(path, text)).len();
    assert_eq!(found("src/node/fleet.rs", "use russh::client;\n"), 1);
    assert_eq!(found("src/node/ssh/link.rs", "use russh::client;\n"), 0);
}

#[test]
fn from_text_to_things_is_one_way() {
    hold("src/resource", knows_of_text);
    let found = |text| knows_of_text(&control("src/resource/catalogue.rs", text)).len();
    assert_eq!(found("use crate::manifest::Manifest;\n"), 1);
    assert_eq!(found("use crate::{manifest::Manifest, name};\n"), 1);
    assert_eq!(
        found("/// Made by [`crate::manifest`].\npub struct A;\n"),
        0
    );
    assert_eq!(found("let manifest = files.manifest.join(path);\n"), 0);
}

#[test]
fn a_load_shape_is_told_apart_by_itself_alone() {
    hold("src", names_a_shape);
    hold("src/shape", forgets_a_shape);
    let named = |path, text| names_a_shape(&control(path, text)).len();
    assert_eq!(named("src/load/a.rs", "Shape::Batch(n) => n,\n"), 1);
    assert_eq!(
        named("src/load/a.rs", "if let shape::Shape::Batch(_) = load {\n"),
        1
    );
    assert_eq!(named("src/load/a.rs", "Shape::try_from(load)\n"), 0);
    assert_eq!(named("src/shape/mod.rs", "Shape::Batch(n) => n,\n"), 0);
    let forgets = |text| forgets_a_shape(&control("src/shape/a.rs", text)).len();
    assert_eq!(forgets("_ => Class::Alone,\n"), 1);
    assert_eq!(forgets("(None, _) => 1,\n"), 0);
}

#[test]
fn what_sends_keeps_and_judges_lie_in_one_order() {
    hold("src", imports_from_above);
    let found = |path, text| imports_from_above(&control(path, text)).len();
    assert_eq!(found("src/shape/a.rs", "use crate::plan::Job;\n"), 1);
    assert_eq!(found("src/prompts/a.rs", "use crate::plan::Job;\n"), 1);
    assert_eq!(found("src/prompts/a.rs", "use crate::shape::Load;\n"), 0);
    assert_eq!(found("src/results/a.rs", "use crate::verdict::judge;\n"), 1);
    assert_eq!(found("src/verdict/a.rs", "use crate::load::Outcome;\n"), 1);
    assert_eq!(found("src/load/a.rs", "use crate::verdict::judge;\n"), 0);
    assert_eq!(found("src/load/a.rs", "use crate::view::Look;\n"), 1);
}

#[test]
fn the_plan_stands_on_the_ground() {
    hold("src/plan", reaches_up);
    let found = |text| reaches_up(&control("src/plan/step.rs", text)).len();
    assert_eq!(found("use crate::node::Node;\n"), 1);
    assert_eq!(found("let it = crate::proxy::control::Status;\n"), 1);
    assert_eq!(
        found("/// See [`crate::logs`].\nuse crate::name::NodeName;\n"),
        0
    );
}

#[test]
fn effects_are_data() {
    hold("src/plan/effect", is_no_data);
    let found = |text| is_no_data(&control("src/plan/effect/launch.rs", text)).len();
    assert_eq!(found("    pub read: fn(&str) -> Option<LogSign>,\n"), 1);
    assert_eq!(found("    pub shows: &'static str,\n"), 1);
    assert_eq!(found("    pub fn record(&self) -> String {\n"), 0);
}

#[test]
fn the_layout_of_the_state_folder_is_known_to_one_file() {
    let mut wrong: Vec<_> = sources("src").iter().flat_map(knows_the_layout).collect();
    wrong.extend(sources_in("src", "sh").iter().flat_map(knows_the_layout));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let found = |path, text| knows_the_layout(&control(path, text)).len();
    let script = "src/node/script/remove.sh";
    assert_eq!(found(script, "case $r_path in */replica/*) ;; esac\n"), 1);
    assert_eq!(found(script, "rm -rf -- \"${r_folder%/*}/run\"\n"), 1);
    assert_eq!(found(script, "# In ~/.local/state: everything.\n"), 0);
    let room = "src/resource/proxy/mod.rs";
    assert_eq!(found(room, "folder: self.folder.file(\"run\"),\n"), 1);
    assert_eq!(found(LAID_OUT[0], "const RUN: &str = \"run\";\n"), 0);
}

#[test]
fn nothing_is_left_unfinished() {
    hold("src", unfinished);
    let left = control("src/a.rs", "fn a() { todo!() }\n");
    assert_eq!(unfinished(&left).len(), 1);
}

#[test]
fn no_file_is_too_long_to_be_read() {
    hold("src", too_long);
    let long = control("src/a.rs", &"\n".repeat(LONGEST + 1));
    assert_eq!(too_long(&long).len(), 1);
    let just = control("src/a.rs", &"\n".repeat(LONGEST));
    assert_eq!(too_long(&just).len(), 0);
}

/// The file that names a file of tests: `tests/suite/a/b.rs` is named in
/// `tests/suite/a/mod.rs`, and what is in no folder in `tests/suite.rs`.
fn namer(path: &str) -> (String, &str) {
    let path = path.strip_suffix("/mod.rs").unwrap_or(path);
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let name = name.strip_suffix(".rs").unwrap_or(name);
    match folder {
        "tests/suite" => ("tests/suite.rs".to_owned(), name),
        folder => (format!("{folder}/mod.rs"), name),
    }
}

fn names(list: &str, name: &str) -> bool {
    let ends =
        |line: &str| line == format!("mod {name};") || line.ends_with(&format!(" mod {name};"));
    let mut lines = list.lines().map(|line| without_comment(line).trim());
    lines.any(ends)
}

#[test]
fn no_test_file_is_forgotten() {
    for source in sources("tests/suite") {
        let (namer, name) = namer(&source.path);
        let list = fs::read_to_string(root().join(&namer)).unwrap();
        assert!(names(&list, name), "{namer} does not name {name}");
    }
    assert!(names("mod suite {\n    mod a;\n}\n", "a"));
    assert!(names("pub(crate) mod a;\n", "a"));
    assert!(!names("// mod a;\nmod ab;\n", "a"));
    assert_eq!(
        namer("tests/suite/a.rs"),
        ("tests/suite.rs".to_owned(), "a")
    );
    assert_eq!(
        namer("tests/suite/a/mod.rs"),
        ("tests/suite.rs".to_owned(), "a")
    );
    assert_eq!(
        namer("tests/suite/a/b.rs"),
        ("tests/suite/a/mod.rs".to_owned(), "b")
    );
}

fn names_its_schema(manifest: &str) -> bool {
    let first = manifest.lines().next().unwrap_or_default();
    first == "# yaml-language-server: $schema=../schemas/topology.json"
}

#[test]
fn every_sample_names_its_schema() {
    let manifests: Vec<_> = files_below("manifests")
        .into_iter()
        .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
        .collect();
    assert!(!manifests.is_empty());
    for path in manifests {
        let text = fs::read_to_string(&path).unwrap();
        assert!(names_its_schema(&text), "{}", path.display());
    }
    assert!(root().join("schemas/topology.json").exists());
    assert!(!names_its_schema("topology: t\n"));
}

#[test]
fn a_comment_is_told_from_an_address() {
    assert_eq!(without_comment("let a = 1; // b"), "let a = 1; ");
    assert_eq!(
        without_comment("let a = \"http://b\"; // c"),
        "let a = \"http://b\"; "
    );
    assert_eq!(without_comment("/// b"), "");
}
