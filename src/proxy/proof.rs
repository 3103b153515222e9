//! Who answers on a connection, proved before the first request goes over it.
//!
//! vLLM binds with `SO_REUSEPORT`: where a second server listens on the port, the kernel gives each
//! connection to one of them. What a probe saw is true of the probe's connection alone.

use std::future::poll_fn;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::HeaderValue;
use serde::Deserialize;

use super::backend::Backend;
use super::upstream::{Connection, Why};

/// The list of models of a server that is itself has a few hundred bytes.
const LONGEST_LIST: usize = 1024 * 1024;

/// Where the names are told that a server is served under.
const NAMES: &str = "/v1/models";

/// Why a connection is not to be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unproved {
    /// Somebody else answers.
    #[error("another server answers at {authority}: it does not serve `{nonce}`")]
    Stranger { authority: String, nonce: String },
    /// No answer came that tells.
    #[error("it did not say who it is: {0}")]
    Unclear(String),
}

/// Has whoever is at the other end show the nonce of a backend, `within` so long. A key is shown only
/// where it is asked for: who takes another is somebody else, and so is who takes none. Of a backend
/// that has no nonce nothing can be shown.
pub(super) async fn prove(
    connection: &mut Connection,
    backend: &Backend,
    within: Duration,
) -> Result<(), Unproved> {
    let Some(nonce) = &backend.spec.nonce else {
        return Ok(());
    };
    let (mut status, mut list) = ask(connection, backend, None, within).await?;
    let key = backend.authorization.as_ref();
    if status == StatusCode::UNAUTHORIZED && key.is_some() {
        (status, list) = ask(connection, backend, key, within).await?;
    }
    let stranger = || Unproved::Stranger {
        authority: backend.spec.authority.clone(),
        nonce: nonce.clone(),
    };
    match status {
        StatusCode::OK if serves(&list, nonce) => Ok(()),
        StatusCode::OK | StatusCode::UNAUTHORIZED => Err(stranger()),
        status => Err(Unproved::Unclear(format!("{NAMES} answers {status}"))),
    }
}

/// Whether a list of models has this name in it.
pub(super) fn serves(list: &[u8], name: &str) -> bool {
    let served = serde_json::from_slice::<Served>(list);
    served.is_ok_and(|served| served.data.iter().any(|model| model.id == name))
}

/// What `/v1/models` says, as far as it is of interest.
#[derive(Debug, Deserialize)]
struct Served {
    data: Vec<Model>,
}

#[derive(Debug, Deserialize)]
struct Model {
    id: String,
}

async fn ask(
    connection: &mut Connection,
    backend: &Backend,
    key: Option<&HeaderValue>,
    within: Duration,
) -> Result<(StatusCode, Vec<u8>), Unproved> {
    let head = connection.get(NAMES, backend, key, within).await;
    let head = head.map_err(|no_answer| Unproved::Unclear(in_words(no_answer.why)))?;
    let mut list = Vec::new();
    loop {
        let next = poll_fn(|cx| connection.poll_data(cx, backend));
        let next = next.await.transpose();
        match next.map_err(|why| Unproved::Unclear(in_words(why)))? {
            Some(data) if list.len() + data.len() <= LONGEST_LIST => list.extend_from_slice(&data),
            Some(_) => {
                let why = format!("{NAMES} has more than {LONGEST_LIST} bytes");
                return Err(Unproved::Unclear(why));
            }
            None => return Ok((head.status, list)),
        }
    }
}

fn in_words(why: Why) -> String {
    match why {
        Why::Broken(why) => why,
        Why::Silent(within) => format!("no answer within {within:?}"),
        Why::TakenOut => "it was taken out meanwhile".to_owned(),
        Why::ClientGone => "nobody asks any more".to_owned(),
    }
}
