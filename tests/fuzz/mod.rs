//! What reads the texts of others, under texts that nobody would write.
//!
//! A target is a test in the room of its parser, whose name begins with `fuzz_`: it calls [`run`] with a
//! check that panics where a law is broken. `cargo test` runs each on its corpus and a few hundred inputs;
//! `tests/fuzz/run.sh SECONDS` runs each for so long. What is found is written beside the corpus' name under
//! `target/fuzz`, and becomes a file of the corpus, or a case in the room.
//!
//! Why no libFuzzer: it needs a nightly compiler and a runtime in C++, and what it can reach is public,
//! where all of these parsers are private to their rooms. This driver knows nothing of branches. What it
//! has instead is that each check returns a word of how the input was taken, and that an input with a new
//! word joins those that are changed.

mod answers;

use std::collections::HashSet;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fastrand::Rng;

/// How many inputs there are where nobody says for how long.
const FEW: usize = 300;

/// No input is longer: parsers that take longer ones are no other parsers.
const LONGEST: usize = 16 * 1024;

/// What an input was like, for it to be known whether it is a new sort.
pub(crate) fn sort_of(taken: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    taken.hash(&mut hasher);
    hasher.finish()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a check on its corpus, and on what comes of changing that. `words` are put into inputs as they are.
pub(crate) fn run(target: &str, words: &[&str], check: impl Fn(&[u8]) -> u64) {
    let variable = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let seconds = variable("FUZZ_SECONDS");
    let seed = variable("FUZZ_SEED").unwrap_or_else(|| match seconds {
        Some(_) => fastrand::u64(..),
        None => 0,
    });
    let corpus = corpus(target);
    assert!(!corpus.is_empty(), "{target} has no corpus");
    let mut fuzzing = Fuzzing {
        target,
        words,
        rng: Rng::with_seed(seed),
        pool: Vec::new(),
        sorts: HashSet::new(),
        running: seconds.map(|_| findings(target).with_extension("running")),
    };
    for input in corpus {
        fuzzing.look(input, &check, seed);
    }
    let end = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut count = 0_usize;
    while end.map_or(count < FEW, |end| Instant::now() < end) {
        let input = fuzzing.change();
        fuzzing.look(input, &check, seed);
        count += 1;
    }
    fuzzing.tell(count, seed);
}

/// The files of a target's corpus.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = root().join("tests/fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// Where what is found of a target is kept.
fn findings(target: &str) -> PathBuf {
    let folder = root().join("target/fuzz");
    fs::create_dir_all(&folder).unwrap();
    folder.join(target)
}

struct Fuzzing<'a> {
    target: &'a str,
    words: &'a [&'a str],
    rng: Rng,
    pool: Vec<Vec<u8>>,
    sorts: HashSet<u64>,
    /// Holds the input that is looked at: a stack that overflows ends the process without a word.
    running: Option<PathBuf>,
}

impl Fuzzing<'_> {
    fn look(&mut self, input: Vec<u8>, check: &impl Fn(&[u8]) -> u64, seed: u64) {
        if let Some(file) = &self.running {
            fs::write(file, &input).unwrap();
        }
        match catch_unwind(AssertUnwindSafe(|| check(&input))) {
            Ok(sort) if self.sorts.insert(sort) => self.pool.push(input),
            Ok(_) => {}
            Err(panic) => {
                let file = findings(&format!("{}.{:016x}", self.target, sort_of(&input)));
                fs::write(&file, &input).unwrap();
                say(&format!(
                    "{}: found with FUZZ_SEED={seed}: {}\n{}",
                    self.target,
                    Path::new(&file).display(),
                    String::from_utf8_lossy(&input).escape_debug()
                ));
                resume_unwind(panic);
            }
        }
    }

    /// An input that is like one of those.
    fn change(&mut self) -> Vec<u8> {
        let mut input = self.pool[self.rng.usize(..self.pool.len())].clone();
        for _ in 0..self.rng.usize(1..6) {
            self.change_once(&mut input);
        }
        input.truncate(LONGEST);
        input
    }

    fn change_once(&mut self, input: &mut Vec<u8>) {
        let rng = &mut self.rng;
        let (mut one, mut other) = (rng.usize(..=input.len()), rng.usize(..=input.len()));
        if one > other {
            std::mem::swap(&mut one, &mut other);
        }
        // Most pieces are short.
        other = other.min(one + (1 << rng.usize(..10)));
        match rng.usize(..9) {
            0 if one < input.len() => input[one] ^= 1 << rng.usize(..8),
            1 if one < input.len() => input[one] = rng.u8(..),
            2 => drop(input.drain(one..other)),
            3 => {
                let piece = input[one..other].to_vec();
                let at = rng.usize(..=input.len());
                input.splice(at..at, piece);
            }
            4 => {
                // What is nested, or goes on and on.
                let piece = input[one..other.min(one + 8)].repeat(1 << rng.usize(..8));
                input.splice(one..one, piece);
            }
            5 => {
                let from = &self.pool[rng.usize(..self.pool.len())];
                let at = rng.usize(..=from.len());
                input.truncate(one);
                input.extend_from_slice(&from[at..]);
            }
            6 => input.truncate(other),
            7 => {
                let byte = *rng
                    .choice(b"\0\n\r\t \"'\\{}[]:,*?%$~#@!-\x7f\xff\xc3")
                    .unwrap();
                input.insert(one, byte);
            }
            _ => {
                let word = rng.choice(self.words).copied().unwrap_or("0");
                input.splice(one..one, word.bytes());
            }
        }
    }

    fn tell(&self, count: usize, seed: u64) {
        let (target, sorts) = (self.target, self.sorts.len());
        if let Some(file) = &self.running {
            let _ = fs::remove_file(file);
            say(&format!(
                "{target}: {count} inputs of {sorts} sorts, FUZZ_SEED={seed}"
            ));
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "whoever runs it for long is told what came of it"
)]
fn say(text: &str) {
    eprintln!("{text}");
}

/// What is broken is found, told, and kept.
#[test]
fn a_broken_law_is_found() {
    let broken = catch_unwind(|| {
        run("itself", &["magic"], |input| {
            let text = String::from_utf8_lossy(input);
            let said = text.matches("magic").count();
            assert!(said < 2, "it is said twice");
            sort_of(said)
        });
    });
    assert!(broken.is_err(), "not found in {FEW} inputs");
}
