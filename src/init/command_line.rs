//! vLLM's command line, as people have it in a script, a README or `docker run`.

use serde_json::Value;

use super::asked::{Asked, Given, Unreadable, Variable, is_variable, runs_containers};
use super::words::{Word, commands};

/// What one letter, or two, stand for.
const SHORT: [(&str, &str); 6] = [
    ("-tp", "tensor_parallel_size"),
    ("-pp", "pipeline_parallel_size"),
    ("-dp", "data_parallel_size"),
    ("-q", "quantization"),
    ("-O", "compilation_config"),
    ("-cc", "compilation_config"),
];

/// Arguments that have no value. Of others that is seen by what follows them, which does not help where
/// the name of the model follows.
const SWITCHES: [&str; 10] = [
    "async_scheduling",
    "disable_log_requests",
    "disable_log_stats",
    "enable_auto_tool_choice",
    "enable_chunked_prefill",
    "enable_expert_parallel",
    "enable_prefix_caching",
    "enforce_eager",
    "headless",
    "trust_remote_code",
];

/// The program in an image that serves without being named.
const IMAGE: &str = "vllm-openai";

/// Reads a text in which vLLM is started once.
pub(super) fn read(text: &str) -> Result<Asked, Unreadable> {
    let Some(commands) = commands(text) else {
        return Err(Unreadable::new(
            "a quote in it has no end",
            "give the whole command line, in one pair of quotes of the other sort",
        ));
    };
    let mut found = commands
        .iter()
        .filter_map(|words| Some((words, start(words)?)));
    let Some((words, start)) = found.next() else {
        return Err(Unreadable::new(
            "it is neither a recipe of sparkrun nor a command line of vLLM",
            "name a file that is one, or write it out: --from 'vllm serve org/name --max-model-len 4096'",
        ));
    };
    let mut asked = Asked {
        source: "a command line of vLLM".to_owned(),
        ..Asked::default()
    };
    if found.next().is_some() {
        asked
            .left
            .push("vLLM is started more than once in it: this is the first".to_owned());
    }
    before(&mut asked, &words[..start])?;
    arguments(&mut asked, &words[start..])?;
    asked.whole()
}

/// Where the arguments of vLLM begin in a command, if it starts vLLM.
fn start(words: &[Word]) -> Option<usize> {
    let is = |at: usize, text: &str| words.get(at).is_some_and(|word| word.text == text);
    let named = (0..words.len()).find_map(|at| {
        let word = words[at].text.as_str();
        let is_vllm = word == "vllm" || word.ends_with("/vllm");
        let is_server = word.ends_with("openai.api_server");
        (is_vllm && is(at + 1, "serve"))
            .then_some(at + 2)
            .or(is_server.then_some(at + 1))
    });
    let image = || {
        let at = words.iter().position(|word| is_image(&word.text))?;
        words
            .iter()
            .any(|word| runs_containers(&word.text))
            .then_some(at + 1)
    };
    named.or_else(image)
}

fn is_image(word: &str) -> bool {
    let name = word.rsplit('/').next().unwrap_or(word);
    name == IMAGE
        || name.starts_with(&format!("{IMAGE}:"))
        || name.starts_with(&format!("{IMAGE}@"))
}

/// Takes what stands before vLLM's own arguments: variables, and what a container is given.
fn before(asked: &mut Asked, words: &[Word]) -> Result<(), Unreadable> {
    let mut words = words.iter().peekable();
    let mut is_container = false;
    while let Some(word) = words.next() {
        let text = word.text.as_str();
        if is_image(text) {
            asked.image(text);
        } else if matches!(text, "-e" | "--env" | "-p" | "--publish") {
            let Some(value) = words.next() else { continue };
            if text.starts_with("-p") || text.starts_with("--p") {
                // `[ADDRESS:]OUTSIDE:INSIDE`
                asked.port = value.text.rsplit(':').nth(1).and_then(|it| it.parse().ok());
            } else {
                variable(asked, value)?;
            }
        } else if let Some(value) = text.strip_prefix("--env=") {
            let value = Word {
                text: value.to_owned(),
                unfilled: word.unfilled.clone(),
            };
            variable(asked, &value)?;
        } else if runs_containers(text) {
            is_container = true;
        } else if !is_container && is_assignment(text) {
            variable(asked, word)?;
        }
    }
    Ok(())
}

fn is_assignment(text: &str) -> bool {
    text.split_once('=')
        .is_some_and(|(name, _)| is_variable(name))
}

fn variable(asked: &mut Asked, word: &Word) -> Result<(), Unreadable> {
    match word.text.split_once('=') {
        Some((name, value)) if is_variable(name) => {
            asked.set(name, value);
            let is_secret = asked.env.get(name) == Some(&Variable::OfCaller);
            if is_secret { Ok(()) } else { filled(word) }
        }
        // `-e HF_TOKEN` hands on the caller's own.
        None if is_variable(&word.text) => {
            asked.env.insert(word.text.clone(), Variable::OfCaller);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Stops where only a shell knows what a word is.
fn filled(word: &Word) -> Result<(), Unreadable> {
    match &word.unfilled {
        None => Ok(()),
        Some(variable) => Err(Unreadable::new(
            format!("`{variable}` in it is for a shell to fill in"),
            "write what it stands for",
        )),
    }
}

/// Takes vLLM's arguments.
fn arguments(asked: &mut Asked, words: &[Word]) -> Result<(), Unreadable> {
    let mut at = 0;
    while let Some(word) = words.get(at) {
        at += 1;
        if word.text.starts_with(['>', '<']) || word.text.starts_with("2>") {
            break;
        }
        filled(word)?;
        let Some((name, joined)) = flag(&word.text) else {
            if asked.model.is_empty() && !word.text.starts_with('-') {
                asked.model.clone_from(&word.text);
            } else {
                asked
                    .left
                    .push(format!("`{}`: it is no argument by name", word.text));
            }
            continue;
        };
        let mut values: Vec<String> = joined.into_iter().collect();
        let takes_words = values.is_empty() && !SWITCHES.contains(&name.as_str());
        while takes_words && words.get(at).is_some_and(|next| !is_flag(&next.text)) {
            filled(&words[at])?;
            values.push(words[at].text.clone());
            at += 1;
        }
        give(asked, &name, values);
    }
    Ok(())
}

/// The name of an argument as a manifest has it, and the value that is joined to it.
fn flag(word: &str) -> Option<(String, Option<String>)> {
    let (name, value) = match word.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (word, None),
    };
    if let Some(name) = name.strip_prefix("--") {
        return (!name.is_empty()).then(|| (name.replace('-', "_"), value));
    }
    if let Some((_, name)) = SHORT.iter().find(|(short, _)| *short == name) {
        return Some(((*name).to_owned(), value));
    }
    // `-O3`, `-O.level=3`
    let rest = name.strip_prefix("-O").filter(|rest| !rest.is_empty())?;
    match rest.strip_prefix('.') {
        Some(key) => Some((format!("compilation_config.{key}"), value)),
        None => Some(("compilation_config".to_owned(), Some(rest.to_owned()))),
    }
}

/// Whether a word is an argument, and no value: a value may be a negative number.
fn is_flag(word: &str) -> bool {
    let rest = word.strip_prefix('-').unwrap_or_default();
    rest.starts_with(|c: char| !c.is_ascii_digit() && c != '.') || word.starts_with(['>', '<'])
}

fn give(asked: &mut Asked, name: &str, values: Vec<String>) {
    let given = match &values[..] {
        [] => match name.strip_prefix("no_") {
            Some(name) => return asked.take(name, Given::Switch(false)),
            None => Given::Switch(true),
        },
        [one] if one.starts_with(['{', '[']) => match serde_json::from_str::<Value>(one) {
            Ok(value) => Given::Value(value),
            Err(_) => Given::Words(values),
        },
        _ => Given::Words(values),
    };
    asked.take(name, given);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        let asked = read(text).unwrap();
        let args: Vec<_> = asked
            .args
            .iter()
            .map(|(name, given)| format!("{name}: {}", given.written()))
            .collect();
        let env: Vec<_> = asked
            .env
            .iter()
            .map(|(name, it)| format!("{name}={it:?}"))
            .collect();
        format!(
            "{} port {:?} version {:?}\n{}\n{}\n{}",
            asked.model,
            asked.port,
            asked.version,
            args.join("\n"),
            env.join("\n"),
            asked.left.join("\n")
        )
    }

    #[test]
    fn a_command_line_is_read_as_vllm_reads_it() {
        insta::assert_snapshot!(written(
            "VLLM_USE_V1=1 HF_TOKEN=$HF_TOKEN vllm serve --enforce-eager org/name -tp 2 --port=9000 \\\n\
             \t--gpu-memory-utilization 0.90 --no-enable-prefix-caching --host 0.0.0.0 \\\n\
             \t--speculative-config '{\"method\":\"mtp\",\"num_speculative_tokens\":2}' \\\n\
             \t--cudagraph-capture-sizes 1 2 -O3 --trust-remote-code > log 2>&1 &"
        ), @r#"
        org/name port Some(9000) version None
        enforce_eager: true
        tensor_parallel_size: 2
        gpu_memory_utilization: 0.90
        enable_prefix_caching: false
        speculative_config: {method: mtp, num_speculative_tokens: 2}
        cudagraph_capture_sizes: [1, 2]
        compilation_config: 3
        trust_remote_code: true
        VLLM_USE_V1=Plain("1")
        HF_TOKEN=OfCaller
        `host`: a server listens where the proxy dials it
        "#);
    }

    #[test]
    fn a_container_starts_vllm_too() {
        insta::assert_snapshot!(written(
            "docker run --gpus all -p 127.0.0.1:8001:8000 -e HF_TOKEN --env A=b --ipc=host \
             vllm/vllm-openai:v0.20.0 --model org/name --max-model-len 4096"
        ), @r#"
        org/name port Some(8001) version Some("0.20.0")
        max_model_len: 4096
        HF_TOKEN=OfCaller
        A=Plain("b")
        the image `vllm/vllm-openai:v0.20.0`: vLLM is installed into a virtual environment of the node
        "#);
    }

    #[test]
    fn the_module_starts_vllm_too() {
        let asked = read(
            "#!/bin/sh\nset -e\npython3 -m vllm.entrypoints.openai.api_server --model /srv/m --seed -1\n",
        );
        let asked = asked.unwrap();
        assert_eq!(asked.model, "/srv/m");
        assert_eq!(asked.args["seed"].written(), "-1");
    }

    #[test]
    fn what_starts_no_vllm_is_told() {
        for text in [
            "",
            "ollama run llama",
            "vllm bench serve",
            "vllm serve",
            "vllm serve 'org/name",
            "vllm serve $MODEL",
            "vllm serve org/name --max-model-len $(( 1 ))",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
