//! Whole topologies in which every free text is meant to be read by a shell: none is.
//!
//! All that is asked of a node, and all the work that a plan has for it, runs in a real shell, in a home
//! of its own. The verbs of a node have such a test beside them, in `node::perform`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use proptest::prelude::*;
use replica::plan::Effect;
use replica::resource::{Fact, Facts, Observation, Question, Topology, Undeclared};

use super::model::{catalogue, plan, topology};

/// What would come of a text that a shell reads.
const CANARY: &str = "canary";

const PIECES: &[&str] = &[
    "$(touch canary)",
    "`touch canary`",
    "'; touch canary; '",
    "\"; touch canary; \"",
    "\ntouch canary\n",
    "; touch canary #",
    "& touch canary &",
    ">canary",
    "\n}\ntouch canary\n{",
    "\r",
    "\t",
    "  ",
    "-rf",
    "~",
    "*",
    "?",
    "[!a]",
    "{a,b}",
    "\\",
    "\\n",
    "$HOME",
    "${IFS}",
    "!!",
    "%s%n",
    "#",
    "=",
    "é",
    "日本",
    "\u{1f600}",
    "\u{202e}",
    "\u{1}",
    "\u{1b}[2J",
    "\u{7f}",
];

/// The variables by which scripts know what was declared.
const KNOWN: &[&str] = &[
    "r_venv",
    "venv",
    "cuda",
    "r_path",
    "r_cache",
    "r_from",
    "r_origin",
    "r_indexes",
    "name",
];

prop_compose! {
    /// A part of a path, as one folder of it: control characters are refused in these.
    fn folder()(text in text()) -> String {
        text.replace(char::is_control, "")
    }
}

prop_compose! {
    fn text()(pieces in prop::collection::vec(prop::sample::select(PIECES), 1..5)) -> String {
        format!("x{}", pieces.concat().replace('/', "%"))
    }
}

/// A text as YAML has it between double quotes, and a manifest where no variable is meant.
fn yaml(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.replace("${", "$${").chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            _ => {
                let _ = write!(out, "\\U{:08x}", u32::from(c));
            }
        }
    }
    out.push('"');
    out
}

/// What somebody declares who means no good, or has strange folders.
#[derive(Debug, Clone)]
struct Declared {
    venv: String,
    cuda: String,
    variable: String,
    index: String,
    folder: String,
    cache: String,
    directory: String,
    template: String,
    adapter: String,
}

prop_compose! {
    fn declared(root: PathBuf)(
        folders in prop::collection::vec(folder(), 7), variable in text(), index in text(),
    ) -> Declared {
        let [venv, cuda, folder, cache, directory, template, adapter] =
            <[String; 7]>::try_from(folders).unwrap();
        let root = root.display();
        Declared {
            venv: format!("~/{venv}"),
            cuda: format!("{root}/{cuda}"),
            variable,
            // The URL of an index is one word.
            index: format!("https://x/{}", index.split_whitespace().collect::<String>()),
            folder: format!("~/{folder}"),
            cache: format!("{root}/{cache}.cache"),
            directory: format!("~/{directory}.files"),
            template: format!("~/{template}"),
            adapter,
        }
    }
}

impl Declared {
    fn manifest(&self) -> String {
        let commit = "0e9e39f249a16976918f6564b8830bc894c89659";
        format!(
            "topology: demo
nodes: {{here: {{ssh: local}}}}
engines:
  e:
    venv: {}
    vllm: 0.13.0
    extra_indexes: [{}]
    env: {{CUDA_HOME: {}, SAID: {}}}
models:
  served: {{path: {}}}
  brought: {{repo: o/n, revision: {commit}, cache: {}, directory: {}}}
  fetched: {{repo: o/f, revision: {commit}, cache: {}}}
instances:
  a: {{node: here, port: 8100, engine: e, model: served, args: {{chat_template: {}, lora_modules: [{}]}}}}
  b: {{node: here, port: 8200, engine: e, model: brought, env: {{SAID: {}}}}}
  c: {{node: here, port: 8300, engine: e, model: fetched}}
",
            yaml(&self.venv),
            yaml(&self.index),
            yaml(&self.cuda),
            yaml(&self.variable),
            yaml(&self.folder),
            yaml(&self.cache),
            yaml(&self.directory),
            yaml(&self.cache),
            yaml(&self.template),
            yaml(&format!("one={}", self.adapter)),
            yaml(&self.template),
        )
    }
}

/// A machine of this test: a home, and programs that do nothing.
struct Machine {
    root: tempfile::TempDir,
    /// What scripts knew, by the names of their variables.
    knew: BTreeMap<String, Vec<String>>,
}

fn program(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

impl Machine {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for folder in ["home", "current"] {
            fs::create_dir(root.path().join(folder)).unwrap();
        }
        for name in ["python3", "uv", "pip", "nvidia-smi"] {
            program(&root.path().join("bin").join(name), "exit 1");
        }
        let knew = BTreeMap::new();
        Self { root, knew }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// A path as it is on this machine.
    fn placed(&self, path: &str) -> String {
        match path.strip_prefix("~/") {
            Some(rest) => format!("{}/{rest}", self.at("home").display()),
            None => path.to_owned(),
        }
    }

    /// Runs a script in each shell that there is, notes what it knew, and returns what it said.
    fn run(&mut self, script: &str) -> String {
        let (file, known) = (self.at("script"), self.at("known"));
        let tell = KNOWN.iter().map(|name| format!("\"${{{name}-}}\""));
        let tell = tell.collect::<Vec<_>>().join(" ");
        let trap = format!("trap 'printf \"%s\\0\" {tell} >{}' EXIT\n", known.display());
        fs::write(&file, trap + script).unwrap();
        let mut said = String::new();
        for shell in ["/bin/sh", "/bin/bash"] {
            if !Path::new(shell).exists() {
                continue;
            }
            let output = Command::new(shell)
                .arg(&file)
                .current_dir(self.at("current"))
                .env_clear()
                .env(
                    "PATH",
                    format!("{}:/usr/bin:/bin", self.at("bin").display()),
                )
                .env("HOME", self.at("home"))
                .stdin(Stdio::null())
                .output()
                .unwrap();
            said = String::from_utf8_lossy(&output.stdout).into_owned();
            let values = fs::read_to_string(&known).unwrap_or_default();
            for (name, value) in KNOWN.iter().zip(values.split('\0')) {
                let values = self.knew.entry((*name).to_owned()).or_default();
                values.push(value.to_owned());
            }
            let _ = fs::remove_file(&known);
        }
        said
    }

    fn answers(&mut self, facts: impl Iterator<Item = Fact>) -> Facts {
        let answered = facts.map(|fact| {
            let answer = match &fact.question {
                Question::Script(script) => self.run(script),
                Question::Dial { .. } => String::new(),
            };
            (fact.id, answer)
        });
        answered.collect()
    }

    fn observe(&mut self, topology: &Topology) -> Observation {
        let resources = catalogue(topology).resources();
        let asked = resources.iter().flat_map(|resource| resource.facts());
        let own = asked.map(|(_, fact)| fact);
        let facts = self.answers(Undeclared::facts(topology).into_iter().chain(own));
        let mut observed = Observation::default();
        observed.insert("here".parse().unwrap(), Ok(facts));
        observed
    }

    /// What was made by a text that a shell read.
    fn canaries(&self) -> Vec<PathBuf> {
        fn below(folder: &Path, found: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(folder).unwrap().flatten() {
                if entry.file_name() == CANARY {
                    found.push(entry.path());
                } else if entry.file_type().unwrap().is_dir() {
                    below(&entry.path(), found);
                }
            }
        }
        let mut found = Vec::new();
        below(self.root.path(), &mut found);
        found
    }

    /// Puts there what makes the scripts go on: files of a model, and what fetches one.
    fn furnish(&self, declared: &Declared) {
        for folder in [&declared.directory, &declared.folder] {
            let folder = self.placed(folder);
            fs::create_dir_all(&folder).unwrap();
            fs::write(format!("{folder}/config.json"), "{}").unwrap();
        }
        let venv = self.placed(&declared.venv);
        fs::create_dir_all(&venv).unwrap();
        // It is an environment, and ours.
        for name in ["pyvenv.cfg", ".replica"] {
            fs::write(format!("{venv}/{name}"), "").unwrap();
        }
        let hf = "printf '%s\\n' \"$HF_HUB_CACHE\" \"$@\" >\"$HOME/fetched\"";
        program(Path::new(&format!("{venv}/bin/hf")), hf);
    }

    fn knew(&self, name: &str, value: &str) -> bool {
        let values = self.knew.get(name);
        values.is_some_and(|values| values.iter().any(|it| it == value))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, max_shrink_iters: 0, ..ProptestConfig::with_cases(3) })]

    #[test]
    fn a_shell_takes_what_is_declared_for_what_it_is(
        (root, declared) in Just(tempfile::tempdir().unwrap().path().to_owned())
            .prop_flat_map(|root| (Just(root.clone()), declared(root))),
    ) {
        fs::create_dir_all(&root).unwrap();
        let mut machine = Machine::new();
        machine.furnish(&declared);
        let topology = topology(&declared.manifest());
        let observed = machine.observe(&topology);
        for (name, value) in [
            ("r_venv", &declared.venv),
            ("venv", &declared.venv),
            ("cuda", &declared.cuda),
            ("r_path", &declared.folder),
            ("r_cache", &declared.cache),
            ("r_from", &declared.directory),
        ] {
            let value = machine.placed(value);
            prop_assert!(machine.knew(name, &value), "{name} {value:?}: {:?}", machine.knew.get(name));
        }
        let plan = plan(&topology, &catalogue(&topology).resources(), &observed);
        let mut works = Vec::new();
        for step in &plan.steps {
            if let Effect::RunScript(work) = &step.effect {
                works.push(work.doing.as_str());
                machine.run(&format!("r_attempt=1\n{}", work.script));
            }
        }
        works.sort_unstable();
        works.dedup();
        prop_assert_eq!(works, ["copying", "fetching", "installing"], "{:#?}", plan.changes);
        let fetched = fs::read_to_string(machine.at("home/fetched")).unwrap();
        prop_assert!(fetched.starts_with(&format!("{}\ndownload\no/f\n", declared.cache)), "{fetched}");
        let brought = format!("{}/models--o--n/snapshots", declared.cache);
        prop_assert!(Path::new(&brought).is_dir());
        prop_assert!(machine.knew("r_indexes", &declared.index));
        prop_assert_eq!(machine.canaries(), [""; 0].map(PathBuf::from));
        fs::remove_dir_all(&root).unwrap();
    }
}

#[test]
fn what_a_shell_reads_is_caught() {
    let mut machine = Machine::new();
    machine.run("r_venv=$(touch canary)x");
    assert_eq!(machine.canaries(), [machine.at("current/canary")]);
    assert!(machine.knew("r_venv", "x"));
}

#[test]
fn a_path_that_would_be_two_lines_is_refused() {
    let text = "topology: t\nnodes: {here: {ssh: local}}\nmodels: {m: {path: \"~/a\\nb\"}}\n";
    let error = replica::manifest::read(text).unwrap_err().to_string();
    assert!(error.contains("no path here may have"), "{error}");
}
