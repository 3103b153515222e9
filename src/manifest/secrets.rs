//! What in a manifest's text is a secret that nobody should see, in whatever else is wrong with it:
//! a text that cannot be read yet can only be looked at.

use std::ops::Range;

/// The last words of names that stand for secrets.
const ENDS: [&str; 6] = [
    "TOKEN",
    "API_KEY",
    "ACCESS_KEY",
    "SECRET",
    "PASSWORD",
    "CREDENTIALS",
];

/// Whether a variable or a key of this name holds a secret: `HF_TOKEN`, `api_key`.
pub(crate) fn is_name_of_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase().replace('-', "_");
    let ends_so = |end: &&str| {
        let before = name.strip_suffix(*end);
        before.is_some_and(|before| before.is_empty() || before.ends_with('_'))
    };
    ENDS.iter().any(ends_so) || name.contains("SECRET_")
}

/// The bytes of a text that are secrets: logins in URLs, and what stands behind names of secrets.
pub(super) fn secrets(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let placed = |range: Range<usize>| range.start + start..range.end + start;
        found.extend(logins(line).into_iter().map(placed));
        found.extend(values(line).into_iter().map(placed));
        start += line.len();
    }
    found
}

/// What stands between `://` and `@`.
fn logins(line: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (at, scheme) in line.match_indices("://") {
        let begin = at + scheme.len();
        let host = line[begin..].split(['/', ' ', '"', '\'', ',']).next();
        let login = host.and_then(|host| Some(&host[..host.rfind('@')?]));
        // Who logs in by SSH is no secret; of an index, a login may be a token and nothing else.
        let is_secret = |login: &&str| login.contains(':') || !line[..at].ends_with("ssh");
        if let Some(login) = login.filter(is_secret) {
            found.push(begin..begin + login.len());
        }
    }
    found
}

/// What stands behind each name of a secret, and is not `{from_env: NAME}`.
fn values(line: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (colon, _) in line.match_indices(':') {
        let name = line[..colon].trim_end().trim_end_matches(['"', '\'']);
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let name = name
            .rsplit(|c: char| !is_part(c))
            .next()
            .unwrap_or_default();
        if !is_name_of_secret(name) {
            continue;
        }
        let rest = &line[colon + 1..];
        let begin = colon + 1 + (rest.len() - rest.trim_start().len());
        let length = value_length(line[begin..].trim_end());
        if length > 0 {
            found.push(begin..begin + length);
        }
    }
    found
}

/// How long the value is that a text begins with; 0 where it is not a secret itself.
fn value_length(text: &str) -> usize {
    let Some(first) = text.chars().next() else {
        return 0;
    };
    match first {
        '{' if text.contains("from_env") => 0,
        // What it refers to stands elsewhere, and so does what a block is made of.
        '*' | '&' | '|' | '>' | '#' => 0,
        '"' | '\'' => text[1..].find(first).map_or(text.len(), |end| end + 2),
        '[' => text.find(']').map_or(text.len(), |end| end + 1),
        '{' => text.find('}').map_or(text.len(), |end| end + 1),
        _ => {
            let ends = [text.find(", "), text.find('}'), text.find(" #")];
            ends.into_iter().flatten().min().unwrap_or(text.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(text: &str) -> String {
        let mut text = text.to_owned();
        for secret in secrets(&text) {
            let stars = "*".repeat(secret.len());
            text.replace_range(secret, &stars);
        }
        text
    }

    #[test]
    fn secrets_are_found_wherever_they_stand() {
        for (text, wanted) in [
            (
                "extra_indexes: [https://me:hush@host/simple, x]",
                "extra_indexes: [https://*******@host/simple, x]",
            ),
            ("url: \"http://hush@host\"", "url: \"http://****@host\""),
            (
                "env: {HF_TOKEN: hush, CUDA_HOME: /x}",
                "env: {HF_TOKEN: ****, CUDA_HOME: /x}",
            ),
            (
                "env: {'HF_TOKEN': 'hu}sh', A: b}",
                "env: {'HF_TOKEN': *******, A: b}",
            ),
            ("  MY_API_KEY: hush # mine\n", "  MY_API_KEY: **** # mine\n"),
            (
                "args: {api-key: [hush, hush]}",
                "args: {api-key: ************}",
            ),
            ("HF_TOKEN : hush\r\nA: b", "HF_TOKEN : ****\r\nA: b"),
        ] {
            assert_eq!(masked(text), wanted);
        }
    }

    #[test]
    fn what_is_none_is_shown() {
        for text in [
            "token: {from_env: HF_TOKEN}",
            "max_tokens: 100",
            "ssh: nvidia@192.168.1.76",
            "extra_indexes: [https://wheels.vllm.ai/0.13.0/cu130]",
            "https://host/a@b",
            "{ssh: 'ssh://me@host'}",
            "HF_TOKEN:",
            "é: ü",
        ] {
            assert_eq!(masked(text), text);
        }
    }
}
