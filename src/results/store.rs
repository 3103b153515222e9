//! Where results lie: `<results>/<topology>/<benchmark>/<UTC time>.json`, its requests beside it,
//! and `latest.json` pointing at the newest. Every file appears whole or not at all.

use std::cmp::Reverse;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::facts::Run;
use super::headline::{Headline, Single};
use super::record::Record;
use super::result::{BenchResult, SCHEMA};
use super::terms::terms;
use crate::plan::{Failure, Job};
use crate::redact::redacted_bytes;

/// What the pointer file is called.
pub(super) const POINTER: &str = "latest.json";

/// The form of the pointer file.
pub(super) const POINTER_SCHEMA: &str = "replica.latest/1";

/// As many results of one benchmark as are looked through, the newest of them.
const LOOKED_THROUGH: usize = 100;

/// As many results of a topology as its history is made of.
const RECENT: usize = 20;

/// A result of a benchmark, as far as planning needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct PastResult {
    /// The digest of all that the result depends on.
    pub fingerprint: String,
    /// Whether it may be believed.
    pub valid: bool,
    /// The result.
    pub path: PathBuf,
    /// When it was measured.
    pub started: jiff::Timestamp,
    /// What it says in a few numbers, load by load.
    pub headlines: Vec<Headline>,
    /// What it depends on, value by value.
    pub terms: Map<String, Value>,
}

/// The pointer file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Pointer {
    pub(super) schema: String,
    pub(super) result: String,
    requests: String,
    valid: bool,
    fingerprint: String,
}

/// The results of a benchmark, the newest first; one that is damaged is none. Where nothing points
/// at a newest one there are none: they were put aside.
pub fn past_results(results: &Path, topology: &str, benchmark: &str) -> Vec<PastResult> {
    let folder = results.join(topology).join(benchmark);
    let Some((newest, _)) = newest(&folder) else {
        return Vec::new();
    };
    let entries = fs::read_dir(&folder).into_iter().flatten();
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    // Their names are times.
    let mut paths: Vec<PathBuf> = paths.filter(|path| is_result(path)).collect();
    paths.sort_by_key(|path| Reverse((*path == newest, path.clone())));
    let paths = paths.into_iter().take(LOOKED_THROUGH);
    paths.filter_map(past_result).collect()
}

fn past_result(path: PathBuf) -> Option<PastResult> {
    let result: BenchResult = read(&path)?;
    (result.schema == SCHEMA).then(|| PastResult {
        headlines: result.headlines(),
        terms: terms(&result.job, &result.topology),
        fingerprint: result.job.fingerprint,
        valid: result.valid,
        started: result.run.started,
        path,
    })
}

/// What one request alone achieves on these very targets: the newest valid result of the topology
/// whose requests were alone. `targets` is [`JobFacts::targets`](super::JobFacts::targets).
pub fn single_throughput(results: &Path, topology: &str, targets: &str) -> Option<Single> {
    let is_alone = |result: &BenchResult| {
        let mut points = result.points.iter();
        points.any(|point| point.load.class().is_alone())
    };
    let (path, result) = newest_like(results, topology, targets, is_alone)?;
    if !result.job.equal_lengths {
        return None;
    }
    let mut points = result.points.iter();
    points.find_map(|point| Single::of(point, result.job.max_tokens, &path))
}

/// The newest valid result on these targets that is wanted, of any benchmark.
pub(crate) fn newest_like(
    results: &Path,
    topology: &str,
    targets: &str,
    wanted: impl Fn(&BenchResult) -> bool,
) -> Option<(PathBuf, BenchResult)> {
    fs::read_dir(results.join(topology))
        .ok()?
        .filter_map(|entry| newest(&entry.ok()?.path()))
        .filter(|(_, result)| result.valid && result.job.targets == targets && wanted(result))
        .max_by_key(|(_, result)| result.run.started)
}

/// The newest valid results of a topology, of any benchmark, the newest first.
pub(crate) fn recent(results: &Path, topology: &str) -> impl Iterator<Item = BenchResult> {
    let folders = fs::read_dir(results.join(topology)).into_iter().flatten();
    let files = folders.filter_map(|folder| fs::read_dir(folder.ok()?.path()).ok());
    let paths = files.flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let mut paths: Vec<PathBuf> = paths.filter(|path| is_result(path)).collect();
    paths.sort_by_key(|path| Reverse(path.file_name().map(ToOwned::to_owned)));
    let results = paths
        .into_iter()
        .filter_map(|path| read::<BenchResult>(&path));
    results
        .filter(|result| result.schema == SCHEMA && result.valid)
        .take(RECENT)
}

fn is_result(path: &Path) -> bool {
    let is_json = path.extension().is_some_and(|it| it == "json");
    is_json && path.file_name().is_some_and(|name| name != POINTER)
}

fn newest(folder: &Path) -> Option<(PathBuf, BenchResult)> {
    let pointer: Pointer = read(&folder.join(POINTER))?;
    let path = folder.join(Path::new(&pointer.result).file_name()?);
    let result: BenchResult = read(&path)?;
    (result.schema == SCHEMA).then_some((path, result))
}

fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Where the files of one run go.
#[derive(Debug, Clone)]
pub(crate) struct RunFiles {
    folder: PathBuf,
    stem: String,
}

impl RunFiles {
    pub(crate) fn of(job: &Job, run: &Run) -> Self {
        let time = run.started.strftime("%Y-%m-%dT%H-%M-%S%.3fZ");
        Self {
            folder: job.results.join(&job.topology).join(&job.name),
            stem: time.to_string(),
        }
    }

    pub(crate) fn result(&self) -> PathBuf {
        self.folder.join(format!("{}.json", self.stem))
    }

    pub(crate) fn requests(&self) -> PathBuf {
        self.folder.join(self.requests_name())
    }

    pub(crate) fn requests_name(&self) -> String {
        format!("{}.requests.jsonl", self.stem)
    }

    /// Writes the requests, the result, and then the pointer, so that the pointer never names what
    /// is not there. Nothing points at what was interrupted.
    pub(crate) fn write<'a>(
        &self,
        result: &BenchResult,
        records: impl IntoIterator<Item = &'a Record>,
    ) -> Result<(), Failure> {
        let lines = lines(records);
        let write = || -> io::Result<()> {
            fs::create_dir_all(&self.folder)?;
            replace(&self.requests(), &lines?)?;
            replace(&self.result(), &pretty(result)?)?;
            if result.interrupted.is_some() {
                return Ok(());
            }
            let pointer = Pointer {
                schema: POINTER_SCHEMA.to_owned(),
                result: format!("{}.json", self.stem),
                requests: self.requests_name(),
                valid: result.valid,
                fingerprint: result.job.fingerprint.clone(),
            };
            replace(&self.folder.join(POINTER), &pretty(&pointer)?)
        };
        write().map_err(|error| {
            Failure::new(format!(
                "cannot write the result to {}: {error}",
                self.folder.display()
            ))
        })
    }
}

/// A record with what follows from its stamps, for readers without the definitions at hand.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    record: &'a Record,
    first_chunk_tokens: u64,
    ttft_ms: Option<f64>,
    tpot_ms: Option<f64>,
    e2el_ms: Option<f64>,
}

fn lines<'a>(records: impl IntoIterator<Item = &'a Record>) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    for record in records {
        let line = Line {
            record,
            first_chunk_tokens: record.first_chunk_tokens(),
            ttft_ms: record.ttft_ms(),
            tpot_ms: record.tpot_ms(),
            e2el_ms: record.e2el_ms(),
        };
        serde_json::to_writer(&mut text, &line)?;
        text.push(b'\n');
    }
    Ok(text)
}

pub(crate) fn pretty(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    Ok(text)
}

/// Puts a file in its place whole: a reader sees the old one or the new one. No secret that we know is in
/// it, whatever a server has answered.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let draft = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let written = fs::File::create(&draft).and_then(|mut file| {
        file.write_all(&redacted_bytes(bytes))?;
        file.sync_all()
    });
    let placed = written.and_then(|()| fs::rename(&draft, path));
    if placed.is_err() {
        let _ = fs::remove_file(&draft);
    }
    placed
}
