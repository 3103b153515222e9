//! What holds of every request: which fields cross, that an answer is the same however it comes, and that
//! nobody sees a difference between a server and the proxy before it.

use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use tokio::runtime::Runtime;

use super::*;

/// Fields in their order.
type Fields = Vec<(String, String)>;

/// What belongs to one connection (RFC 9110, section 7.6.1).
const OF_ONE_CONNECTION: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What `Connection` cannot name away.
const KEPT: [&str; 4] = ["content-length", "content-type", "host", "authorization"];

/// What the proxy writes itself.
const OWN: [&str; 10] = [
    "host",
    "content-length",
    "date",
    "server-timing",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-replica-instance",
    "x-request-id",
    "transfer-encoding",
];

/// A server that notes the request that it gets, and gives the answer that it is told to.
struct Mirror {
    fake: Fake,
    told: Arc<Mutex<Vec<u8>>>,
    seen: Arc<Mutex<String>>,
}

impl Mirror {
    async fn start() -> Self {
        let told = Arc::<Mutex<Vec<u8>>>::default();
        let seen = Arc::<Mutex<String>>::default();
        let own = (Arc::clone(&told), Arc::clone(&seen));
        let fake = Fake::answering("a", move |mut call| {
            let (told, seen) = own.clone();
            async move {
                *seen.lock().unwrap() = call.head.clone() + &String::from_utf8_lossy(&call.body);
                let answer = told.lock().unwrap().clone();
                call.stream.write_all(&answer).await.ok()?;
                None
            }
        });
        Self {
            fake: fake.await,
            told,
            seen,
        }
    }
}

/// The fields of a head as it was written, but for those that the proxy writes itself, by their names.
fn fields(head: &str) -> BTreeMap<String, Vec<String>> {
    let lines = head.lines().skip(1).take_while(|line| !line.is_empty());
    let fields = lines.filter_map(|line| line.split_once(':'));
    by_name(fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned())))
}

fn by_name(fields: impl Iterator<Item = (String, String)>) -> BTreeMap<String, Vec<String>> {
    let mut names = BTreeMap::<String, Vec<String>>::new();
    for (name, value) in fields {
        let name = name.to_ascii_lowercase();
        if !OWN.contains(&name.as_str()) {
            names.entry(name).or_default().push(value);
        }
    }
    names
}

/// Those of the fields that may cross: the model that the proxy is held against.
fn crossing(fields: &[(String, String)]) -> BTreeMap<String, Vec<String>> {
    let connection = fields.iter().filter(|(name, _)| name == "connection");
    let named: Vec<_> = connection
        .flat_map(|(_, names)| names.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .filter(|name| !KEPT.contains(&name.as_str()))
        .collect();
    let crosses = |(name, _): &&(String, String)| {
        !named.contains(name) && !OF_ONE_CONNECTION.contains(&name.as_str())
    };
    by_name(fields.iter().filter(crosses).cloned())
}

fn value() -> impl Strategy<Value = String> {
    "([!-~]([ -~]{0,10}[!-~])?)?"
}

/// Fields with any names, hop by hop and end to end, some of them twice.
fn any_fields() -> impl Strategy<Value = Fields> {
    let end_to_end = prop::sample::select(vec![
        "accept",
        "authorization",
        "cookie",
        "set-cookie",
        "traceparent",
        "x-a",
        "x-b",
        "x-secret",
    ]);
    let of_connections = prop::sample::select(vec![
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
    ]);
    let named = prop::sample::select(vec!["x-a", "X-Secret", "authorization", "cookie"]);
    let named = prop::collection::vec(named, 1..3).prop_map(|names| names.join(", "));
    let field = prop_oneof![
        4 => (end_to_end.prop_map(str::to_owned), value()),
        2 => (of_connections.prop_map(str::to_owned), value()),
        1 => (Just("connection".to_owned()), named),
    ];
    prop::collection::vec(field, 0..12)
}

fn written(fields: &[(String, String)]) -> String {
    let line = |(name, value): &(String, String)| format!("{name}: {value}\r\n");
    fields.iter().map(line).collect()
}

/// A proxy before one mirror, and what keeps both going.
fn stage() -> (Runtime, Running, Mirror) {
    let runtime = Runtime::new().unwrap();
    let (proxy, mirror) = runtime.block_on(async {
        let mirror = Mirror::start().await;
        (Running::before(&[&mirror.fake]).await, mirror)
    });
    (runtime, proxy, mirror)
}

async fn rest_of(address: SocketAddr, request: &str) -> String {
    let mut client = Client(TcpStream::connect(address).await.unwrap());
    client.send(request).await;
    client.rest().await
}

#[test]
fn what_is_of_one_connection_crosses_neither_way_and_all_else_does() {
    let (runtime, proxy, mirror) = stage();
    proptest!(ProptestConfig::with_cases(96), |(there in any_fields(), back in any_fields())| {
        let answer = format!("HTTP/1.1 200 OK\r\n{}content-length: 2\r\n\r\n{{}}", written(&back));
        *mirror.told.lock().unwrap() = answer.into_bytes();
        let request = format!(
            "POST /v1/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{}content-length: 2\r\n\r\n{{}}",
            written(&there)
        );
        let got = runtime.block_on(rest_of(proxy.address, &request));
        prop_assert!(got.starts_with("HTTP/1.1 200 "), "{}", got);
        let seen = mirror.seen.lock().unwrap().clone();
        prop_assert_eq!(fields(&seen), crossing(&there), "{}", seen);
        let mut came = fields(&got);
        // It is the proxy's own word to its client.
        came.remove("connection");
        prop_assert_eq!(came, crossing(&back), "{}", got);
    });
}

/// Answers of each framing.
const ANSWERS: [&str; 4] = [
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 13\r\nx-a: 1\r\n\r\n{\"a\":\"b\\r\\n\"}",
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n\
     9\r\ndata: 1\n\n\r\n18;x=y\r\ndata: {\"text\":\"\u{e4}\u{20ac}\"}\n\n\r\n0\r\nx-sum: 1\r\n\r\n",
    "HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\nuntil the end\r\n\r\n",
    "HTTP/1.1 103 Early\r\nlink: x\r\n\r\nHTTP/1.1 404 No\r\ncontent-length: 2\r\n\r\n{}",
];

/// What a client reads of an answer: the status, the fields, and the body without its chunks.
fn read(answer: &str) -> (u16, BTreeMap<String, Vec<String>>, String) {
    let (head, rest) = answer.split_once("\r\n\r\n").unwrap();
    let answer = Answer {
        head: format!("{head}\r\n"),
        body: rest.to_owned(),
    };
    let (body, is_whole) = matrix::body(&answer);
    assert!(is_whole, "{answer:?}");
    (answer.status(), fields(head), body)
}

/// Wherever the server's writes are cut. Not within a character: a chunk that ends there is no text, and
/// what comes is read as one.
#[tokio::test]
async fn an_answer_is_the_same_however_it_is_cut() {
    for answer in ANSWERS {
        let fake = Fake::answering("a", move |mut call| async move {
            let cut: usize = String::from_utf8_lossy(&call.body).trim().parse().unwrap();
            let (one, other) = answer.as_bytes().split_at(cut);
            for piece in [one, other] {
                call.stream.write_all(piece).await.ok()?;
                // What is written at once may be read at once.
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            None
        });
        let fake = fake.await;
        let proxy = Running::before(&[&fake]).await;
        let ask = async |cut: usize| {
            let request = format!(
                "POST /v1/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                 content-length: 4\r\n\r\n{cut:4}"
            );
            read(&rest_of(proxy.address, &request).await)
        };
        let at_once = ask(0).await;
        for cut in (1..answer.len()).filter(|cut| answer.is_char_boundary(*cut)) {
            assert_eq!(ask(cut).await, at_once, "{cut}: {answer:?}");
        }
    }
}

/// Requests of many kinds, each with its line, its fields and its body.
const CORPUS: [(&str, &str, &str); 18] = [
    (
        "POST /v1/completions",
        "content-type: application/json\r\n",
        r#"{"model":"tiny","prompt":"p"}"#,
    ),
    (
        "POST /v1/completions",
        "content-type: application/json\r\n",
        "{ \"prompt\" : \"\u{20ac}\\u20ac\", \"n\": 1.0e0 }",
    ),
    (
        "POST /v1/chat/completions?x=%20y&z",
        "content-type: application/json; charset=utf-8\r\n",
        r#"{"messages":[]}"#,
    ),
    (
        "POST /v1/chat/completions",
        "content-type: application/json\r\nauthorization: Bearer k\r\n",
        r#"{"a":1,"a":2}"#,
    ),
    (
        "POST /v1/chat/completions",
        "content-type: application/json\r\ncookie: a=1\r\ncookie: b=2\r\n",
        "{}",
    ),
    (
        "POST /v1/embeddings",
        "content-type: application/json\r\n",
        r#"{"input":["a","b"]}"#,
    ),
    (
        "POST /v1/completions",
        "content-type: application/json\r\n",
        "not json",
    ),
    ("POST /v1/completions", "", ""),
    (
        "POST /v1/audio/transcriptions",
        "content-type: multipart/form-data; boundary=x\r\n",
        "--x\r\n\r\n\u{1}\r\n--x--\r\n",
    ),
    (
        "POST /tokenize",
        "content-type: application/json\r\n",
        r#"{"prompt":"p"}"#,
    ),
    (
        "POST /detokenize",
        "content-type: application/json\r\n",
        r#"{"tokens":[1]}"#,
    ),
    ("POST /pooling", "content-type: application/json\r\n", "{}"),
    ("POST /score", "content-type: application/json\r\n", "{}"),
    (
        "POST /v1/rerank",
        "content-type: application/json\r\n",
        "{}",
    ),
    (
        "POST /v1/responses",
        "content-type: application/json\r\nx-a: \r\n",
        "{}",
    ),
    ("GET /v1/responses/resp_1", "accept: */*\r\n", ""),
    ("GET /version", "user-agent: x\r\n", ""),
    ("GET /load", "", ""),
];

/// A server that says what it was asked.
async fn echo() -> Fake {
    let answer = |mut call: fake::Call| async move {
        let body = format!("{}\n{}", call.line(), String::from_utf8_lossy(&call.body));
        call.write(&format!(
            "HTTP/1.1 201 Made\r\nx-a: 1\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n\
             content-type: text/plain\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await;
        None
    };
    Fake::answering("a", answer).await
}

#[tokio::test]
async fn nobody_sees_a_difference_between_a_server_and_the_proxy() {
    let fake = echo().await;
    let proxy = Running::before(&[&fake]).await;
    for (line, headers, body) in CORPUS {
        let length = body.len();
        let request = format!(
            "{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}"
        );
        let direct = read(&rest_of(fake.address(), &request).await);
        let mut through = read(&rest_of(proxy.address, &request).await);
        through.1.remove("connection");
        assert_eq!(through, direct, "{request}");
    }
}
