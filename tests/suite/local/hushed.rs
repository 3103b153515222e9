//! A whole story with secrets in it, crashes included: nobody who reads what is said, kept or listed
//! finds one.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::alone::ask;
use crate::suite::support::process::Signal;
use crate::suite::support::{Said, Workdir, process, until};

/// What is given to servers, what clients show, and what one of them shows that opens nothing.
const SECRETS: [(&str, &str); 3] = [
    ("STORY_TOKEN", "hf_StoryTokenOf4711abcdefghij"),
    ("STORY_KEY", "sk-story/key+of=0815%and~more"),
    ("STORY_HEADER", "Bearer header-of-a-story-2342"),
];

const MANIFEST: &str = "\
topology: hushed
nodes: {here: {ssh: local}}
engines:
  demo:
    simulate: {profile: fast}
    args: {sim_load_seconds: 0}
    env: {VLLM_API_KEY: {from_env: STORY_KEY}, HF_TOKEN: {from_env: STORY_TOKEN}, OTEL_EXPORTER_OTLP_HEADERS: {from_env: STORY_HEADER}}
instances:
  a: {node: here, port: 8100, engine: demo, model: demo}
  b: {node: here, port: 8200, engine: demo, model: demo, args: {sim_load_seconds: 3}}
proxy: {node: here, port: 8192, access_log: true}
benchmarks:
  one: {prompts: {inline: [Hello]}, load: {sequential: 1}, max_tokens: 10}
";

/// The letters of base64, as it is in headers and in URLs.
const LETTERS: [&[u8; 64]; 2] = [
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
];

/// A text in base64 as it stands where so many bytes come before it, without the letters that depend on
/// its neighbours.
fn base64(text: &str, before: usize, letters: &[u8; 64]) -> String {
    let bytes: Vec<u8> = [vec![0; before], text.into()].concat();
    let mut out = String::new();
    for chunk in bytes.chunks_exact(3) {
        let word = u32::from_be_bytes([0, chunk[0], chunk[1], chunk[2]]);
        for shift in [18, 12, 6, 0] {
            out.push(char::from(letters[(word >> shift) as usize & 63]));
        }
    }
    out.split_off(if before == 0 { 0 } else { 4 })
}

fn in_hex(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn in_percent(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

/// Everything by which a secret may be read.
fn forms() -> Vec<String> {
    let mut forms = BTreeSet::new();
    for (_, secret) in SECRETS {
        // Whoever has a part of it has most of it.
        let part = &secret[7..];
        for text in [secret, part] {
            forms.extend([text.to_owned(), in_hex(text), in_percent(text)]);
            forms.insert(in_percent(text).to_lowercase());
            for letters in LETTERS {
                forms.extend([0, 1, 2].map(|before| base64(text, before, letters)));
            }
        }
    }
    forms.into_iter().collect()
}

fn holds(forms: &[String], bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    forms.iter().find(|form| text.contains(*form)).cloned()
}

fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|it| it.is_dir()) {
            found.extend(below(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

/// Looks at every command line of this machine until it is told to end.
struct Lookout {
    over: Arc<AtomicBool>,
    looking: thread::JoinHandle<(usize, Vec<String>)>,
}

impl Lookout {
    fn begin() -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&over);
        let looking = thread::spawn(move || {
            let forms = forms();
            let (mut seen, mut found) = (0, Vec::new());
            while !end.load(Ordering::SeqCst) {
                for entry in fs::read_dir("/proc").unwrap().flatten() {
                    let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
                    seen += usize::from(!words.is_empty());
                    if holds(&forms, &words).is_some() {
                        found.push(String::from_utf8_lossy(&words).into_owned());
                    }
                }
                thread::sleep(Duration::from_millis(10));
            }
            (seen, found)
        });
        Self { over, looking }
    }

    /// How many it has seen, and those with a secret in them.
    fn end(self) -> (usize, Vec<String>) {
        self.over.store(true, Ordering::SeqCst);
        self.looking.join().unwrap()
    }
}

/// A story that is told: all that was said in it.
struct Story {
    place: Workdir,
    forms: Vec<String>,
}

impl Story {
    fn says(&self, code: i32, words: &[&str]) -> Said {
        self.hushed(self.place.replica(words).exits(code))
    }

    fn hushed(&self, said: Said) -> Said {
        for stream in [&said.out, &said.err] {
            assert_eq!(holds(&self.forms, stream.as_bytes()), None, "{said}");
        }
        said
    }

    /// What a server was made to write is in its own log, which nobody else reads.
    fn log(&self, name: &str) -> PathBuf {
        self.place.state().join(format!("log/{name}"))
    }

    /// Files of this machine with a secret in them.
    fn holding(&self) -> Vec<PathBuf> {
        let files = [self.place.home(), self.place.work()];
        let files = files.iter().flat_map(|folder| below(folder));
        files
            .filter(|path| path.is_file())
            .filter(|path| holds(&self.forms, &fs::read(path).unwrap_or_default()).is_some())
            .collect()
    }

    /// What others may look into, of what is ours: programs alone, which everybody has.
    fn open_to_others(&self) -> Vec<String> {
        let state = self.place.home().join(".local/state/replica");
        let open = below(&state).into_iter().filter_map(|path| {
            let about = fs::symlink_metadata(&path).ok()?;
            let mode = about.mode() & 0o777;
            let is_program = path.parent().is_some_and(|it| it.ends_with("bin"));
            let is_open = mode & 0o077 != 0 && !about.file_type().is_symlink();
            (is_open && !is_program).then(|| format!("{mode:o} {}", path.display()))
        });
        open.collect()
    }

    /// A client asks the proxy.
    fn ask(&self, header: &str) -> String {
        let body = r#"{"model": "demo", "prompt": "Hello", "max_tokens": 3}"#;
        let request = format!(
            "POST /v1/completions?key=x HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: {header}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        ask(self.place.port(2), &request).unwrap()
    }
}

/// A server that dies over something, and writes what it knows into its log before: what is told of that
/// is without secrets.
fn a_start_that_fails(story: &Story) {
    let place = &story.place;
    place.change(
        "model: demo, args: {sim_load_seconds: 3}",
        "model: demo, args: {sim_load_seconds: 4, sim_fail_loading: oom}",
    );
    let apply = place.begin(&["apply", "-y", "-vv", "--no-bench"]);
    let log = story.log("instance.b.2.log");
    until("the log of b", || log.is_file().then_some(()));
    let mut file = fs::OpenOptions::new().append(true).open(&log).unwrap();
    for (name, secret) in SECRETS {
        let line = format!("{{\"{name}\": {secret:?}}} Authorization: {secret}\n");
        file.write_all(line.as_bytes()).unwrap();
    }
    let said = story.hushed(apply.end().exits(6));
    let _ = said.says("instance.b").says("memory");
    assert_eq!(story.holding(), [log], "its own log alone");
    let _ = story.says(0, &["logs", "b", "-v"]).shows("[redacted]");
    let _ = story.says(0, &["logs", "--json", "-v"]).shows("[redacted]");
}

#[test]
fn a_story_with_secrets_in_it_tells_none() {
    let mut place = Workdir::with(MANIFEST);
    for (name, value) in SECRETS {
        place = place.env(name, value);
    }
    let lookout = Lookout::begin();
    let forms = forms();
    let story = Story { place, forms };
    let place = &story.place;
    for words in [
        &["validate", "-v"][..],
        &["plan", "-vv"],
        &["plan", "-v", "--json"],
        &["plan", "-v", "-out=saved.plan"],
    ] {
        let _ = story.says(0, words);
    }

    // It is interrupted while b loads, and goes on from there.
    let apply = place.begin(&["apply", "-y", "-vv"]);
    until("b", || {
        story.log("instance.b.1.log").is_file().then_some(())
    });
    assert_eq!(story.open_to_others(), [""; 0], "while it starts");
    apply.signal(Signal::INT);
    let _ = story.hushed(apply.end().exits(130));
    let _ = story.says(0, &["apply", "-y", "-vv", "--no-bench"]);
    assert_eq!(story.holding(), [""; 0].map(PathBuf::from));
    assert_eq!(story.open_to_others(), [""; 0], "while it serves");

    let key = SECRETS[1].1;
    assert!(story.ask(&format!("Bearer {key}")).contains("200 OK"));
    assert!(story.ask(SECRETS[2].1).contains("401"));
    // Whether what was measured can be believed is no part of this story.
    let measured = story.hushed(place.replica(&["bench", "-vv"]));
    assert!(matches!(measured.code, Some(0 | 7)), "{measured}");
    for words in [
        &["status", "-v"][..],
        &["status", "--json"],
        &["logs", "-v"],
        &["output", "-v"],
        &["bench", "list"],
        &["report"],
        &["report", "-o", "-"],
    ] {
        let _ = story.says(0, words);
    }

    process::signal(place.pid("/instances/a"), Signal::KILL);
    let _ = story.says(0, &["plan", "-v"]).shows("instance.a");
    let _ = story.says(0, &["apply", "-y", "-vv", "--no-bench"]);
    assert_eq!(story.holding(), [""; 0].map(PathBuf::from));
    a_start_that_fails(&story);
    let _ = story.says(0, &["destroy", "-y", "-vv"]);
    assert_eq!(story.holding(), [""; 0].map(PathBuf::from));
    let (seen, found) = lookout.end();
    assert!(seen > 100, "it looked at {seen}");
    assert_eq!(found, [""; 0]);
}

/// What is looked for is found, in each of its forms.
#[test]
fn a_secret_is_known_in_every_form() {
    let forms = forms();
    let (_, key) = SECRETS[1];
    for text in [
        format!("--api-key={key}"),
        "?key=sk-story%2Fkey%2Bof%3D0815%25and~more".to_owned(),
        // Of `user:` and the key, as `Authorization: Basic` has it.
        "dXNlcjpzay1zdG9yeS9rZXkrb2Y9MDgxNSVhbmR+bW9yZQ==".to_owned(),
        in_hex(key),
    ] {
        assert!(holds(&forms, text.as_bytes()).is_some(), "{text}");
    }
    assert_eq!(holds(&forms, b"STORY_KEY=keyed:0123456789ab"), None);
    let socket = tempfile::tempdir().unwrap();
    let path = socket.path().join("s");
    let _listening = std::os::unix::net::UnixListener::bind(&path).unwrap();
    assert!(fs::metadata(&path).unwrap().file_type().is_socket());
    assert!(
        below(socket.path()).contains(&path),
        "sockets are looked at"
    );
}
