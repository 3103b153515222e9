//! The physics by which figures come out as they were measured, by least squares of their ratios.
//!
//! The time of a step is a sum in which each unknown stands so many times, and so is any time that was
//! simulated, as long as the same steps happen. So the unknowns are solved for, what happens is simulated
//! anew with them, and so on until nothing moves.
//!
//! What the figures do not tell stays as it is by default: a term that they leave uncertain to a seventh
//! is held to what it would be of a GB10, beside what is known, and the rest is solved for again.

use crate::simulator::ledger::add;
use crate::simulator::physics::Pace;

/// A time that was measured, and the same as it was simulated, in seconds.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    pub(crate) measured: f64,
    pub(crate) simulated: f64,
    /// How often each unknown stands in what was simulated.
    pub(crate) shares: Vec<f64>,
    /// How far a measurement of it is off, as a share of it.
    pub(crate) noise: f64,
}

/// A term beside the steps themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Term {
    /// Reading a token of the KV cache.
    Context,
    /// Computing a token of a prompt.
    Prompt,
    /// The attention of a token of a prompt to another.
    Attention,
}

/// Physics that was fitted.
#[derive(Debug, Clone)]
pub(crate) struct Fitted {
    pub(crate) pace: Pace,
    /// How far each of the unknowns may be off that were told, as a share of it: those of a step first.
    pub(crate) uncertain: Vec<Option<f64>>,
    /// The terms that the figures do not tell.
    pub(crate) untold: Vec<Term>,
}

/// How uncertain a term may be, as a share of it (one standard deviation), and still be told.
const TOLD: f64 = 0.15;
/// How far off an unknown may be from where it begins, as the logarithm of their ratio: a factor of 12 is
/// two of these.
const BEGINS_WITHIN: f64 = 1.25;
/// How often the steps are simulated anew at most, and how little is nothing.
const ROUNDS: usize = 12;
const SETTLED: f64 = 0.002;

/// Fits what `simulate` is told to what it says was measured, from `begin` on.
pub(crate) fn fit(
    begin: &Pace,
    default: &Pace,
    simulate: &mut dyn FnMut(&Pace) -> Vec<Figure>,
) -> Fitted {
    let mut told = vec![Term::Context, Term::Prompt, Term::Attention];
    let mut begin = begin.clone();
    loop {
        let groups = Groups::of(&begin, &told);
        let solved = groups.solve(&held(&begin, default, &told), simulate);
        let uncertain = |term: &Term| groups.uncertainty_of(&solved, *term);
        let worst = told.iter().copied().max_by(|a, b| {
            let (a, b) = (uncertain(a), uncertain(b));
            a.total_cmp(&b)
        });
        match worst.filter(|term| uncertain(term) > TOLD) {
            Some(worst) => told.retain(|term| *term != worst),
            None => return groups.fitted(&solved, &told),
        }
        begin.step_ms = solved.pace.step_ms;
    }
}

/// The physics to begin with: of what is not told, what it is by default beside what is.
fn held(begin: &Pace, default: &Pace, told: &[Term]) -> Pace {
    let is_told = |term| told.contains(&term);
    let beside_steps = default.token_read / default.milliseconds(1.0);
    let mut pace = begin.clone();
    if !is_told(Term::Context) {
        pace.token_read = pace.step_ms[0].1 * beside_steps;
    }
    if !is_told(Term::Prompt) {
        pace.prompt_token = default.prompt_token;
    }
    if !is_told(Term::Attention) {
        pace.pair = pace.prompt_token * default.pair / default.prompt_token;
    }
    pace
}

/// Which unknowns move together.
struct Groups {
    /// Of each unknown its group; nothing of one that is held.
    of: Vec<Option<usize>>,
    count: usize,
    points: usize,
}

/// The unknowns that fit best, so far.
struct Solved {
    pace: Pace,
    /// How uncertain each group is, if the figures are off by their noise alone.
    uncertain: Vec<f64>,
    /// By how much more they are off.
    excess: f64,
    cost: f64,
}

impl Groups {
    fn of(pace: &Pace, told: &[Term]) -> Self {
        let points = pace.step_ms.len();
        let mut of: Vec<_> = (0..points).map(Some).collect();
        let mut groups = points;
        let mut own = || {
            groups += 1;
            Some(groups - 1)
        };
        let mut is_told = |term| told.contains(&term).then(&mut own).flatten();
        let context = is_told(Term::Context).or(Some(0));
        let prompt = is_told(Term::Prompt);
        let attention = is_told(Term::Attention).or(prompt);
        of.extend([context, prompt, attention]);
        Self {
            of,
            count: groups,
            points,
        }
    }

    fn place(&self, term: Term) -> usize {
        self.points + term as usize
    }

    fn uncertainty_of(&self, solved: &Solved, term: Term) -> f64 {
        let group = self.of[self.place(term)];
        group.map_or(0.0, |group| solved.uncertain[group])
    }

    fn solve(&self, begin: &Pace, simulate: &mut dyn FnMut(&Pace) -> Vec<Figure>) -> Solved {
        let unknowns = begin.unknowns();
        let mut moved: Vec<f64> = vec![0.0; self.count];
        let mut best: Option<Solved> = None;
        for _ in 0..ROUNDS {
            let factors = self
                .of
                .iter()
                .map(|group| group.map_or(0.0, |it| moved[it]));
            let values = factors.zip(&unknowns).map(|(moved, it)| moved.exp() * it);
            let values: Vec<f64> = values.collect();
            let pace = begin.with_unknowns(&values);
            let figures = simulate(&pace);
            let normal = Normal::of(self, &figures, &values, &moved);
            let step = normal.step();
            if best.as_ref().is_none_or(|best| normal.cost < best.cost) {
                best = Some(Solved {
                    pace,
                    uncertain: normal.uncertain(),
                    excess: normal.excess(figures.len()),
                    cost: normal.cost,
                });
            }
            if step.iter().all(|step| step.abs() < SETTLED) {
                break;
            }
            add(&mut moved, &step, 1.0);
        }
        best.unwrap_or_else(|| Solved {
            pace: begin.clone(),
            uncertain: vec![f64::INFINITY; self.count],
            excess: 1.0,
            cost: f64::INFINITY,
        })
    }

    fn fitted(&self, solved: &Solved, told: &[Term]) -> Fitted {
        let all = [Term::Context, Term::Prompt, Term::Attention];
        let is_told = |term: &Term| told.contains(term);
        let terms = all.iter().map(|term| {
            let uncertainty = self.uncertainty_of(solved, *term) * solved.excess;
            is_told(term).then_some(uncertainty)
        });
        let points = solved.uncertain[..self.points].iter();
        let points = points.map(|it| Some(it * solved.excess));
        Fitted {
            pace: solved.pace.clone(),
            uncertain: points.chain(terms).collect(),
            untold: all.into_iter().filter(|term| !is_told(term)).collect(),
        }
    }
}

/// The normal equations of one round.
struct Normal {
    matrix: Vec<Vec<f64>>,
    right: Vec<f64>,
    /// How far off all is, that which it begins with among it.
    cost: f64,
    /// How far off the figures are, as squares of what they may be.
    misfit: f64,
}

impl Normal {
    fn of(groups: &Groups, figures: &[Figure], values: &[f64], moved: &[f64]) -> Self {
        let prior = BEGINS_WITHIN.powi(-2);
        let mut normal = Self {
            matrix: vec![vec![0.0; groups.count]; groups.count],
            right: moved.iter().map(|moved| -moved * prior).collect(),
            cost: moved.iter().map(|moved| moved * moved * prior).sum(),
            misfit: 0.0,
        };
        for (place, row) in normal.matrix.iter_mut().enumerate() {
            row[place] = prior;
        }
        for figure in figures {
            normal.take(groups, figure, values);
        }
        normal
    }

    fn take(&mut self, groups: &Groups, figure: &Figure, values: &[f64]) {
        let mut slopes = vec![0.0; groups.count];
        let addends = figure.shares.iter().zip(values);
        for (group, (share, value)) in groups.of.iter().zip(addends) {
            if let Some(group) = group {
                slopes[*group] += share * value / figure.simulated / figure.noise;
            }
        }
        let missing = (figure.measured / figure.simulated).ln() / figure.noise;
        self.cost += missing * missing;
        self.misfit += missing * missing;
        add(&mut self.right, &slopes, missing);
        for (row, slope) in self.matrix.iter_mut().zip(&slopes) {
            add(row, &slopes, *slope);
        }
    }

    /// By how much each group is to move, as a logarithm; not by more than a factor of two at once.
    fn step(&self) -> Vec<f64> {
        let inverse = inverse(&self.matrix);
        let product = |row: &Vec<f64>| row.iter().zip(&self.right).map(|(a, b)| a * b).sum::<f64>();
        let step = inverse.iter().map(product);
        step.map(|step| step.clamp(-0.7, 0.7)).collect()
    }

    /// How uncertain each group is, if figures are off by their noise alone.
    fn uncertain(&self) -> Vec<f64> {
        let inverse = inverse(&self.matrix);
        let variances = inverse.iter().enumerate().map(|(place, row)| row[place]);
        variances.map(f64::sqrt).collect()
    }

    /// How many times as far off as their noise the figures are, and all of it is so much more uncertain.
    fn excess(&self, figures: usize) -> f64 {
        let free = figures.saturating_sub(self.right.len()).max(1);
        (self.misfit / free as f64).max(1.0).sqrt()
    }
}

/// The inverse of a positive definite matrix, by Gauss and Jordan.
fn inverse(matrix: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let size = matrix.len();
    let unit = |place: usize| (0..size).map(move |at| f64::from(u8::from(at == place)));
    let mut rows: Vec<Vec<f64>> = matrix
        .iter()
        .enumerate()
        .map(|(place, row)| row.iter().copied().chain(unit(place)).collect())
        .collect();
    for place in 0..size {
        let pivot = rows[place][place];
        rows[place].iter_mut().for_each(|it| *it /= pivot);
        let row = rows[place].clone();
        for other in (0..size).filter(|other| *other != place) {
            let times = rows[other][place];
            add(&mut rows[other], &row, -times);
        }
    }
    rows.into_iter().map(|row| row[size..].to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::simulator::physics::Step;

    const DEFAULT: Pace = Pace {
        step_ms: Cow::Borrowed(&[(1.0, 67.0), (64.0, 100.0)]),
        token_read: 6e-7,
        prompt_token: 3.3e-4,
        pair: 1.2e-8,
    };

    const TRUE: Pace = Pace {
        step_ms: Cow::Borrowed(&[(1.0, 20.0), (64.0, 31.0)]),
        token_read: 1e-7,
        prompt_token: 5e-5,
        pair: 4e-9,
    };

    /// Times of single steps: decoding of so many sequences with so much context, and whole prompts.
    fn figures(steps: &[Step]) -> impl FnMut(&Pace) -> Vec<Figure> {
        move |pace| {
            let steps = steps.iter();
            let figure = |step| Figure {
                measured: TRUE.time(step).as_secs_f64(),
                simulated: pace.time(step).as_secs_f64(),
                shares: pace.shares(step),
                noise: 0.02,
            };
            steps.map(figure).collect()
        }
    }

    fn decoding(sequences: usize, context: usize) -> Step {
        let mut step = Step::default();
        (0..sequences).for_each(|_| step.decode(context));
        step
    }

    fn reading(tokens: usize) -> Step {
        let mut step = Step::default();
        step.prefill(0, tokens);
        step
    }

    fn is_about(one: f64, other: f64) -> bool {
        (one / other).ln().abs() < 0.02
    }

    #[test]
    fn all_is_found_where_the_figures_tell_all() {
        let mut steps = vec![
            reading(500),
            reading(4000),
            reading(16_000),
            reading(60_000),
        ];
        for sequences in [1, 8, 64] {
            steps.extend([10, 4000, 20_000].map(|context| decoding(sequences, context)));
        }
        let fitted = fit(&DEFAULT, &DEFAULT, &mut figures(&steps));
        assert_eq!(fitted.untold, []);
        let found = fitted.pace.unknowns();
        let pairs = found.iter().zip(TRUE.unknowns());
        assert!(
            pairs.into_iter().all(|(a, b)| is_about(*a, b)),
            "{:?}",
            fitted.pace
        );
    }

    /// Short prompts and short answers: what remains is what it would be of a GB10 beside these steps.
    #[test]
    fn what_the_figures_do_not_tell_stays_as_it_is_by_default() {
        let steps = [decoding(1, 20), decoding(8, 20), decoding(64, 20)];
        let fitted = fit(&DEFAULT, &DEFAULT, &mut figures(&steps));
        assert_eq!(
            fitted.untold,
            [Term::Context, Term::Prompt, Term::Attention]
        );
        let Pace {
            step_ms,
            token_read,
            prompt_token,
            pair,
        } = fitted.pace;
        assert!(
            is_about(step_ms[0].1, 20.0) && is_about(step_ms[1].1, 31.0),
            "{step_ms:?}"
        );
        assert!(is_about(token_read, 6e-7 * 20.0 / 67.0), "{token_read}");
        assert!(is_about(prompt_token, 3.3e-4) && is_about(pair, 1.2e-8));
    }

    /// Prompts of one length tell their tokens and their pairs together alone.
    #[test]
    fn one_length_of_prompts_tells_their_speed_and_not_their_attention() {
        let steps = [decoding(1, 20), decoding(64, 20), reading(2000)];
        let fitted = fit(&DEFAULT, &DEFAULT, &mut figures(&steps));
        assert_eq!(fitted.untold, [Term::Context, Term::Attention]);
        let (found, meant) = (fitted.pace.time(&steps[2]), TRUE.time(&steps[2]));
        assert!(is_about(found.as_secs_f64(), meant.as_secs_f64()));
    }
}
