//! `replica init`: a first manifest, by what the nodes say of themselves.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::Global;
use super::error::Error;
use super::exit::Exit;
use crate::converge::{Live, World as _};
use crate::init::{self, Asked, Draft, Place, Surveyed};
use crate::manifest;
use crate::name::{NodeName, TopologyName};
use crate::node::{ConnectOptions, Fleet, NodeDeclaration, Reach, configured_hosts, quote};
use crate::plan::Failure;
use crate::view::command;
use crate::view::init::{Written, render};

/// Write a first manifest, by what the nodes say of themselves
///
/// It looks at the hosts, in one round trip each, and changes nothing there: which GPUs and how much memory they
/// have, by which addresses they reach each other and which of these is the fast link, the vLLM and the models
/// that are there, the ports that are taken. A file that is there is never overwritten.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The hosts, as a manifest has them: `user@host`, an alias, `local` [default: those that the SSH
    /// configuration names, as far as they have a GPU]
    hosts: Vec<Reach>,
    /// Write the simulated topology of this machine instead: no GPU, no SSH, no model
    #[arg(long, conflicts_with_all = ["hosts", "from"])]
    local: bool,
    /// Serve what this asks for: the file of a sparkrun recipe or of a script, `-`, or `'vllm serve ...'`
    #[arg(long, value_name = "FILE | COMMAND")]
    from: Option<String>,
    /// Write it here [default: topology.yaml]
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// The file of a first manifest, and of its schema beside it.
const FILE: &str = "topology.yaml";
const SCHEMA: &str = "topology.schema.json";

/// No recipe is near this size.
const MOST_BYTES: u64 = 1 << 20;

/// What helps where there is nothing to read.
const NAME_ONE: &str = "name the file of a recipe or of a script, or write the command out: --from 'vllm serve org/name'";

pub(super) async fn run(global: &Global, args: &Args) -> Result<Exit, Error> {
    let file = args.out.as_deref().unwrap_or(Path::new(FILE));
    refuse_what_cannot_be_written(file)?;
    let name = file.display().to_string();
    if args.local {
        let draft = init::simulated_here(&quote(&name), SCHEMA);
        return write(global, file, &draft, Vec::new(), Vec::new());
    }
    refuse_what_cannot_be_read(global)?;
    let asked = args.from.as_deref().map(asked).transpose()?;
    let hosts = match &args.hosts[..] {
        [] => configured(global)?,
        hosts => hosts.to_vec(),
    };
    let looked = look(global, &hosts).await;
    let are_named = !args.hosts.is_empty();
    if let Some(exit) = missing(global, &looked, are_named)? {
        return Ok(exit);
    }
    let (places, left_out) = chosen(looked, are_named)?;
    // Without a name, every command takes the one of the folder.
    let named = (name != FILE).then(|| quote(&name));
    let topology = topology(file);
    let draft = init::accepted(asked, |asked| {
        init::draft(
            &topology,
            named.as_deref(),
            SCHEMA,
            &places,
            &left_out,
            asked,
        )
    });
    let names = places.iter().map(|place| place.name.to_string()).collect();
    write(global, file, &draft, names, left_out)
}

/// Before anybody is asked.
fn refuse_what_cannot_be_written(file: &Path) -> Result<(), Error> {
    let name = file.display().to_string();
    if name == "-" {
        let text =
            "`-` is no file: `-o FILE` names the one to write, and its schema is written beside it";
        return Err(Error::Usage(text.to_owned()));
    }
    if file.is_dir() {
        let inside = quote(&file.join(FILE).display().to_string());
        return Err(Error::refused(
            format!("`{name}` is a folder"),
            format!("name a file in it: `-o {inside}`"),
        ));
    }
    if fs::symlink_metadata(file).is_ok() {
        return Err(is_there(file));
    }
    match file.parent().filter(|it| !it.as_os_str().is_empty()) {
        Some(folder) if !folder.is_dir() => {
            let folder = folder.display().to_string();
            Err(Error::refused(
                format!("there is no folder `{folder}` to write `{name}` into"),
                format!("make it, and do this again: `mkdir -p {}`", quote(&folder)),
            ))
        }
        _ => Ok(()),
    }
}

/// A configuration of SSH that was named is one.
fn refuse_what_cannot_be_read(global: &Global) -> Result<(), Error> {
    let read = global.ssh_config.as_deref().map(fs::read);
    read.transpose().map(drop).map_err(unread_configuration)
}

fn unread_configuration(source: io::Error) -> Error {
    Error::Here {
        what: "the SSH configuration cannot be read".to_owned(),
        source,
    }
}

fn is_there(file: &Path) -> Error {
    Error::refused(
        format!(
            "`{}` is there already, and is left as it is",
            file.display()
        ),
        format!(
            "write to another file with `-o FILE`, or see what it declares: `{}`",
            command("plan", &file.display().to_string())
        ),
    )
}

/// Reads what somebody else has.
fn asked(from: &str) -> Result<Asked, Error> {
    let text = match (from, fs::File::open(from)) {
        ("-", _) => read(&mut io::stdin().lock(), from)?,
        (_, Ok(mut file)) => read(&mut file, from)?,
        (_, Err(_)) if Asked::is_command_line(from) => from.to_owned(),
        (_, Err(why)) => {
            let text =
                format!("`{from}` is no command line of vLLM, and cannot be read as a file: {why}");
            return Err(Error::refused(text, NAME_ONE));
        }
    };
    Asked::read(&text).map_err(|why| {
        let from = if text == from { "--from" } else { from };
        Error::refused(format!("{from}: {why}"), why.hint())
    })
}

fn read(file: &mut impl io::Read, from: &str) -> Result<String, Error> {
    let mut bytes = Vec::new();
    let read = file.take(MOST_BYTES + 1).read_to_end(&mut bytes);
    let refused = |why: &str| Error::refused(format!("`{from}` {why}"), NAME_ONE);
    read.map_err(|why| refused(&format!("cannot be read: {why}")))?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(refused(
            "is longer than a recipe or a script is, which has 1 MiB at most",
        ));
    }
    String::from_utf8(bytes).map_err(|_| refused("is no text in UTF-8"))
}

/// The hosts of the SSH configuration.
fn configured(global: &Global) -> Result<Vec<Reach>, Error> {
    let hosts = configured_hosts(global.ssh_config.as_deref());
    let hosts = hosts.map_err(unread_configuration)?;
    let hosts: Vec<Reach> = hosts.iter().filter_map(|host| host.parse().ok()).collect();
    if hosts.is_empty() {
        let text = "no host is named, and the SSH configuration names none: `replica init user@host ...`, or \
                    `replica init --local` for a simulated topology on this machine";
        return Err(Error::Usage(text.to_owned()));
    }
    Ok(hosts)
}

/// A host, and what came of looking at it.
struct Looked {
    reach: Reach,
    name: NodeName,
    said: Result<Surveyed, Failure>,
}

/// Looks at all hosts side by side.
async fn look(global: &Global, hosts: &[Reach]) -> Vec<Looked> {
    let mut named: Vec<(NodeName, Reach)> = Vec::new();
    for host in hosts {
        if !named.iter().any(|(_, reach)| reach == host) {
            let names = named.iter().map(|(name, _)| name).collect::<Vec<_>>();
            named.push((name(&called(host), &names), host.clone()));
        }
    }
    let declared: BTreeMap<NodeName, NodeDeclaration> = named
        .iter()
        .map(|(name, reach)| (name.clone(), declaration(reach)))
        .collect();
    let options = ConnectOptions {
        ssh_config: global.ssh_config.clone(),
        ..ConnectOptions::default()
    };
    let fleet = Fleet::connect(&declared, &options).await;
    let hints: BTreeMap<NodeName, String> = fleet
        .hints()
        .map(|(name, hint)| (name.clone(), hint))
        .collect();
    let live = Live::new(fleet, PathBuf::new(), Arc::new(|_| ()));
    let observed = live.observe(&[], &init::facts()).await;
    let said = |name: &NodeName| match observed.nodes().get(name) {
        Some(Ok(facts)) => Ok(Surveyed::read(facts)),
        Some(Err(failure)) => {
            let mut failure = failure.clone();
            failure.hint = failure.hint.or(hints.get(name).cloned());
            Err(failure)
        }
        None => Err(Failure::bug("it was not asked")),
    };
    named
        .into_iter()
        .map(|(name, reach)| Looked {
            said: said(&name),
            reach,
            name,
        })
        .collect()
}

fn declaration(reach: &Reach) -> NodeDeclaration {
    NodeDeclaration {
        ssh: reach.clone(),
        addresses: BTreeMap::new(),
        unmanaged: None,
        supervisor: None,
        secrets: None,
        memory_bandwidth: None,
        stale: None,
    }
}

/// What a host is called by how it is reached.
fn called(reach: &Reach) -> String {
    match reach {
        Reach::Local => "here".to_owned(),
        Reach::Ssh { host, .. } => host.clone(),
    }
}

/// A name that is like a text, and is none of these.
fn name(text: &str, taken: &[&NodeName]) -> NodeName {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let plain: String = text
        .chars()
        .map(|c| if is_plain(c) { c } else { '-' })
        .take(56)
        .collect();
    let plain = plain.trim_start_matches(['.', '_', '-']);
    let plain = if plain.is_empty() { "node" } else { plain };
    let mut candidates = (1..).map(|number| match number {
        1 => plain.to_owned(),
        number => format!("{plain}-{number}"),
    });
    let free = candidates.find_map(|it| {
        let name: NodeName = it.parse().ok()?;
        (!taken.contains(&&name)).then_some(name)
    });
    free.expect("there is always another number")
}

/// Ends where somebody named a host that cannot be reached, or where there is none at all.
fn missing(global: &Global, looked: &[Looked], are_named: bool) -> Result<Option<Exit>, Error> {
    let reached = looked.iter().filter(|it| it.said.is_ok()).count();
    if reached == looked.len() || (reached > 0 && !are_named) {
        return Ok(None);
    }
    let screen = global.screen();
    let mut left_out = BTreeMap::new();
    for it in looked {
        if let Err(failure) = &it.said {
            let hint = failure.hint.iter().map(|hint| format!("; {hint}"));
            screen.warning(&format!(
                "{}: {}{}",
                it.reach,
                failure.message,
                hint.collect::<String>()
            ));
            left_out.insert(it.reach.to_string(), failure.message.clone());
        }
    }
    screen.warning(
        "nothing was written: name the hosts that can be reached, or mend the way to the others",
    );
    if screen.is_json() {
        screen.document(&Written {
            left_out,
            ..Written::default()
        })?;
    }
    Ok(Some(Exit::Unreachable))
}

/// Hosts that are not in the manifest, each with why.
type LeftOut = Vec<(String, String)>;

/// The nodes of the manifest, and the hosts that are not among them, each with why. A host that was named is
/// one; of those that the SSH configuration has, those with a GPU.
fn chosen(looked: Vec<Looked>, are_named: bool) -> Result<(Vec<Place>, LeftOut), Error> {
    let mut places: Vec<Place> = Vec::new();
    let mut left_out = Vec::new();
    for Looked { reach, name, said } in looked {
        match said {
            Ok(surveyed) if are_named || surveyed.has_gpu() => places.push(Place {
                name,
                reach,
                surveyed,
            }),
            Ok(_) => left_out.push((
                reach.to_string(),
                "it has no GPU; name it to have it here".to_owned(),
            )),
            Err(failure) => left_out.push((reach.to_string(), failure.message)),
        }
    }
    if places.is_empty() {
        let hosts: Vec<_> = left_out.iter().map(|(host, _)| host.as_str()).collect();
        return Err(Error::refused(
            format!(
                "of the hosts of the SSH configuration none has a GPU: {}",
                hosts.join(", ")
            ),
            "name those that you mean: `replica init HOST...`; `replica init --local` simulates on this machine",
        ));
    }
    by_their_own_names(&mut places);
    Ok((places, left_out))
}

/// Nobody knows a node by its address who can know it by its name.
fn by_their_own_names(places: &mut [Place]) {
    for at in 0..places.len() {
        let is_address = called(&places[at].reach).parse::<IpAddr>().is_ok();
        let own = places[at].surveyed.called().filter(|_| is_address);
        let Some(own) = own.map(str::to_owned) else {
            continue;
        };
        let taken: Vec<NodeName> = places.iter().map(|place| place.name.clone()).collect();
        places[at].name = name(&own, &taken.iter().collect::<Vec<_>>());
    }
}

/// What is called as the folder of its manifest.
fn topology(file: &Path) -> TopologyName {
    let folder = std::path::absolute(file).ok();
    let folder = folder
        .as_deref()
        .and_then(Path::parent)
        .and_then(Path::file_name);
    let named = folder.and_then(|name| name.to_str()?.parse().ok());
    named.unwrap_or_else(|| "serving".parse().expect("it is a name"))
}

/// Writes the manifest and its schema, and reads it as every command will.
fn write(
    global: &Global,
    file: &Path,
    draft: &Draft,
    nodes: Vec<String>,
    left_out: LeftOut,
) -> Result<Exit, Error> {
    manifest::read(&draft.text)?;
    let schema = file.with_file_name(SCHEMA);
    let text = manifest::schema_text();
    // One that is there belongs to another manifest, and may be as good.
    let is_current =
        create(&schema, &text)? || fs::read(&schema).is_ok_and(|it| it == text.as_bytes());
    if !create(file, &draft.text)? {
        return Err(is_there(file));
    }
    let screen = global.screen();
    for remark in &draft.remarks {
        screen.note(remark);
    }
    for (host, why) in &left_out {
        screen.note(&format!("{host} is not in it: {why}"));
    }
    if !is_current {
        let schema = schema.display().to_string();
        screen.note(&format!(
            "{schema} was there already, is another, and is left as it is; `replica schema > {}` writes today's",
            quote(&schema)
        ));
    }
    let written = Written {
        file: Some(file.to_owned()),
        schema: Some(schema),
        nodes,
        left_out: left_out.into_iter().collect(),
        remarks: draft.remarks.clone(),
    };
    if screen.is_json() {
        screen.document(&written)?;
    } else {
        screen.result(&render(&written, screen.out()))?;
    }
    Ok(Exit::Done)
}

/// Writes a file that is not there yet, whole: whoever looks sees all of it or nothing. Says no where there is
/// one, which is left as it is.
fn create(file: &Path, text: &str) -> Result<bool, Error> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    if fs::symlink_metadata(file).is_ok() {
        return Ok(false);
    }
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let draft = file.with_file_name(format!(".{name}.{}.{number}", std::process::id()));
    let written = fs::File::create_new(&draft).and_then(|mut it| it.write_all(text.as_bytes()));
    // A link takes no other's place, as a renamed file would.
    let placed = written.and_then(|()| fs::hard_link(&draft, file));
    let _ = fs::remove_file(&draft);
    let placed = placed.or_else(|error| match error.kind() {
        // Not every file system has links.
        ErrorKind::PermissionDenied | ErrorKind::Unsupported => {
            fs::File::create_new(file).and_then(|mut it| it.write_all(text.as_bytes()))
        }
        _ => Err(error),
    });
    match placed {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(source) => Err(Error::Here {
            what: format!("{} cannot be written", file.display()),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_a_name_that_a_manifest_takes_and_no_other_has() {
        let names = |hosts: &[&str]| {
            let mut taken: Vec<NodeName> = Vec::new();
            for host in hosts {
                let named = name(
                    &called(&host.parse().unwrap()),
                    &taken.iter().collect::<Vec<_>>(),
                );
                taken.push(named);
            }
            taken.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            names(&[
                "local",
                "n@spark-01:22",
                "spark-01",
                "10.0.0.1",
                "::1",
                "_gate"
            ]),
            ["here", "spark-01", "spark-01-2", "10.0.0.1", "1", "gate"]
        );
    }

    #[test]
    fn of_many_that_write_a_file_one_does_and_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.json");
        let text = "x".repeat(1 << 16);
        let wrote = std::thread::scope(|scope| {
            let all: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        let wrote = create(&file, &text).unwrap();
                        (wrote, fs::read_to_string(&file).unwrap() == text)
                    })
                })
                .collect();
            let all = all.into_iter().map(|it| it.join().unwrap());
            all.collect::<Vec<_>>()
        });
        assert_eq!(wrote.iter().filter(|(wrote, _)| *wrote).count(), 1);
        assert!(wrote.iter().all(|(_, is_whole)| *is_whole), "{wrote:?}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(create(&folder.path().join("no/a"), "").is_err());
    }

    #[test]
    fn a_topology_is_called_as_its_folder() {
        assert_eq!(
            topology(Path::new("/srv/llm/topology.yaml")).as_str(),
            "llm"
        );
        assert_eq!(
            topology(Path::new("/srv/l m/topology.yaml")).as_str(),
            "serving"
        );
        assert_eq!(topology(Path::new("/topology.yaml")).as_str(), "serving");
    }
}
