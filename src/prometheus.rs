//! A page of metrics in the text format of Prometheus, as far as we read it: what a name stands at,
//! whatever its labels, and a histogram by its bounds. <https://prometheus.io/docs/instrumenting/exposition_formats/>

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A page of metrics: each name with the sum over all of its labels.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page(HashMap<String, f64>);

impl Page {
    /// Reads a page. A line that is none of its format says nothing.
    pub fn read(text: &str) -> Self {
        let mut sums = HashMap::new();
        for (name, value) in text.lines().filter_map(sample) {
            if let Some(sum) = sums.get_mut(name) {
                *sum += value;
            } else {
                sums.insert(name.to_owned(), value);
            }
        }
        Self(sums)
    }

    /// What a name stands at, all of its labels together; nothing where the page does not have it.
    pub fn sum(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    /// What the first of these names that the page has stands at: versions call one thing otherwise.
    pub fn first(&self, names: &[&str]) -> Option<f64> {
        names.iter().find_map(|name| self.sum(name))
    }
}

/// Its sums as a page has them, a line each: values that are no numbers stay what they are.
impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sorted: BTreeMap<_, _> = self.0.iter().collect();
        for (name, value) in sorted {
            writeln!(f, "{name} {value}")?;
        }
        Ok(())
    }
}

impl Serialize for Page {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Page {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        Ok(Self::read(&String::deserialize(input)?))
    }
}

/// A histogram of a page, all labels but that of its bounds together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Histogram {
    /// How many were at most each bound, the lowest first; what lies beyond the last is in `count` alone.
    pub at_most: Vec<(f64, u64)>,
    /// How many there were.
    pub count: u64,
    /// What they came to.
    pub sum: f64,
}

impl Histogram {
    /// Reads a histogram of a page; nothing where the page does not have it.
    pub fn read(text: &str, name: &str) -> Option<Self> {
        let buckets = text.lines().filter_map(|line| {
            let labels = line.strip_prefix(name)?.strip_prefix("_bucket{")?;
            let (_, bound) = labels.split_once("le=\"")?;
            let bound: f64 = bound.split('"').next()?.parse().ok()?;
            Some((bound, sample(line)?.1 as u64))
        });
        let mut at_most: Vec<(f64, u64)> = Vec::new();
        for (bound, count) in buckets.filter(|(bound, _)| bound.is_finite()) {
            match at_most.iter_mut().find(|(known, _)| is(*known, bound)) {
                Some((_, sum)) => *sum += count,
                None => at_most.push((bound, count)),
            }
        }
        at_most.sort_by(|one, other| one.0.total_cmp(&other.0));
        let page = Page::read(text);
        Some(Self {
            at_most,
            count: page.sum(&format!("{name}_count"))? as u64,
            sum: page.sum(&format!("{name}_sum"))?,
        })
    }

    /// What was added since it stood so; nothing where it began anew.
    pub fn since(&self, before: &Self) -> Option<Self> {
        let then = |bound: f64| before.at_most.iter().find(|(it, _)| is(*it, bound));
        let grown = self.at_most.iter().map(|(bound, count)| {
            let then = then(*bound).map_or(0, |(_, count)| *count);
            Some((*bound, count.checked_sub(then)?))
        });
        Some(Self {
            at_most: grown.collect::<Option<_>>()?,
            count: self.count.checked_sub(before.count)?,
            sum: self.sum - before.sum,
        })
    }
}

/// Whether two bounds are one: they are written, and never computed.
fn is(bound: f64, other: f64) -> bool {
    bound.total_cmp(&other).is_eq()
}

/// A line's name and value; what stands after the value is a time.
fn sample(line: &str) -> Option<(&str, f64)> {
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(end);
    let value = match rest.strip_prefix('{') {
        // A label's value may hold a brace; what follows the last one is the value.
        Some(labelled) => labelled.rsplit_once('}')?.1,
        None => rest,
    };
    let value = value.split_whitespace().next()?.parse().ok()?;
    (!name.is_empty() && name != "#").then_some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_by_whole_names() {
        let page = Page::read(
            "# HELP vllm:generation_tokens_total x 3\n\
             # TYPE vllm:generation_tokens_total counter\n\
             vllm:num_requests_running{engine=\"0\",model_name=\"a b} c\"} 2.0\n\
             vllm:num_requests_running{engine=\"1\",model_name=\"a b\"} 1.0\n\
             vllm:generation_tokens_total_more{engine=\"0\"} 70.0\n\
             vllm:prompt_tokens_total 5\n\
             vllm:e2e_seconds_sum{engine=\"0\"} 1.5e-3 1700000000000\n\
             no value\n",
        );
        assert_eq!(page.sum("vllm:num_requests_running"), Some(3.0));
        assert_eq!(page.sum("vllm:prompt_tokens_total"), Some(5.0));
        assert_eq!(page.sum("vllm:e2e_seconds_sum"), Some(0.0015));
        assert_eq!(page.sum("vllm:generation_tokens_total"), None);
        let renamed = ["vllm:gpu_cache_usage_perc", "vllm:prompt_tokens_total"];
        assert_eq!(page.first(&renamed), Some(5.0));
        assert_eq!(Page::read("<html>\n\n"), Page::default());
    }

    #[test]
    fn a_histogram_is_read_by_its_bounds() {
        let text = "h_bucket{le=\"0.5\",x=\"a\"} 1\nh_bucket{le=\"2e-5\"} 1\nh_bucket{x=\"b\",le=\"0.5\"} 2\n\
                    h_bucket{le=\"+Inf\"} 9\nh_sum 4.5\nh_count 9\nother_bucket{le=\"0.5\"} 7\n";
        let seen = Histogram::read(text, "h").unwrap();
        assert_eq!(seen.at_most, [(0.000_02, 1), (0.5, 3)]);
        assert_eq!((seen.count, seen.sum), (9, 4.5));
        assert_eq!(Histogram::read(text, "g"), None);
        let grown = seen.since(&Histogram::default()).unwrap();
        assert_eq!(grown, seen);
        assert_eq!(Histogram::default().since(&seen), None);
    }

    #[test]
    fn a_page_travels_as_its_sums() {
        let page = Page::read("a{x=\"1\"} 0.1\na{x=\"2\"} 0.2\nb +Inf\nc 1e300\n");
        let written = serde_json::to_string(&page).unwrap();
        assert_eq!(
            written,
            "\"a 0.30000000000000004\\nb inf\\nc 1".to_owned() + &"0".repeat(300) + "\\n\""
        );
        assert_eq!(serde_json::from_str::<Page>(&written).unwrap(), page);
        let nan = Page::read("d NaN\n");
        let back: Page = serde_json::from_value(serde_json::json!(nan)).unwrap();
        assert!(back.sum("d").unwrap().is_nan());
    }
}
