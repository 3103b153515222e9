//! Whether what listens on a node can be asked from here: that goes through its sshd.

use crate::name::NodeName;
use crate::net::Authority;
use crate::node::ALLOW_FORWARDING;
use crate::plan::{Reason, ReasonCode};
use crate::resource::contract::Observation;
use crate::resource::facts::{FORBIDDEN, Fact};

/// The fact that [`forbidden`] is read from. `page` is read there by the way.
pub(in crate::resource) fn fact(host: &str, port: u16, page: Option<&'static str>) -> Fact {
    Fact::dial(host, port, page)
}

/// Why what is to listen there could never be seen to serve, where the node's sshd lets nobody
/// through to it.
pub(in crate::resource) fn forbidden(
    node: &NodeName,
    host: &str,
    port: u16,
    observed: &Observation,
) -> Option<Reason> {
    let answer = observed
        .of(node)?
        .get(&fact(host, port, None).id)
        .to_owned();
    (answer.trim() == FORBIDDEN).then(|| {
        let text = format!(
            "the sshd of {node} forbids forwarding to {}, so that it could not be seen to serve",
            Authority::new(host, port)
        );
        Reason::new(ReasonCode::ForwardingForbidden, text).hinted(ALLOW_FORWARDING)
    })
}
