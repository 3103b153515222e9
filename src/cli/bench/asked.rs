//! What is asked of a server, as flags say it: a benchmark as a manifest declares it, but for the rare.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::plan::Slo;
use crate::prompts::{Api, Cache, Keep, Prompts, Sampling};
use crate::quantity::{Percent, Seconds};
use crate::resource::benchmark::{
    BenchmarkDeclaration, InvalidBenchmark, Measurement, Objective, WarmupDeclaration,
};
use crate::shape::{Load, Pace, Requests, Several};

/// What is asked where nobody says it: short questions that every model has an answer to.
const PROMPTS: [&str; 8] = [
    "Explain what an HTTP load balancer does.",
    "What is the difference between latency and throughput?",
    "How does DNS find the address of a host?",
    "Write a short story about a lighthouse keeper.",
    "What is a REST API, and when is it a poor choice?",
    "Describe how a hash table works, and what it costs.",
    "Summarise how the heart pumps blood through the body.",
    "Give three reasons to write tests before the code.",
];

/// Requests for each in flight, of a closed loop of which nobody says how many it has.
const TIMES: u32 = 10;

/// What is asked of a server, flag by flag.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Asked {
    /// Ask this; may be repeated [default: eight built-in questions]
    #[arg(long = "prompt", value_name = "TEXT", conflicts_with = "input_tokens")]
    prompts: Vec<String>,
    /// Ask prompts of exactly so many tokens instead, drawn as token ids, as `vllm bench serve
    /// --random-input-len` does; for completions
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    input_tokens: Option<u32>,
    /// Tokens of each answer [default: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_tokens: Option<u32>,
    /// The route: `completions` or `chat` [default: completions]
    #[arg(long, value_name = "ROUTE", value_parser = word::<Api>)]
    api: Option<Api>,
    /// So many requests in flight; `1,8,32` is a sweep [default, with --requests 10x: 1]
    #[arg(long, value_name = "N", value_parser = several::<Several<u32>>, conflicts_with_all = ["rate", "batch", "sequential"])]
    concurrency: Option<Several<u32>>,
    /// So many requests a second, as in `2`, `2/s` or `30/min`, whatever is in flight; `1,2,4` is a sweep
    #[arg(long, value_name = "R", value_parser = several::<Several<Pace>>, conflicts_with_all = ["batch", "sequential"])]
    rate: Option<Several<Pace>>,
    /// So many requests all at once
    #[arg(long, value_name = "N", conflicts_with = "sequential")]
    batch: Option<u32>,
    /// So many requests one after another
    #[arg(long, value_name = "N")]
    sequential: Option<u32>,
    /// Requests in all, with --concurrency or --rate; `10x` is ten for each in flight
    #[arg(long, value_name = "M", value_parser = word::<Requests>)]
    requests: Option<Requests>,
    /// How long requests are sent, with --concurrency or --rate: `30s`, `5m`
    #[arg(long, value_name = "TIME")]
    duration: Option<Seconds>,
    /// Drive the load so often [default: once, and a short one until it took five rounds and a second]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    repeats: Option<u32>,
    /// Requests that warm the server before, at least [default: 2]
    #[arg(long, value_name = "N")]
    warmup: Option<u32>,
    /// How long one request may take [default: 2m]
    #[arg(long, value_name = "TIME")]
    timeout: Option<Seconds>,
    /// Limits that make a request good, as in `ttft=2s,tpot=100ms,attainment=99%`; missed is exit 8
    #[arg(long, value_name = "METRIC=LIMIT,...", value_parser = slo)]
    slo: Option<Slo>,
    /// What the server may take out of its prefix cache: `salt`, nothing, or `allow`, whatever is there
    /// [default: salt]
    #[arg(long, value_name = "CACHE", value_parser = word::<Cache>)]
    cache: Option<Cache>,
    /// Let answers end where the model ends them: for servers that do not know vLLM's `ignore_eos`
    #[arg(long)]
    natural_length: bool,
    /// Keep each prompt and its answer beside the numbers
    #[arg(long)]
    keep_answers: bool,
}

impl Asked {
    /// The first of these flags that is given.
    pub(super) fn given(&self) -> Option<&'static str> {
        let all = [
            ("--prompt", !self.prompts.is_empty()),
            ("--input-tokens", self.input_tokens.is_some()),
            ("--max-tokens", self.max_tokens.is_some()),
            ("--api", self.api.is_some()),
            ("--concurrency", self.concurrency.is_some()),
            ("--rate", self.rate.is_some()),
            ("--batch", self.batch.is_some()),
            ("--sequential", self.sequential.is_some()),
            ("--requests", self.requests.is_some()),
            ("--duration", self.duration.is_some()),
            ("--repeats", self.repeats.is_some()),
            ("--warmup", self.warmup.is_some()),
            ("--timeout", self.timeout.is_some()),
            ("--slo", self.slo.is_some()),
            ("--cache", self.cache.is_some()),
            ("--natural-length", self.natural_length),
            ("--keep-answers", self.keep_answers),
        ];
        let given = all.into_iter().find(|(_, is_given)| *is_given);
        given.map(|(flag, _)| flag)
    }

    /// What these flags mean, or what is wrong with them together.
    pub(super) fn measurement(&self) -> Result<Measurement, String> {
        if self.timeout.is_some_and(|it| it.get() == 0.0) {
            return Err("`--timeout` must be more than 0".to_owned());
        }
        let declared = self.declared()?;
        let invalid = |why: InvalidBenchmark| match why {
            InvalidBenchmark::Load(why) => format!("{}: {}", why.message, why.hint),
            InvalidBenchmark::Prompts(why) => {
                let why = why.iter().map(|it| format!("{}: {}", it.message, it.hint));
                why.collect::<Vec<_>>().join("; ")
            }
        };
        let measurement = declared.meant(&std::collections::BTreeMap::new());
        let measurement = measurement.map_err(invalid)?;
        if !measurement.source.suits(measurement.api) {
            return Err(
                "`--input-tokens` draws token ids, which are prompts of completions, and \
                        not of a chat: ask texts, `--prompt TEXT`"
                    .to_owned(),
            );
        }
        Ok(measurement)
    }

    fn declared(&self) -> Result<BenchmarkDeclaration, String> {
        let least = serde_json::json!({"prompts": self.prompts(), "load": {}});
        let least = serde_json::from_value::<BenchmarkDeclaration>(least);
        let least = least.map_err(|why| why.to_string())?;
        Ok(BenchmarkDeclaration {
            api: self.api.unwrap_or_default(),
            sampling: Sampling {
                ignore_eos: self.natural_length.then_some(false),
                ..Sampling::default()
            },
            cache: self.cache.unwrap_or_default(),
            keep: self.keep_answers.then_some(Keep::Answers),
            load: self.load()?,
            repeats: self.repeats,
            max_tokens: self.max_tokens.unwrap_or(least.max_tokens),
            warmup: self
                .warmup
                .map_or(least.warmup, WarmupDeclaration::requests),
            timeout: self.timeout.unwrap_or(least.timeout),
            slo: self.slo.map(Objective::Inline),
            ..least
        })
    }

    fn prompts(&self) -> Prompts {
        let drawn = self
            .input_tokens
            .map(|tokens| serde_json::json!({"input": tokens}));
        let drawn = drawn.and_then(|it| serde_json::from_value(it).ok());
        let built_in = || PROMPTS.iter().map(|&text| text.to_owned()).collect();
        let texts = match self.prompts.as_slice() {
            _ if drawn.is_some() => None,
            [] => Some(built_in()),
            given => Some(given.to_vec()),
        };
        Prompts {
            inline: texts,
            synthetic: drawn,
            ..Prompts::default()
        }
    }

    fn load(&self) -> Result<Load, String> {
        let goes_on = self.rate.is_some() || self.concurrency.is_some();
        let counts = self.batch.is_some() || self.sequential.is_some();
        let is_bounded = self.requests.is_some() || self.duration.is_some();
        if self.rate.is_some() && !is_bounded {
            return Err("`--rate` needs `--requests` or `--duration`: when it ends".to_owned());
        }
        let is_closed = !counts && self.rate.is_none();
        let unsaid = (is_closed && !is_bounded).then_some(Requests::Each(TIMES));
        let one = (is_closed && !goes_on).then_some(Several::One(1));
        Ok(Load {
            sequential: self.sequential,
            batch: self.batch,
            concurrency: self.concurrency.clone().or(one),
            rate: self.rate.clone(),
            requests: self.requests.or(unsaid),
            duration: self.duration,
            ..Load::default()
        })
    }
}

/// Reads one value as a manifest writes it.
fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(Value::from(text)).map_err(|why| why.to_string())
}

/// Reads one value, or several with commas between them.
fn several<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    if !text.contains(',') {
        return word(text);
    }
    let one = |it: &str| {
        it.trim()
            .parse::<u32>()
            .map_or(Value::from(it.trim()), Value::from)
    };
    let all: Vec<Value> = text.split(',').map(one).collect();
    serde_json::from_value(Value::from(all)).map_err(|why| why.to_string())
}

/// Reads `METRIC=LIMIT,...`.
fn slo(text: &str) -> Result<Slo, String> {
    let nothing = serde_json::from_value::<Slo>(Value::Object(Map::new()));
    let mut slo = nothing.map_err(|why| why.to_string())?;
    for part in text.split(',') {
        let Some((metric, limit)) = part.split_once('=') else {
            return Err("write it as in `ttft=2s,tpot=100ms`".to_owned());
        };
        let time = || {
            limit
                .trim()
                .parse::<Seconds>()
                .map_err(|why| why.to_string())
        };
        match metric.trim() {
            "ttft" => slo.ttft = Some(time()?),
            "tpot" => slo.tpot = Some(time()?),
            "itl_p99" => slo.itl_p99 = Some(time()?),
            "e2el" => slo.e2el = Some(time()?),
            "attainment" => {
                let share = limit.trim().parse::<Percent>();
                slo.attainment = share.map_err(|why| why.to_string())?;
            }
            other => {
                return Err(format!(
                    "`{other}` is none of `ttft`, `tpot`, `itl_p99`, `e2el` and `attainment`"
                ));
            }
        }
    }
    if slo.limits().next().is_none() {
        return Err("it limits nothing: name `ttft`, `tpot`, `itl_p99` or `e2el`".to_owned());
    }
    if slo.attainment.share() > 1.0 {
        return Err("more than all requests cannot be good".to_owned());
    }
    Ok(slo)
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        asked: Asked,
    }

    fn asked(line: &str) -> Result<Measurement, String> {
        let words = std::iter::once("bench").chain(line.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|why| why.to_string())?;
        line.asked.measurement()
    }

    fn load(line: &str) -> Value {
        json!(asked(line).unwrap().load)
    }

    #[test]
    fn flags_say_what_a_manifest_says() {
        let all = asked(
            "--prompt why --prompt how --api chat --rate 2/s --duration 5m --max-tokens 9 \
             --warmup 3 --timeout 10s --slo ttft=2s,attainment=90% --cache allow --natural-length",
        );
        let all = all.unwrap();
        let declared: BenchmarkDeclaration = serde_json::from_value(json!({
            "prompts": {"inline": ["why", "how"]}, "api": "chat",
            "load": {"rate": "2/s", "duration": 300}, "max_tokens": 9, "warmup": 3,
            "timeout": 10, "slo": {"ttft": 2, "attainment": "90%"}, "cache": "allow",
            "sampling": {"ignore_eos": false},
        }))
        .unwrap();
        assert_eq!(
            all,
            declared.meant(&std::collections::BTreeMap::new()).unwrap()
        );
    }

    #[test]
    fn what_is_not_said_is_small() {
        assert_eq!(load(""), json!({"concurrency": 1, "requests": 10}));
        assert_eq!(
            load("--requests 7"),
            json!({"concurrency": 1, "requests": 7})
        );
        assert_eq!(
            load("--concurrency 8"),
            json!({"concurrency": 8, "requests": 80})
        );
        assert_eq!(load("--batch 4"), json!({"batch": 4}));
        assert_eq!(load("--sequential 3"), json!({"sequential": 3}));
        let swept = load("--concurrency 1,8");
        assert_eq!(swept["concurrency"], json!([1, 8]));
        let asked = asked("").unwrap();
        assert_eq!(
            (asked.max_tokens, asked.prompts.inline.map(|it| it.len())),
            (100, Some(8))
        );
    }

    #[test]
    fn prompts_of_a_length_are_drawn_for_completions() {
        let drawn = asked("--input-tokens 64 --batch 2").unwrap();
        assert!(drawn.prompts.synthetic.is_some() && drawn.prompts.inline.is_none());
        let chat = asked("--input-tokens 64 --batch 2 --api chat").unwrap_err();
        assert!(chat.contains("not of a chat"), "{chat}");
    }

    #[test]
    fn what_does_not_go_together_is_told() {
        for (line, expected) in [
            ("--rate 2", "`--rate` needs `--requests` or `--duration`"),
            ("--batch 2 --requests 4", "`batch` takes no `requests`"),
            ("--batch 2 --rate 4", "cannot be used with"),
            (
                "--concurrency 8 --requests 4",
                "4 requests are never 8 in flight",
            ),
            ("--concurrency none", "a whole number"),
            ("--batch 0", "`batch` must be 1 or more"),
            ("--rate fast --requests 2", "invalid value 'fast'"),
            ("--api speech", "unknown variant `speech`"),
            ("--max-tokens 0", "0 is not in 1.."),
            ("--timeout 0", "`--timeout` must be more than 0"),
            ("--timeout soon", "no duration"),
            ("--slo fast", "write it as in"),
            ("--slo ttft=soon", "no duration"),
            ("--slo attainment=90%", "it limits nothing"),
            ("--slo speed=9", "`speed` is none of `ttft`"),
            ("--prompt a --input-tokens 4", "cannot be used with"),
        ] {
            let said = asked(line).unwrap_err();
            assert!(said.contains(expected), "{line}: {said}");
        }
    }
}
