//! Logs that are kept short while they are written.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::node::LOG_TEXT;

/// How many bytes there may be, and how many of the beginning and of the end are kept.
const LIMITS: [&str; 3] = ["400000", "20000", "100000"];

/// A log, a process that might write it, and what keeps it short.
struct Kept {
    folder: TempDir,
    process: Child,
    keeper: Child,
}

impl Kept {
    fn new(path: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let log = folder.path().join("a.1.log");
        fs::write(&log, "").unwrap();
        let process = Command::new("sleep").arg("1000").spawn().unwrap();
        let stat = fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap();
        let started = stat.rsplit(") ").next().unwrap().split(' ').nth(19);
        let mut keeper = Command::new("sh")
            .args(["-s", "--", &process.id().to_string(), started.unwrap()])
            .arg(&log)
            .args(LIMITS)
            .arg("0.05")
            .env("PATH", format!("{path}:{}", std::env::var("PATH").unwrap()))
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let script = include_str!("../../script/prune_log.sh");
        let mut input = keeper.stdin.take().unwrap();
        input.write_all(script.as_bytes()).unwrap();
        Self {
            folder,
            process,
            keeper,
        }
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("a.1.log")
    }

    /// What is noted of it: where its end begins.
    fn cut(&self) -> Option<u64> {
        let note = fs::read_to_string(self.folder.path().join("a.1.pruned")).ok()?;
        note.trim().split_once(' ')?.1.parse().ok()
    }

    /// Ends the process, and sees what keeps its log end too.
    fn ends(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        assert!(self.keeper.wait().unwrap().success());
    }

    /// What a reader gets of it.
    fn text(&self) -> String {
        let size = fs::metadata(self.log()).unwrap().len().to_string();
        let script = format!("{LOG_TEXT}r_log_text \"$1\" 0 \"$2\"");
        let mut sh = Command::new("sh");
        let sh = sh.args(["-c", &script, "sh"]).arg(self.log()).arg(size);
        String::from_utf8(sh.output().unwrap().stdout).unwrap()
    }
}

/// Writes numbered lines at the end of a log.
struct Writer {
    log: File,
    next: u64,
}

impl Writer {
    fn of(log: &Path) -> Self {
        let log = OpenOptions::new().append(true).open(log).unwrap();
        Self { log, next: 0 }
    }

    fn write(&mut self) {
        let lines = (self.next..self.next + 100).map(|number| format!("line {number:09}\n"));
        let lines: String = lines.collect();
        self.log.write_all(lines.as_bytes()).unwrap();
        self.next += 100;
    }
}

fn numbers(text: &str) -> Vec<u64> {
    let number = |line: &str| line.strip_prefix("line ").unwrap().parse().unwrap();
    text.lines().map(number).collect()
}

#[test]
fn a_log_is_kept_short_and_loses_nothing_of_what_it_keeps() {
    let mut kept = Kept::new("");
    let mut writer = Writer::of(&kept.log());
    let mut cuts = vec![0];
    while cuts.len() < 5 {
        writer.write();
        cuts.extend(kept.cut().filter(|cut| cuts.last() != Some(cut)));
        thread::sleep(Duration::from_micros(200));
    }
    kept.ends();
    let last_cut = kept.cut().unwrap();
    let numbers = numbers(&kept.text());
    let gap = numbers.windows(2).position(|two| two[0] + 1 != two[1]);
    let (beginning, end) = numbers.split_at(gap.unwrap() + 1);
    assert!(beginning.iter().copied().eq(0..beginning.len() as u64));
    assert!(end.iter().copied().eq(end[0]..writer.next));
    // A line has 15 bytes: those of the beginning, and from the cut on.
    assert_eq!(beginning.len(), 20_000 / 15);
    assert_eq!(end[0] * 15, last_cut);
    let file = fs::metadata(kept.log()).unwrap();
    assert!(file.blocks() * 512 < file.len() - last_cut + 50_000);
}

/// Where a file cannot give back its middle, all of it stays, and the log says why.
#[test]
fn where_nothing_can_be_given_back_all_of_it_stays() {
    let tools = TempDir::new().unwrap();
    let tool = tools.path().join("fallocate");
    fs::write(&tool, "#!/bin/sh\necho 'fallocate: not here'\nexit 1\n").unwrap();
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
    let mut kept = Kept::new(tools.path().to_str().unwrap());
    let mut writer = Writer::of(&kept.log());
    while writer.next < 40_000 {
        writer.write();
    }
    // It has nothing more to do.
    assert!(kept.keeper.wait().unwrap().success());
    let text = kept.text();
    // It may say so between two lines.
    let is_its = |line: &&str| line.starts_with("replica: ");
    let said: Vec<_> = text.lines().filter(is_its).collect();
    assert_eq!(
        said,
        ["replica: this log is not kept short: fallocate: not here"]
    );
    assert_eq!(text.lines().count(), 40_001);
    assert_eq!(kept.cut(), None);
    kept.process.kill().unwrap();
    kept.process.wait().unwrap();
}
