//! What a command is to be about, where that is not all of a manifest: `-target`, `--limit`, `-replace`.

use std::collections::{BTreeMap, BTreeSet};

use super::error::Error;
use super::meant::meant;
use super::workspace::{Wish, Workspace};
use crate::converge::Selection;
use crate::name::NodeName;
use crate::plan::{Action, Address, Stand};
use crate::resource::Replaced;
use crate::view::words::list;

/// What of a topology a command is about: all of it, where nothing is chosen.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct Chosen {
    /// Only this and what it requires: `here/instance.a`, `instance.a` or `a`; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    target: Vec<String>,
    /// Only what this node holds; may be repeated
    #[arg(long, value_name = "NODE")]
    limit: Vec<NodeName>,
}

impl Chosen {
    /// Whether it is all of a topology.
    pub(super) fn is_everything(&self) -> bool {
        self.target.is_empty() && self.limit.is_empty()
    }
}

/// What is to run anew.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct Anew {
    /// Replace this server or the proxy though it is as declared; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    replace: Vec<String>,
    /// Replace the last server that serves, too, though clients are left with nobody for a while
    #[arg(long)]
    allow_downtime: bool,
}

impl Anew {
    /// Whether nothing is said.
    pub(super) fn is_nothing(&self) -> bool {
        self.replace.is_empty() && !self.allow_downtime
    }
}

/// The wish, as far as it is chosen, with what is to run anew.
///
/// # Errors
///
/// When nothing goes by one of the words, or what does is nothing that can run anew.
pub(super) async fn narrowed<'a>(
    workspace: &Workspace,
    wish: Wish<'a>,
    chosen: &Chosen,
    anew: &Anew,
) -> Result<Wish<'a>, Error> {
    let wish = wish.allowing_downtime(anew.allow_downtime);
    if chosen.is_everything() && anew.replace.is_empty() {
        return Ok(wish);
    }
    let Chosen { target, limit } = chosen;
    // What is there and not declared has a name as well.
    let known = Known::new(workspace.stands(&wish).await);
    let selection = Selection {
        targets: known.all_meant(target)?,
        nodes: nodes(workspace, limit)?,
    };
    let replaced = known.replaced(&anew.replace)?;
    Ok(wish.only(selection).replacing(replaced))
}

/// The wish, as far as these words mean it, all of which is to run anew.
///
/// # Errors
///
/// When nothing goes by one of the words, or what does is nothing that can run anew.
pub(super) async fn restarted<'a>(
    workspace: &Workspace,
    wish: Wish<'a>,
    words: &[String],
    allow_downtime: bool,
) -> Result<Wish<'a>, Error> {
    let chosen = Chosen {
        target: words.to_vec(),
        limit: Vec::new(),
    };
    let anew = Anew {
        replace: words.to_vec(),
        allow_downtime,
    };
    narrowed(workspace, wish, &chosen, &anew).await
}

/// What these words mean of what requests are passed to, without its node, and what passes them on.
///
/// # Errors
///
/// When nothing goes by one of the words, or nothing that runs passes requests to it.
pub(super) async fn passed_to(
    workspace: &Workspace,
    wish: &Wish<'_>,
    words: &[String],
) -> Result<(BTreeSet<Address>, BTreeSet<Address>), Error> {
    let known = Known::new(workspace.stands(wish).await);
    let all = known.all_meant(words)?;
    let mut fronts = BTreeSet::new();
    for address in &all {
        let front = known.front_of(address).ok_or_else(|| {
            Error::refused(
                format!("nothing that runs passes requests to {address}"),
                "look at what serves with `replica status`",
            )
        })?;
        fronts.insert(front.clone());
    }
    Ok((all.iter().map(Address::anywhere).collect(), fronts))
}

/// How everything stands that serves, or is to, of what these words mean; of all where there is none.
///
/// # Errors
///
/// When nothing goes by one of the words, or what does serves nobody.
pub(super) async fn all_that_serve(
    workspace: &Workspace,
    wish: &Wish<'_>,
    words: &[String],
) -> Result<Vec<Stand>, Error> {
    let known = Known::new(workspace.stands(wish).await);
    let chosen = known.all_meant(words)?;
    if let Some(address) = chosen.iter().find(|it| !known.serves(it)) {
        return Err(known.serves_nobody(address, "cannot be waited for"));
    }
    let is_chosen = |it: &Stand| words.is_empty() || chosen.contains(it.address());
    let all = known.0.values().filter(|it| known.serves(it.address()));
    Ok(all.filter(|it| is_chosen(it)).cloned().collect())
}

fn nodes(workspace: &Workspace, limit: &[NodeName]) -> Result<BTreeSet<NodeName>, Error> {
    let known = &workspace.topology().nodes;
    match limit.iter().find(|node| !known.contains_key(*node)) {
        None => Ok(limit.iter().cloned().collect()),
        Some(node) => {
            let known: Vec<String> = known.keys().map(ToString::to_string).collect();
            let message = format!("there is no node `{node}`; there is {}", list(&known));
            Err(Error::Usage(message))
        }
    }
}

/// How everything stands that words can mean.
struct Known(BTreeMap<Address, Stand>);

impl Known {
    fn new(stands: Vec<Stand>) -> Self {
        let stands = stands.into_iter();
        Self(stands.map(|it| (it.address().clone(), it)).collect())
    }

    fn all_meant(&self, words: &[String]) -> Result<BTreeSet<Address>, Error> {
        let mut all = BTreeSet::new();
        for word in words {
            all.extend(self.meant(word)?);
        }
        Ok(all)
    }

    /// The things that go by a word.
    fn meant(&self, word: &str) -> Result<BTreeSet<Address>, Error> {
        let known = self.0.keys().cloned().collect();
        let meant = meant(word, &known);
        if !meant.is_empty() {
            return Ok(meant);
        }
        let known: Vec<String> = known.iter().map(ToString::to_string).collect();
        let message = match known.as_slice() {
            [] => format!("nothing goes by `{word}`: there is nothing"),
            known => format!("nothing goes by `{word}`; there is {}", list(known)),
        };
        Err(Error::Usage(message))
    }

    /// Whether it is something that serves, and stays.
    fn serves(&self, address: &Address) -> bool {
        let stand = &self.0[address];
        stand.service.is_some() && stand.change.action != Action::Destroy
    }

    fn serves_nobody(&self, address: &Address, so: &str) -> Error {
        let servers = self.0.keys().filter(|it| self.serves(it));
        let servers: Vec<String> = servers.map(ToString::to_string).collect();
        let others = match servers.as_slice() {
            [] => "nothing of this manifest does".to_owned(),
            servers => format!("{} can", list(servers)),
        };
        Error::Usage(format!(
            "{address} is nothing that serves, and {so}; {others}"
        ))
    }

    /// What passes requests to a thing, or would were it not drained.
    fn front_of(&self, address: &Address) -> Option<&Address> {
        let of = address.anywhere();
        let passes = |stand: &&Stand| stand.relations.drain.iter().any(|hook| hook.of == of);
        self.0.values().find(passes).map(Stand::address)
    }

    /// What was seen of all that is to run anew. What does not run is started in any case.
    fn replaced(&self, words: &[String]) -> Result<Replaced, Error> {
        let all = self.all_meant(words)?;
        if let Some(address) = all.iter().find(|it| !self.serves(it)) {
            return Err(self.serves_nobody(address, "cannot be started anew"));
        }
        let seen = all.into_iter().filter_map(|address| {
            let seen = self.0[&address].seen.clone()?;
            Some((address, seen))
        });
        Ok(seen.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Change, NodePort, Service};

    fn known() -> Known {
        let node = "n".parse().unwrap();
        let thing = |address: &str, action, serves: bool| {
            let address: Address = address.parse().unwrap();
            Stand {
                service: serves.then(|| Service::stopped(NodePort::new(&node, 1))),
                seen: Some("pid 7".to_owned()),
                ..Stand::new(Change::new(&address, action, Vec::new()))
            }
        };
        Known::new(vec![
            thing("n/engine.e", Action::Keep, false),
            thing("n/instance.a", Action::Keep, true),
            thing("n/instance.old", Action::Destroy, true),
        ])
    }

    fn told(words: &[&str]) -> String {
        let words: Vec<String> = words.iter().map(|&it| it.to_owned()).collect();
        match known().replaced(&words) {
            Ok(replaced) => format!("{replaced:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_serves_and_is_declared_runs_anew() {
        let expected: Replaced = [("n/instance.a".parse().unwrap(), "pid 7".to_owned())]
            .into_iter()
            .collect();
        assert_eq!(told(&["a"]), format!("{expected:?}"));
        insta::assert_snapshot!(told(&["instance.b"]), @"nothing goes by `instance.b`; there is n/engine.e, n/instance.a and n/instance.old");
        insta::assert_snapshot!(told(&["a", "e"]), @"n/engine.e is nothing that serves, and cannot be started anew; n/instance.a can");
        insta::assert_snapshot!(told(&["old"]), @"n/instance.old is nothing that serves, and cannot be started anew; n/instance.a can");
    }
}
