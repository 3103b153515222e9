//! Prometheus' text as Python's client writes it: the form of a page, and what it says about the
//! process itself. What vLLM says is in [`super::metrics`].

use std::fmt::Write;

use crate::simulator::stats::Histogram;

/// A page of samples of one engine.
pub(super) struct Page {
    pub(super) text: String,
    /// The model that all samples are labelled with.
    pub(super) model: String,
    /// When the counters were zero, in seconds.
    pub(super) created: f64,
}

impl Page {
    /// Says what the samples that follow are.
    pub(super) fn head(&mut self, name: &str, help: &str, kind: &str) {
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Writes a sample; labels are sorted by name, as Python's client does.
    pub(super) fn sample(&mut self, name: &str, more: &[(&str, &str)], value: f64) {
        let model = self.model.replace('\\', r"\\").replace('"', "\\\"");
        let mut labels = vec![("engine", "0"), ("model_name", model.as_str())];
        labels.extend(more);
        labels.sort_unstable();
        let labels: Vec<_> = labels
            .iter()
            .map(|(label, value)| format!("{label}=\"{value}\""))
            .collect();
        let _ = writeln!(
            self.text,
            "{name}{{{}}} {}",
            labels.join(","),
            number(value)
        );
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, value: f64) {
        let name = format!("vllm:{name}");
        self.head(&name, help, "gauge");
        self.sample(&name, &[], value);
    }

    pub(super) fn counter(&mut self, name: &str, help: &str, samples: &[(&[(&str, &str)], u64)]) {
        let total = format!("vllm:{name}_total");
        self.head(&total, help, "counter");
        for (labels, value) in samples {
            self.sample(&total, labels, *value as f64);
        }
        let created = format!("vllm:{name}_created");
        self.head(&created, help, "gauge");
        for (labels, _) in samples {
            self.sample(&created, labels, self.created);
        }
    }

    pub(super) fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        let name = format!("vllm:{name}");
        self.head(&name, help, "histogram");
        let bucket = format!("{name}_bucket");
        for (bound, count) in histogram.buckets() {
            self.sample(&bucket, &[("le", &number(bound))], count as f64);
        }
        self.sample(&bucket, &[("le", "+Inf")], histogram.count() as f64);
        self.sample(&format!("{name}_count"), &[], histogram.count() as f64);
        self.sample(&format!("{name}_sum"), &[], histogram.sum());
        self.head(&format!("{name}_created"), help, "gauge");
        self.sample(&format!("{name}_created"), &[], self.created);
    }

    /// Writes what Python's client says about the process itself.
    pub(super) fn process(&mut self) {
        let process = Process::read();
        let gauges = [
            (
                "process_virtual_memory_bytes",
                "Virtual memory size in bytes.",
                process.virtual_bytes,
            ),
            (
                "process_resident_memory_bytes",
                "Resident memory size in bytes.",
                process.resident_bytes,
            ),
            (
                "process_start_time_seconds",
                "Start time of the process since unix epoch in seconds.",
                process.started,
            ),
        ];
        for (name, help, value) in gauges {
            self.head(name, help, "gauge");
            let _ = writeln!(self.text, "{name} {}", number(value));
        }
        self.head(
            "process_cpu_seconds_total",
            "Total user and system CPU time spent in seconds.",
            "counter",
        );
        let _ = writeln!(
            self.text,
            "process_cpu_seconds_total {}",
            number(process.cpu)
        );
        self.head(
            "process_open_fds",
            "Number of open file descriptors.",
            "gauge",
        );
        let _ = writeln!(self.text, "process_open_fds {}", number(process.open_files));
    }
}

/// Writes a number as Python's client does: always a float, with an exponent from 10 million on.
fn number(value: f64) -> String {
    let text = if value.fract() == 0.0 {
        format!("{value:.1}")
    } else {
        value.to_string()
    };
    match text.split_once('.') {
        Some((whole, fraction)) if value > 0.0 && whole.len() > 6 => {
            let (first, rest) = whole.split_at(1);
            let digits = format!("{first}.{rest}{fraction}");
            let mantissa = digits.trim_end_matches(['0', '.']);
            format!("{mantissa}e+{:02}", whole.len() - 1)
        }
        _ => text,
    }
}

/// What /proc says about this process.
#[derive(Default)]
struct Process {
    virtual_bytes: f64,
    resident_bytes: f64,
    started: f64,
    cpu: f64,
    open_files: f64,
}

/// Clock ticks a second, which Linux has fixed for what it shows in /proc.
const TICKS: f64 = 100.0;

impl Process {
    fn read() -> Self {
        Self::try_read().unwrap_or_default()
    }

    fn try_read() -> Option<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        let system = std::fs::read_to_string("/proc/stat").ok()?;
        let booted: f64 = system
            .lines()
            .find_map(|line| line.strip_prefix("btime "))?
            .trim()
            .parse()
            .ok()?;
        // After the name in parentheses comes field 3.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |number: usize| {
            fields
                .get(number - 3)
                .and_then(|field| field.parse::<f64>().ok())
        };
        Some(Self {
            virtual_bytes: field(23)?,
            resident_bytes: resident_kib()? * 1024.0,
            started: booted + field(22)? / TICKS,
            cpu: (field(14)? + field(15)?) / TICKS,
            open_files: std::fs::read_dir("/proc/self/fd").ok()?.count() as f64,
        })
    }
}

fn resident_kib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_written_as_pythons_client_does() {
        assert_eq!(number(0.0), "0.0");
        assert_eq!(number(0.005), "0.005");
        assert_eq!(number(123_456.0), "123456.0");
        assert_eq!(number(1_234_567.0), "1.234567e+06");
        assert_eq!(number(1_795_391_761.5), "1.7953917615e+09");
    }
}
