//! What the simulator claims of vLLM 0.13.0: one list, observed on both, and compared.

use std::collections::BTreeSet;
use std::process::Command;

use rustix::net::{AddressFamily, SocketType, bind, socket, sockopt};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::http::{begin, get, post, send};
use super::installed::Installed;
use super::server::{Kind, Server};
use super::stage::until;

/// Something that can be seen of a server, in words that are the same for both.
type Claim = (&'static str, fn(&Server) -> String);

/// What is seen over HTTP of a server that serves.
const SURFACE: &[Claim] = &[
    ("health is an empty 200", |s| answer(s, "GET /health")),
    ("health is no HEAD", |s| answer(s, "HEAD /health")),
    ("ping answers GET", |s| answer(s, "GET /ping")),
    ("ping answers POST", |s| answer(s, "POST /ping")),
    ("the version is told without its build", |s| {
        answer(s, "GET /version")
    }),
    ("the load is told", |s| answer(s, "GET /load")),
    ("there is nothing at the root", |s| answer(s, "GET /")),
    ("completions are no GET", |s| {
        answer(s, "GET /v1/completions")
    }),
    ("the models are listed under each name", |s| {
        shape(&get(s.port, "/v1/models").json())
    }),
    ("a completion has these keys", |s| {
        completion(s, json!({"max_tokens": 5, "temperature": 0}))
    }),
    ("a completion may leave out its model", |s| {
        let body = json!({"prompt": "hello", "max_tokens": 1, "temperature": 0});
        post(s.port, "/v1/completions", &body).json()["model"].to_string()
    }),
    ("a completion answers by its first name", |s| {
        let body = json!({"model": "other", "prompt": "hello", "max_tokens": 1, "temperature": 0});
        post(s.port, "/v1/completions", &body).json()["model"].to_string()
    }),
    ("a chat has these keys", |s| {
        let body = json!({"model": "tiny", "messages": [{"role": "user", "content": "hello"}],
                          "max_tokens": 4, "temperature": 0, "ignore_eos": true});
        shape(&post(s.port, "/v1/chat/completions", &body).json())
    }),
    ("a stream of completions is framed so", |s| {
        streamed(s, "/v1/completions", json!({"prompt": "hello"}))
    }),
    ("a stream of chat is framed so", |s| {
        let messages = json!({"messages": [{"role": "user", "content": "hello"}]});
        streamed(s, "/v1/chat/completions", messages)
    }),
    ("token ids are counted as they are", |s| {
        let ids: Vec<u32> = (10..40).collect();
        let body = json!({"prompt": ids, "max_tokens": 3, "temperature": 0, "ignore_eos": true});
        post(s.port, "/v1/completions", &body).json()["usage"].to_string()
    }),
    ("a token id that is none is refused", |s| {
        refused(s, &json!({"prompt": [3, 4_000_000], "max_tokens": 3}))
    }),
    ("probabilities of completions are told so", |s| {
        probable(
            s,
            "/v1/completions",
            json!({"prompt": "hello", "logprobs": 2}),
        )
    }),
    ("that of the token alone is told so", |s| {
        probable(
            s,
            "/v1/completions",
            json!({"prompt": "hello", "logprobs": 0}),
        )
    }),
    ("probabilities of a chat are told so", |s| {
        let asked = json!({"messages": [{"role": "user", "content": "hello"}],
                           "logprobs": true, "top_logprobs": 2});
        probable(s, "/v1/chat/completions", asked)
    }),
    ("those of a chat's tokens alone are told so", |s| {
        let asked = json!({"messages": [{"role": "user", "content": "hello"}], "logprobs": true});
        probable(s, "/v1/chat/completions", asked)
    }),
    ("more probabilities than are told are refused", |s| {
        refused(s, &json!({"prompt": "a", "max_tokens": 1, "logprobs": 21}))
    }),
    (
        "a text is tokenised with and without what opens a prompt",
        |s| {
            let count = |more: Value| {
                let mut body = json!({"model": "tiny", "prompt": "hello"});
                merge(&mut body, more);
                let answer = post(s.port, "/tokenize", &body).json();
                answer["count"].as_u64().unwrap_or_default()
            };
            let (with, without) = (
                count(json!({})),
                count(json!({"add_special_tokens": false})),
            );
            format!("{} more", with - without)
        },
    ),
    ("a request's id is in the answer's", |s| {
        let headers = [
            ("content-type", "application/json"),
            ("x-request-id", "mine-1"),
        ];
        let body = r#"{"model":"tiny","prompt":"hello","max_tokens":1,"temperature":0}"#;
        let answer = send(s.port, "POST /v1/completions", &headers, body).expect("it answers");
        format!("{} {}", answer.json()["id"], answer.header("x-request-id"))
    }),
    ("an unknown model is a 404", |s| {
        refused(s, &json!({"model": "nope", "prompt": "a"}))
    }),
    ("an unknown model is a 404 of a stream too", |s| {
        refused(s, &json!({"model": "nope", "prompt": "a", "stream": true}))
    }),
    ("a negative length is refused", |s| {
        refused(
            s,
            &json!({"model": "tiny", "prompt": "a", "max_tokens": -1}),
        )
    }),
    ("a prompt that is too long is refused", |s| {
        let prompt = vec![7; 3000];
        refused(
            s,
            &json!({"model": "tiny", "prompt": prompt, "max_tokens": 4}),
        )
    }),
    ("several greedy answers are refused", |s| {
        refused(
            s,
            &json!({"model": "tiny", "prompt": "a", "n": 8, "temperature": 0}),
        )
    }),
    ("a missing prompt is refused", |s| {
        let answer = post(s.port, "/v1/chat/completions", &json!({"model": "tiny"}));
        format!("{} {}", answer.status, shape(&answer.json()))
    }),
    ("what is no JSON is refused", |s| {
        let json = [("content-type", "application/json")];
        let answer = send(s.port, "POST /v1/completions", &json, "{not json").expect("it answers");
        let error = &answer.json()["error"];
        format!("{} {} {}", answer.status, error["type"], error["code"])
    }),
    ("another content type is refused", |s| {
        let text = [("content-type", "text/plain")];
        let answer = send(s.port, "POST /v1/completions", &text, "{}").expect("it answers");
        format!("{} {}", answer.status, answer.body)
    }),
];

/// What is seen of its processes while it serves.
const PROCESSES: &[Claim] = &[
    ("its engine is a child in its session, by this name", |s| {
        let engine = s.engine().expect("it has an engine");
        let parent = Server::proc_file(engine, "status");
        let is_child = parent.contains(&format!("PPid:\t{}\n", s.pid()));
        format!("{is_child} {}", Server::proc_file(engine, "cmdline").trim())
    }),
    ("the engine carries the mark", |s| {
        let engine = s.engine().expect("it has an engine");
        let mark = "REPLICA_MARK=v1:claims:instance/a:1:0f";
        Server::proc_file(engine, "environ")
            .contains(mark)
            .to_string()
    }),
    ("its log says when it serves", |s| {
        let log = s.log();
        ["Starting vLLM API server", "Application startup complete."]
            .map(|line| log.contains(line).to_string())
            .join(" ")
    }),
    ("another of the same user may bind its port", |s| {
        let own = socket(AddressFamily::INET, SocketType::STREAM, None).expect("there are sockets");
        sockopt::set_socket_reuseport(&own, true).expect("it can be set");
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], s.port));
        bind(&own, &address).is_ok().to_string()
    }),
];

/// An answer as far as it is the same for every server.
fn answer(server: &Server, line: &str) -> String {
    let answer = send(server.port, line, &[], "").expect("it answers");
    let names = answer.header_names().join(" ");
    format!(
        "{} [{names}] {} {}",
        answer.status,
        answer.header("allow"),
        answer.body
    )
}

fn refused(server: &Server, body: &Value) -> String {
    let answer = post(server.port, "/v1/completions", body);
    format!(
        "{} {} {}",
        answer.status,
        answer.header("content-type"),
        answer.body
    )
}

fn completion(server: &Server, more: Value) -> String {
    let mut body = json!({"model": "tiny", "prompt": "hello", "ignore_eos": true});
    merge(&mut body, more);
    let answer = post(server.port, "/v1/completions", &body);
    format!(
        "{} {} {}",
        answer.status,
        answer.header("content-type"),
        shape(&answer.json())
    )
}

/// Streams, and returns the forms of its events, each once where it recurs.
fn streamed(server: &Server, path: &str, more: Value) -> String {
    let mut body = json!({"model": "tiny", "max_tokens": 12, "temperature": 0, "ignore_eos": true,
                          "stream": true, "stream_options": {"include_usage": true}});
    merge(&mut body, more);
    let answer = post(server.port, path, &body);
    let mut forms = vec![answer.header("content-type").to_owned()];
    for event in answer.events() {
        let form = serde_json::from_str(event).map_or_else(|_| event.to_owned(), |it| shape(&it));
        if forms.last() != Some(&form) {
            forms.push(form);
        }
    }
    forms.join("\n")
}

/// The keys of what is told of probabilities, of a whole answer and of a stream: the numbers and
/// the tokens are the model's, and how many tokens share an event is the machine's.
fn probable(server: &Server, path: &str, more: Value) -> String {
    let lengths = |value: &Value| {
        let list = |name: &str| value[name].as_array().map_or(0, Vec::len);
        ["text_offset", "token_logprobs", "tokens", "content"].map(list)
    };
    let keys = |value: &Value| {
        let first = &value["content"][0];
        let names = |value: &Value| {
            let map = value.as_object().into_iter().flatten();
            map.map(|(key, _)| key.clone())
                .collect::<Vec<_>>()
                .join(" ")
        };
        let top = first["top_logprobs"].as_array().map(Vec::len);
        let beside = &first["top_logprobs"][0];
        let ranked = value["top_logprobs"][0]
            .as_object()
            .map(serde_json::Map::len);
        format!(
            "{} {} {top:?} {} {ranked:?} {}",
            names(value),
            names(first),
            names(beside),
            value["text_offset"][0]
        )
    };
    let mut body = json!({"model": "tiny", "max_tokens": 4, "temperature": 0, "ignore_eos": true});
    merge(&mut body, more);
    let whole = post(server.port, path, &body).json();
    let whole = &whole["choices"][0]["logprobs"];
    let mut told = vec![keys(whole), format!("{:?}", lengths(whole))];
    body["stream"] = true.into();
    let answer = post(server.port, path, &body);
    let chunks = answer.events().into_iter();
    let chunks = chunks.filter_map(|event| serde_json::from_str::<Value>(event).ok());
    let all = chunks.map(|chunk| chunk["choices"][0]["logprobs"].clone());
    let all: Vec<Value> = all.filter(|it| !it.is_null()).collect();
    told.extend(all.first().map(keys));
    let mut sum = [0; 4];
    for one in all.iter().map(lengths) {
        sum.iter_mut().zip(one).for_each(|(sum, one)| *sum += one);
    }
    told.push(format!("{sum:?}"));
    told.join("\n")
}

fn merge(body: &mut Value, more: Value) {
    let (Value::Object(body), Value::Object(more)) = (body, more) else {
        panic!("requests are objects");
    };
    body.extend(more);
}

/// The form of a document: its keys in their order, and its values as far as they do not
/// depend on the moment, the model or the prompt.
fn shape(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let field = |(key, value): (&String, &Value)| match (key.as_str(), value) {
                ("id" | "root" | "content" | "text" | "message", Value::String(_)) => {
                    format!("{key}: text")
                }
                ("created" | "prompt_tokens" | "total_tokens", Value::Number(_)) => {
                    format!("{key}: number")
                }
                _ => format!("{key}: {}", shape(value)),
            };
            let fields: Vec<_> = map.iter().map(field).collect();
            format!("{{{}}}", fields.join(", "))
        }
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(shape).collect();
            format!("[{}]", items.join(", "))
        }
        other => other.to_string(),
    }
}

/// The names of the metrics that a server tells of.
fn metrics(server: &Server) -> BTreeSet<String> {
    let text = get(server.port, "/metrics").body;
    let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    names
        .map(str::to_owned)
        .filter(|line| line.starts_with("vllm:"))
        .collect()
}

/// Compares both, claim by claim, and returns what differs.
fn compare(claims: &[Claim], real: &Server, simulated: &Server) -> Vec<String> {
    assert_eq!((real.kind, simulated.kind), (Kind::Real, Kind::Simulated));
    let differs = |(name, see): &Claim| {
        let (real, simulated) = (see(real), see(simulated));
        (real != simulated)
            .then(|| format!("{name}\n  real:      {real}\n  simulated: {simulated}"))
    };
    claims.iter().filter_map(differs).collect()
}

/// Plays the same on both, and expects the same of both.
fn both(installed: &Installed, key: Option<&str>, play: impl Fn(&mut Server) -> Vec<String>) {
    let told = [Kind::Real, Kind::Simulated].map(|kind| {
        let mut server = Server::healthy(kind, installed, &[], key);
        play(&mut server)
    });
    assert_eq!(told[0], told[1], "real, and simulated");
}

#[test]
fn the_simulator_looks_like_vllm() {
    let Some(installed) = Installed::find("the_simulator_looks_like_vllm") else {
        return;
    };
    let real = Server::healthy(Kind::Real, &installed, &[], None);
    let simulated = Server::healthy(Kind::Simulated, &installed, &[], None);
    let mut differences = compare(SURFACE, &real, &simulated);
    differences.extend(compare(PROCESSES, &real, &simulated));
    // vLLM tells more than what is imitated.
    let invented: Vec<_> = metrics(&simulated)
        .difference(&metrics(&real))
        .cloned()
        .collect();
    if !invented.is_empty() {
        differences.push(format!("metrics that vLLM does not have: {invented:?}"));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    // The control: what differs is noticed.
    let control: &[Claim] = &[("which of the two it is", |s| format!("{:?}", s.kind))];
    assert_eq!(compare(control, &real, &simulated).len(), 1);
}

#[test]
fn a_key_guards_the_same_paths() {
    let Some(installed) = Installed::find("a_key_guards_the_same_paths") else {
        return;
    };
    both(&installed, Some("secret"), |server| {
        let models = |headers: &[(&str, &str)]| {
            let answer = send(server.port, "GET /v1/models", headers, "").expect("it answers");
            let body = if answer.status == 200 {
                String::new()
            } else {
                answer.body
            };
            format!("{} {body}", answer.status)
        };
        let mut told = vec![
            models(&[]),
            models(&[("authorization", "Bearer wrong")]),
            models(&[("authorization", "Bearer secret")]),
        ];
        let open = ["/health", "/ping", "/version", "/load", "/metrics"];
        told.extend(open.map(|path| format!("{path} {}", get(server.port, path).status)));
        // Its engine dies: it says so, and goes.
        let engine = server.engine().expect("it has an engine");
        Server::signals(engine, Signal::KILL);
        until("it is ill or gone", || {
            send(server.port, "GET /health", &[], "").map_or(true, |it| it.status == 503)
        });
        server.ends();
        until("nothing is left", || server.members().is_empty());
        told
    });
}

#[test]
fn a_killed_server_leaves_its_engine_behind() {
    let Some(installed) = Installed::find("a_killed_server_leaves_its_engine_behind") else {
        return;
    };
    both(&installed, None, |server| {
        let engine = server.engine().expect("it has an engine");
        Server::signals(server.pid(), Signal::KILL);
        server.ends();
        until("it was adopted", || {
            let status = Server::proc_file(engine, "status");
            !status.contains(&format!("PPid:\t{}\n", server.pid()))
        });
        let left = server.engine() == Some(engine);
        // SIGTERM ends what was left.
        Server::signals(engine, Signal::TERM);
        until("nothing is left", || server.members().is_empty());
        vec![left.to_string()]
    });
}

#[test]
fn sigterm_ends_it_when_idle_and_hangs_it_with_a_stream() {
    let Some(installed) = Installed::find("sigterm_ends_it_when_idle_and_hangs_it_with_a_stream")
    else {
        return;
    };
    both(&installed, None, |server| {
        Server::signals(server.pid(), Signal::TERM);
        server.ends();
        until("nothing is left", || server.members().is_empty());
        Vec::new()
    });
    both(&installed, None, |server| {
        let body = json!({"model": "tiny", "prompt": "hello", "max_tokens": 900, "temperature": 0,
                          "ignore_eos": true, "stream": true});
        let streams = [0; 3].map(|_| begin(server.port, "/v1/completions", &body));
        Server::signals(server.pid(), Signal::TERM);
        until("its engine is gone", || server.engine().is_none());
        until("it listens no longer", || {
            send(server.port, "GET /health", &[], "").is_err()
        });
        let hangs = server.runs();
        drop(streams);
        vec![hangs.to_string()]
    });
}

#[test]
fn an_unknown_argument_is_refused_in_the_same_words() {
    let Some(installed) = Installed::find("an_unknown_argument_is_refused_in_the_same_words")
    else {
        return;
    };
    let told = [Kind::Real, Kind::Simulated].map(|kind| {
        let mut server =
            Server::starts(kind, &installed, &["--gpu-memory-utilisation", "0.3"], None);
        let code = server.ends();
        let log = server.log();
        let line = log
            .lines()
            .find(|line| line.contains("unrecognized"))
            .unwrap_or_default();
        (code, line.to_owned())
    });
    assert_eq!(told[0], told[1], "real, and simulated");
}

/// The list by which arguments are judged where nothing is installed yet is vLLM's own.
#[test]
fn the_arguments_of_0_13_0_are_those_of_its_help() {
    let Some(installed) = Installed::find("the_arguments_of_0_13_0_are_those_of_its_help") else {
        return;
    };
    let help = Command::new(installed.venv().join("bin/vllm"))
        .args(["serve", "--help=all"])
        .output()
        .expect("vLLM is there");
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    // A flag stands at the head of its paragraph, with its other forms behind it.
    let heads = help.lines().filter(|line| line.starts_with("  -"));
    let words = heads.flat_map(|line| line.split([' ', ',']));
    let mut flags: BTreeSet<_> = words.filter_map(|word| word.strip_prefix("--")).collect();
    assert!(flags.remove("help"), "it is asked, and starts nothing");
    let known: BTreeSet<_> = include_str!("../../src/resource/instance/known/0.13.0.txt")
        .lines()
        .collect();
    let unknown: Vec<_> = flags.difference(&known).collect();
    let invented: Vec<_> = known.difference(&flags).collect();
    assert_eq!(
        (unknown, invented),
        (Vec::new(), Vec::new()),
        "not listed, and not there"
    );
}
