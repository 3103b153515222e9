//! Which logs are meant by the words of a command line.

use std::collections::{BTreeMap, BTreeSet};

use crate::cli::error::Error;
use crate::cli::meant::meant;
use crate::name::NodeName;
use crate::plan::Address;
use crate::view::words::list;

/// The things that can have logs.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Those that have left some.
    pub(super) logged: BTreeSet<Address>,
    /// Those that are declared.
    pub(super) declared: BTreeSet<Address>,
}

impl Known {
    /// The logs that are meant: of each word those of the things that go by it.
    pub(super) fn choose(&self, words: &[String]) -> Result<BTreeSet<Address>, Error> {
        let mut chosen = BTreeSet::new();
        for word in words {
            let meant = self.meant(word);
            if !meant.iter().any(|address| self.logged.contains(address)) {
                return Err(self.none_of(word, meant.first()));
            }
            chosen.extend(meant.into_iter().filter(|it| self.logged.contains(it)));
        }
        Ok(chosen)
    }

    /// The things that a word can mean. Of a thing that moved from node to node, the one that is
    /// declared.
    fn meant(&self, word: &str) -> BTreeSet<Address> {
        let all = self.logged.union(&self.declared).cloned().collect();
        let mut meant = meant(word, &all);
        if meant.iter().any(|it| self.declared.contains(it)) {
            meant.retain(|it| self.declared.contains(it));
        }
        meant
    }

    fn none_of(&self, word: &str, meant: Option<&Address>) -> Error {
        let known: Vec<_> = self.logged.iter().map(Address::to_string).collect();
        let hint = match known.as_slice() {
            [] => "nothing of this topology has a log yet".to_owned(),
            known => format!("there are logs of {}", list(known)),
        };
        Error::refused(
            match meant {
                Some(address) => format!("there is no log of {address} yet"),
                None => format!("there is no log of `{word}`"),
            },
            hint,
        )
    }
}

/// What is wanted of each node, as addresses call things there.
pub(super) fn by_node(chosen: &BTreeSet<Address>) -> BTreeMap<NodeName, Vec<String>> {
    let mut by_node: BTreeMap<NodeName, Vec<String>> = BTreeMap::new();
    for address in chosen {
        if let Some(node) = &address.node {
            by_node
                .entry(node.clone())
                .or_default()
                .push(address.local());
        }
    }
    by_node
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(all: &[&str]) -> BTreeSet<Address> {
        all.iter().map(|it| it.parse().unwrap()).collect()
    }

    fn known(logged: &[&str], declared: &[&str]) -> Known {
        Known {
            logged: addresses(logged),
            declared: addresses(declared),
        }
    }

    fn chosen(known: &Known, words: &[&str]) -> String {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        match known.choose(&words) {
            Ok(chosen) => chosen.iter().map(|it| it.to_string() + " ").collect(),
            Err(error) => format!("{error}; {}", error.hints().join("; ")),
        }
    }

    #[test]
    fn a_thing_goes_by_its_address_or_a_part_of_it() {
        let all = ["n/instance.a", "n/instance.b", "m/proxy"];
        let known = known(&all, &all);
        for word in ["a", "instance.a", "n/instance.a"] {
            assert_eq!(chosen(&known, &[word]), "n/instance.a ");
        }
        assert_eq!(
            chosen(&known, &["proxy", "b", "a", "a"]),
            "m/proxy n/instance.a n/instance.b "
        );
        insta::assert_snapshot!(chosen(&known, &["a", "c"]), @"there is no log of `c`; there are logs of m/proxy, n/instance.a and n/instance.b");
    }

    /// An instance may be called as another kind is.
    #[test]
    fn the_proxy_is_told_from_an_instance_of_that_name() {
        let both = ["n/instance.proxy", "n/proxy"];
        let declared = known(&both, &both);
        assert_eq!(chosen(&declared, &["proxy"]), "n/proxy ");
        assert_eq!(chosen(&declared, &["instance.proxy"]), "n/instance.proxy ");
        // Though only the instance has left one.
        let early = known(&both[..1], &both);
        insta::assert_snapshot!(chosen(&early, &["proxy"]), @"there is no log of n/proxy yet; there are logs of n/instance.proxy");
        let alone = known(&both[..1], &both[..1]);
        assert_eq!(chosen(&alone, &["proxy"]), "n/instance.proxy ");
    }

    #[test]
    fn of_what_moved_the_log_is_where_it_is_declared() {
        let logs = ["m/instance.a", "n/instance.a"];
        assert_eq!(chosen(&known(&logs, &logs[1..]), &["a"]), "n/instance.a ");
        assert_eq!(
            chosen(&known(&logs, &logs[1..]), &["m/instance.a"]),
            "m/instance.a "
        );
        assert_eq!(
            chosen(&known(&logs, &[]), &["a"]),
            "m/instance.a n/instance.a "
        );
        insta::assert_snapshot!(chosen(&known(&[], &[]), &["a"]), @"there is no log of `a`; nothing of this topology has a log yet");
    }
}
