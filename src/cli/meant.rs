//! Which things the words of a command line mean.

use std::collections::BTreeSet;

use crate::plan::Address;

/// The things that a word can mean: by the whole address, else by the part after the node, else by the
/// bare name.
pub(super) fn meant(word: &str, known: &BTreeSet<Address>) -> BTreeSet<Address> {
    let ways: [fn(&Address) -> Option<String>; 3] = [
        |address| Some(address.to_string()),
        |address| Some(address.local()),
        |address| address.name.clone(),
    ];
    let found = ways.iter().map(|way| {
        let is_meant = |address: &&Address| way(address).as_deref() == Some(word);
        known.iter().filter(is_meant).cloned().collect()
    });
    found
        .into_iter()
        .find(|meant: &BTreeSet<Address>| !meant.is_empty())
        .unwrap_or_default()
}
