//! The formats of published traces.

use std::time::Duration;

use jiff::civil::DateTime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::trace_file::TraceRequest;

/// How the file of a trace is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Mooncake's JSON lines: `{timestamp, input_length, output_length, hash_ids}`, in milliseconds.
    Mooncake,
    /// Azure's CSV: `TIMESTAMP,ContextTokens,GeneratedTokens`.
    Azure,
    /// BurstGPT's CSV: `Timestamp,Model,Request tokens,Response tokens,…`, in seconds. A request that
    /// had no response failed then, and is left out.
    Burstgpt,
}

#[derive(Deserialize)]
struct MooncakeLine {
    timestamp: f64,
    input_length: u32,
    output_length: u32,
    #[serde(default)]
    hash_ids: Vec<u64>,
}

impl Format {
    /// What a file of it has.
    pub(super) fn needs(self) -> &'static str {
        match self {
            Self::Mooncake => {
                "a JSON object a line, with `timestamp`, `input_length`, `output_length`"
            }
            Self::Azure => "the columns `TIMESTAMP`, `ContextTokens`, `GeneratedTokens`",
            Self::Burstgpt => "the columns `Timestamp`, `Request tokens`, `Response tokens`",
        }
    }

    /// Reads a file: its requests in the order of their times, from the first one.
    pub(super) fn read(self, text: &str) -> Result<Vec<TraceRequest>, String> {
        let mut requests = match self {
            Self::Mooncake => mooncake(text)?,
            Self::Azure => {
                let columns = ["TIMESTAMP", "ContextTokens", "GeneratedTokens"];
                table(text, columns, moment)?
            }
            Self::Burstgpt => {
                let columns = ["Timestamp", "Request tokens", "Response tokens"];
                let mut requests = table(text, columns, |text| text.parse().ok())?;
                requests.retain(|(_, request)| request.output > 0);
                requests
            }
        };
        requests.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        let Some(first) = requests.first().map(|(at, _)| *at) else {
            return Err("it has no requests".to_owned());
        };
        let since = |(at, request)| {
            let at = Duration::try_from_secs_f64(at - first).unwrap_or_default();
            TraceRequest { at, ..request }
        };
        Ok(requests.into_iter().map(since).collect())
    }
}

/// Requests with their times in seconds.
type Timed = Vec<(f64, TraceRequest)>;

fn request(input: u32, output: u32, blocks: Vec<u64>) -> TraceRequest {
    TraceRequest {
        at: Duration::ZERO,
        input,
        output,
        blocks,
    }
}

fn mooncake(text: &str) -> Result<Timed, String> {
    let lines = text.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| {
            let line: MooncakeLine = serde_json::from_str(line)
                .map_err(|error| format!("line {}: {error}", number + 1))?;
            let request = request(line.input_length, line.output_length, line.hash_ids);
            Ok((line.timestamp / 1000.0, request))
        })
        .collect()
}

/// Reads a table by the names of its columns: a time, and the tokens of prompt and answer.
fn table(
    text: &str,
    columns: [&str; 3],
    time: impl Fn(&str) -> Option<f64>,
) -> Result<Timed, String> {
    let mut lines = text.trim_start_matches('\u{feff}').lines().enumerate();
    let (_, heading) = lines.next().ok_or("it is empty")?;
    let names: Vec<&str> = heading.split(',').map(str::trim).collect();
    let place = |wanted: &str| {
        let place = names.iter().position(|name| *name == wanted);
        place.ok_or_else(|| format!("it has no column `{wanted}`"))
    };
    let places = [place(columns[0])?, place(columns[1])?, place(columns[2])?];
    let mut requests = Timed::new();
    for (number, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        let [at, input, output] = places.map(|place| cells.get(place).copied());
        let read = at.and_then(&time).zip(tokens(input)).zip(tokens(output));
        let Some(((at, input), output)) = read else {
            return Err(format!("line {} cannot be read", number + 1));
        };
        requests.push((at, request(input, output, Vec::new())));
    }
    Ok(requests)
}

/// A number of tokens; some tables write them with a fraction of nothing.
fn tokens(text: Option<&str>) -> Option<u32> {
    let text = text?;
    text.strip_suffix(".0").unwrap_or(text).parse().ok()
}

/// A time of Azure's, in seconds since 1970; only differences count.
fn moment(text: &str) -> Option<f64> {
    let text = text.trim_end_matches('Z').trim_end_matches("+00:00");
    let time: DateTime = text.parse().ok()?;
    let since = time.duration_since(DateTime::constant(1970, 1, 1, 0, 0, 0, 0));
    Some(since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(format: Format, text: &str) -> Vec<(f64, u32, u32)> {
        let requests = format.read(text).unwrap().into_iter();
        requests
            .map(|it| (it.at.as_secs_f64(), it.input, it.output))
            .collect()
    }

    #[test]
    fn every_format_gives_moments_and_lengths() {
        let mooncake = "{\"timestamp\": 27482, \"input_length\": 6955, \"output_length\": 52, \
                        \"hash_ids\": [46, 47]}\n\n{\"timestamp\": 30535, \"input_length\": 6472, \
                        \"output_length\": 26, \"hash_ids\": [46]}\n";
        assert_eq!(
            seen(Format::Mooncake, mooncake),
            [(0.0, 6955, 52), (3.053, 6472, 26)]
        );
        assert_eq!(Format::Mooncake.read(mooncake).unwrap()[0].blocks, [46, 47]);
        let azure = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n\
                     2023-11-16 18:15:46.6805900,374,44\r\n2023-11-16 18:15:50.9951690,396,109\r\n";
        let read = seen(Format::Azure, azure);
        assert_eq!((read[0].1, read[1].2), (374, 109));
        assert!((read[1].0 - 4.314_579).abs() < 1e-6);
        let later =
            "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:00.009930+00:00,1,2\n";
        assert_eq!(seen(Format::Azure, later), [(0.0, 1, 2)]);
        let burstgpt = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n\
                        45.0,ChatGPT,466,0,466,API log\n5,ChatGPT,472,18,490,Conversation log\n\
                        118.0,ChatGPT,1087,230.0,1317,API log\n";
        assert_eq!(
            seen(Format::Burstgpt, burstgpt),
            [(0.0, 472, 18), (113.0, 1087, 230)]
        );
    }

    #[test]
    fn what_is_no_trace_says_where() {
        let why = |format: Format, text: &str| format.read(text).unwrap_err();
        assert_eq!(why(Format::Azure, ""), "it is empty");
        assert_eq!(
            why(Format::Azure, "a,b\n1,2\n"),
            "it has no column `TIMESTAMP`"
        );
        assert!(why(Format::Mooncake, "{}\n").starts_with("line 1: missing field"));
        assert_eq!(
            why(
                Format::Burstgpt,
                "Timestamp,Request tokens,Response tokens\n1,2\n"
            ),
            "line 2 cannot be read"
        );
        assert_eq!(why(Format::Mooncake, "\n"), "it has no requests");
    }
}
