//! A backend's answer on its way to the client: what its head becomes, and who passes on the rest.

use hyper::Response;
use hyper::header::HeaderValue;

use super::attempt::Reply;
use super::body::{Outgoing, Passage, Relay};
use super::decoding::Decoding;
use super::headers;
use super::policy::Charge;
use super::record::Record;
use super::suspicion::Suspicion;
use super::upstream::Head;

/// A backend's answer, whose body is still to come.
#[derive(Debug)]
pub(super) struct Answer {
    // The order matters: the connection is closed before the backend may call itself empty.
    pub(super) reply: Reply,
    pub(super) charge: Charge,
    /// What is held against the request should its server die now.
    pub(super) suspicion: Option<Suspicion>,
    /// Whether the client may send its request again, where there is something to say.
    pub(super) should_retry: Option<bool>,
    /// What is to be done about it, where another instance has read the prompt.
    pub(super) decoding: Option<Box<Decoding>>,
}

impl Answer {
    /// Passes the answer on, frame by frame.
    pub(super) fn relay(self, id: HeaderValue, record: &Record) -> Response<Outgoing> {
        let Reply {
            head: Head { status, is_stream },
            beginning,
            mut connection,
        } = self.reply;
        let mut headers = connection.take_headers();
        headers.insert(headers::REQUEST_ID, id);
        headers::tell_whether_to_retry(&mut headers, self.should_retry);
        record.tell(&mut headers);
        let passage = Passage {
            connection,
            charge: self.charge,
            suspicion: self.suspicion,
            status,
        };
        let relay = Relay::new(passage, beginning, is_stream, self.decoding);
        let mut response = Response::new(Outgoing::Relayed(Box::new(relay)));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }
}
