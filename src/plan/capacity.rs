//! How many of those behind one address serve while a plan is carried out.

use std::fmt;

use serde::Serialize;

/// How many of those that clients reach by one address serve, from the first moment of a plan to its last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Capacity {
    /// As many are declared.
    pub declared: usize,
    /// As many serve, each number another than the one before it.
    pub serving: Vec<usize>,
}

impl Capacity {
    /// As many serve at the worst moment.
    pub fn least(&self) -> usize {
        self.serving.iter().copied().min().unwrap_or_default()
    }

    /// Whether fewer serve at some moment than do before anything is done.
    pub fn dips(&self) -> bool {
        self.serving
            .first()
            .is_some_and(|first| self.least() < *first)
    }
}

/// `2/2 -> 1/2 -> 2/2`: what comes about again and again is told once.
impl fmt::Display for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told: Vec<usize> = Vec::new();
        for now in &self.serving {
            if told.len() >= 3
                && told[told.len() - 2] == *now
                && told.last() == told.get(told.len() - 3)
            {
                told.pop();
            } else {
                told.push(*now);
            }
        }
        let told: Vec<String> = told
            .iter()
            .map(|serving| format!("{serving}/{}", self.declared))
            .collect();
        f.write_str(&told.join(" -> "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(serving: &[usize]) -> String {
        let capacity = Capacity {
            declared: 3,
            serving: serving.to_vec(),
        };
        capacity.to_string()
    }

    #[test]
    fn turns_that_are_alike_are_told_once() {
        assert_eq!(told(&[3]), "3/3");
        assert_eq!(told(&[3, 2, 3]), "3/3 -> 2/3 -> 3/3");
        assert_eq!(told(&[3, 2, 3, 2, 3, 2, 3]), "3/3 -> 2/3 -> 3/3");
        assert_eq!(
            told(&[3, 2, 3, 1, 2, 3]),
            "3/3 -> 2/3 -> 3/3 -> 1/3 -> 2/3 -> 3/3"
        );
        assert_eq!(told(&[2, 1, 2, 3, 2, 3]), "2/3 -> 1/3 -> 2/3 -> 3/3");
    }
}
