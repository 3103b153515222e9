//! One load of a result: what was asked in it, what came of it, and the same played through.

use std::time::Duration;

use bytes::Bytes;

use super::super::costs;
use super::super::script::{Place, Question};
use super::super::servers::{RehearsedServer, Servers};
use super::engine::MeasuredServer;
use super::played::{Played, Span};
use super::profile::{FittedCell, FittedFigure};
use super::why_not::CannotFit;
use crate::name::InstanceName;
use crate::resource::engine::Profile;
use crate::resource::instance::words_of;
use crate::results::{Point, Record, Summary};
use crate::shape::Shape;
use crate::simulator::{ClocklessEngine, Figure, NoEngine, Pace, Tuning};

/// How far means are off, as a share of them: those to the first token hang on who comes when.
const NOISE: [f64; 2] = [0.05, 0.02];

/// One load.
pub(super) struct Measured<'a> {
    file: String,
    shape: &'a Shape,
    servers: &'a [MeasuredServer],
    /// In the order of sending.
    asked: Vec<Asked>,
    /// Means of the time to the first token and of each one after it, in seconds.
    means: [Option<f64>; 2],
    output_tps: Option<f64>,
    /// The mean number of requests in flight at one server.
    in_flight: f64,
}

/// A request, by its lengths in tokens, and which server it came to.
struct Asked {
    prompt: usize,
    answer: u32,
    server: usize,
}

impl<'a> Measured<'a> {
    /// A load, with its requests.
    pub(super) fn of(
        file: &str,
        point: &'a Point,
        records: &[Record],
        servers: &'a [MeasuredServer],
    ) -> Result<Self, CannotFit> {
        let file = file.to_owned();
        if records.iter().any(|it| it.prefilled_by.is_some()) {
            return Err(CannotFit::Split { file });
        }
        if records
            .iter()
            .any(|it| it.cached.is_some_and(|cached| cached > 0))
        {
            return Err(CannotFit::Cached { file });
        }
        let mut first: Vec<_> = records.iter().filter(|it| it.round == 0).collect();
        first.sort_by_key(|it| it.index);
        let asked = first.iter().filter_map(|record| Asked::of(record, servers));
        let metrics = &point.summary.metrics;
        let seconds = |ms: f64| ms / 1000.0;
        let mean = [&metrics.ttft, &metrics.tpot];
        Ok(Self {
            shape: &point.load,
            asked: asked.collect(),
            means: mean.map(|it| it.as_ref().map(|it| seconds(it.mean))),
            output_tps: metrics.output_tps,
            in_flight: metrics.in_flight.mean / servers.len() as f64,
            servers,
            file,
        })
    }

    /// Whether anything can be fitted to it.
    pub(super) fn is_of_use(&self) -> bool {
        !self.asked.is_empty() && self.means.iter().any(Option::is_some)
    }

    /// How many sequences a step of it has, about, and what such a step takes at most, in milliseconds.
    pub(super) fn step(&self) -> Option<(f64, f64)> {
        Some((self.in_flight.max(1.0).round(), self.means[1]? * 1000.0))
    }

    /// Its figures, simulated at a pace.
    pub(super) fn figures(&self, pace: &Pace) -> Result<Vec<Figure>, CannotFit> {
        let played = self.played(pace)?;
        let simulated = [played.mean(Span::ToFirst), played.mean(Span::EachAfter)];
        let figures = self.means.iter().zip(simulated).zip(NOISE);
        let figures = figures.filter_map(|((measured, simulated), noise)| {
            let (simulated, shares) = simulated?;
            Some(Figure {
                measured: (*measured).filter(|it| *it > 0.0)?,
                simulated,
                shares,
                noise,
            })
        });
        Ok(figures.collect())
    }

    /// How close a pace comes to it.
    pub(super) fn cell(&self, pace: &Pace) -> Result<FittedCell, CannotFit> {
        let played = self.played(pace)?;
        let metrics = Summary::of(self.shape, &played.records).metrics;
        let mean = |span| played.mean(span).map(|(seconds, _)| seconds * 1000.0);
        let milliseconds = |seconds: f64| seconds * 1000.0;
        let figures = [
            (
                "ttft.mean",
                self.means[0].map(milliseconds),
                mean(Span::ToFirst),
            ),
            (
                "tpot.mean",
                self.means[1].map(milliseconds),
                mean(Span::EachAfter),
            ),
            ("output_tps", self.output_tps, metrics.output_tps),
        ];
        let figures = figures
            .into_iter()
            .filter_map(|(metric, measured, simulated)| {
                Some(FittedFigure {
                    metric: metric.to_owned(),
                    measured: measured?,
                    simulated: simulated?,
                })
            });
        let mean_of = |length: &dyn Fn(&Asked) -> f64| {
            self.asked.iter().map(length).sum::<f64>() / self.asked.len() as f64
        };
        Ok(FittedCell {
            result: self.file.clone(),
            load: self.shape.label(),
            input_tokens: mean_of(&|it| it.prompt as f64),
            output_tokens: mean_of(&|it| f64::from(it.answer)),
            figures: figures.collect(),
        })
    }

    pub(super) fn played(&self, pace: &Pace) -> Result<Played, CannotFit> {
        let all = self.servers.iter().map(|server| self.server(server, pace));
        let servers = Servers {
            all: all.collect::<Result<_, _>>()?,
            proxy: None,
        };
        Ok(Played::of(servers, self.shape, &|place| {
            self.question(place)
        }))
    }

    fn server(&self, server: &MeasuredServer, pace: &Pace) -> Result<RehearsedServer, CannotFit> {
        let base = Profile::Gb10Llama8b.name();
        let words = ["serve", "m", "--profile", base].map(str::to_owned);
        // What makes a simulated server faulty, or as fast as it is, is what is looked for here.
        let args = server
            .args
            .iter()
            .filter(|(name, _)| !name.starts_with("sim_"));
        let args = args.flat_map(|(name, value)| words_of(name, value));
        let words: Vec<_> = words.into_iter().chain(args).collect();
        let tuning = Tuning {
            pace: Some(pace.clone()),
            keeps_a_ledger: true,
            prefill: 1.0,
            lease: Duration::ZERO,
            bytes_per_second: None,
        };
        let refused = |why: NoEngine| CannotFit::NotSimulated {
            file: self.file.clone(),
            why: match why {
                NoEngine::Refused(why) => why,
                NoEngine::Faulty(flag) => flag.to_owned(),
            },
        };
        let name: Option<InstanceName> = server.name.parse().ok();
        Ok(RehearsedServer {
            name: name.ok_or_else(|| CannotFit::Unknown {
                file: self.file.clone(),
            })?,
            engine: ClocklessEngine::of(&words, tuning).map_err(refused)?,
            serving: if server.is_simulated {
                costs::SIMULATED_SERVER
            } else {
                costs::VLLM_SERVER
            },
        })
    }

    /// What is asked at a place: as it was, and of more requests than there were, the same from the first.
    fn question(&self, place: Place) -> Question {
        let Asked {
            prompt,
            answer,
            server,
        } = self.asked[place.index as usize % self.asked.len()];
        Question {
            place,
            prompt: vec![7; prompt],
            salt: Some(place.index.to_string()),
            tokens: answer,
            number: place.index,
            body: Bytes::new(),
            server,
        }
    }
}

impl Asked {
    /// What a record tells; nothing of one that failed.
    fn of(record: &Record, servers: &[MeasuredServer]) -> Option<Self> {
        let name = record.instance.as_deref();
        let place = servers.iter().position(|it| Some(it.name.as_str()) == name);
        Some(Self {
            prompt: usize::try_from(record.n_in?).ok()?.max(1),
            answer: u32::try_from(record.n_out?).ok()?.max(1),
            server: place.or((servers.len() == 1).then_some(0))?,
        })
    }
}

#[cfg(test)]
impl Measured<'_> {
    /// Makes it ask prompts and answers of these lengths, in turn, of its only server.
    pub(super) fn ask(&mut self, lengths: &[(u64, u64)]) {
        let asked = lengths.iter().map(|(prompt, answer)| Asked {
            prompt: *prompt as usize,
            answer: *answer as u32,
            server: 0,
        });
        self.asked = asked.collect();
    }
}
