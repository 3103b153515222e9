//! A trace replayed: requests come when those of real users came.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::form::{Answers, Form, InvalidLoad, LoadPart};
use super::guard::Guard;
use super::pacing::{Open, ahead_of};
use super::stop::Bounds;
use super::trace_file::{TraceFile, TraceRequest, UnreadableTrace};
use super::{Class, Load, Schedule, Stop};

/// The moments of a trace, and the lengths of what was asked then.
#[derive(Debug, Clone)]
pub struct Trace {
    file: TraceFile,
    time_scale: Option<f64>,
    limit: Option<u32>,
    max_in_flight: Option<u32>,
    /// What was read of the file; nothing where it was not.
    requests: Arc<[TraceRequest]>,
}

/// Two replays of one trace are the same, whether or not it was read yet.
impl PartialEq for Trace {
    fn eq(&self, other: &Self) -> bool {
        self.written() == other.written()
    }
}

impl Trace {
    /// Its requests, as far as they are replayed.
    pub fn requests(&self) -> &[TraceRequest] {
        let limit = self.limit.map_or(usize::MAX, |limit| limit as usize);
        &self.requests[..self.requests.len().min(limit)]
    }

    /// Takes what was read of it elsewhere.
    pub(super) fn replay(&mut self, requests: Vec<TraceRequest>) {
        self.requests = requests.into();
    }

    /// The moments of its requests in the replay.
    fn moments(&self) -> Vec<Duration> {
        let scale = self.time_scale.unwrap_or(1.0);
        let requests = self.requests().iter();
        requests.map(|request| request.at.mul_f64(scale)).collect()
    }

    /// How many come in a second, in the mean.
    fn mean(&self) -> f64 {
        let moments = self.moments();
        let took = moments.last().map_or(0.0, Duration::as_secs_f64);
        let gaps = moments.len().saturating_sub(1) as f64;
        if took > 0.0 { gaps / took } else { 0.0 }
    }
}

impl Form for Trace {
    type Value = PathBuf;
    const WITH: &'static [&'static str] =
        &["format", "time_scale", "limit", "sha256", "max_in_flight"];
    const NEEDS: &'static [&'static str] = &[];
    const EXAMPLE: &'static str = "{trace: traces/conv.jsonl, format: mooncake}";

    fn check(file: PathBuf, load: &Load) -> Result<Self, InvalidLoad> {
        let Some(format) = load.format else {
            return Err(InvalidLoad::new(
                LoadPart::Key("trace"),
                "`trace` needs `format`: how the file is to be read",
                "write `mooncake`, `azure` or `burstgpt`",
            ));
        };
        let wrong = |key, message: &str, hint: &str| {
            Err(InvalidLoad::new(LoadPart::Value(key), message, hint))
        };
        if load.time_scale.is_some_and(|it| !(it > 0.0 && it <= 1e6)) {
            return wrong(
                "time_scale",
                "`time_scale` must be more than 0",
                "all times of the trace are multiplied by it: 0.1 is ten times as fast",
            );
        }
        for (key, count) in [("limit", load.limit), ("max_in_flight", load.max_in_flight)] {
            if count == Some(0) {
                let message = format!("`{key}` must be 1 or more");
                return wrong(key, &message, "leave it out to send all");
            }
        }
        Ok(Self {
            file: TraceFile {
                path: file,
                format,
                sha256: load.sha256.clone(),
            },
            time_scale: load.time_scale,
            limit: load.limit,
            max_in_flight: load.max_in_flight,
            requests: Arc::default(),
        })
    }

    fn written(&self) -> Load {
        Load {
            trace: Some(self.file.path.clone()),
            format: Some(self.file.format),
            time_scale: self.time_scale,
            limit: self.limit,
            max_in_flight: self.max_in_flight,
            sha256: self.file.sha256.clone(),
            ..Load::default()
        }
    }
}

impl Answers for Trace {
    fn label(&self) -> String {
        let path = &self.file.path;
        let name = path.file_name().unwrap_or(path.as_os_str());
        format!("trace {}", name.to_string_lossy())
    }

    fn class(&self) -> Class {
        Class::Open { per_s: self.mean() }
    }

    fn schedule(&self) -> Schedule {
        let moments = self.moments();
        let requests = u32::try_from(moments.len()).unwrap_or(u32::MAX);
        let bounds = Bounds {
            requests: Some(requests),
            ..Bounds::default()
        };
        Schedule {
            ahead: ahead_of(self.mean()),
            pacing: Box::new(Open(moments.into_iter())),
            stop: Stop::new(&bounds, Guard::of_open_load()),
            in_flight: self.max_in_flight,
            likely: Some(requests),
        }
    }

    fn is_timed(&self) -> bool {
        true
    }

    fn trace(&self) -> Option<&Trace> {
        Some(self)
    }

    fn read(&mut self, folder: &Path) -> Result<(), UnreadableTrace> {
        let read = self.file.read(folder)?;
        self.requests = read.requests;
        self.file.sha256 = Some(read.sha256);
        Ok(())
    }
}
