//! Marks of a drawing that are told apart by their form, whatever the colours are.

use super::super::chart::MOST_SERIES;
use super::super::markup::{Markup, length};

/// The form of a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Circle,
    Square,
    Up,
    Diamond,
    Down,
    Ring,
}

/// The forms by which arms are told apart; the colours, of which there are more, do the rest.
const OF_ARMS: [Form; 6] = [
    Form::Circle,
    Form::Square,
    Form::Up,
    Form::Diamond,
    Form::Down,
    Form::Ring,
];

impl Form {
    /// The form of an arm, by its number.
    pub(super) fn of_arm(number: usize) -> Self {
        OF_ARMS[number % OF_ARMS.len()]
    }

    /// Draws it about a place.
    pub(super) fn draw(self, out: &mut Markup, x: f64, y: f64) {
        let corners: &[(f64, f64)] = match self {
            Self::Circle | Self::Ring => {
                let class = if self == Self::Ring {
                    "mark ring"
                } else {
                    "mark"
                };
                let (cx, cy) = (length(x), length(y));
                let place = [("class", class), ("cx", &cx), ("cy", &cy), ("r", "4")];
                return out.shape("circle", &place);
            }
            Self::Square => &[(-3.7, -3.7), (3.7, -3.7), (3.7, 3.7), (-3.7, 3.7)],
            Self::Up => &[(0.0, -5.0), (5.0, 4.0), (-5.0, 4.0)],
            Self::Down => &[(0.0, 5.0), (5.0, -4.0), (-5.0, -4.0)],
            Self::Diamond => &[(0.0, -5.5), (5.5, 0.0), (0.0, 5.5), (-5.5, 0.0)],
        };
        let places = corners
            .iter()
            .map(|(right, down)| format!("{},{}", length(x + right), length(y + down)));
        let places: Vec<String> = places.collect();
        out.shape(
            "polygon",
            &[("class", "mark"), ("points", &places.join(" "))],
        );
    }
}

/// The class that colours an arm.
pub(super) fn class_of_arm(number: usize) -> String {
    format!("s{}", number % MOST_SERIES)
}

/// Which mark is of which arm.
pub(super) fn legend(out: &mut Markup, arms: &[&str]) {
    out.element("ul", &[("class", "legend")], |out| {
        for (number, arm) in arms.iter().enumerate() {
            out.element("li", &[("class", &class_of_arm(number))], |out| {
                let attributes = [
                    ("viewBox", "0 0 14 14"),
                    ("class", "marked"),
                    ("aria-hidden", "true"),
                ];
                out.element("svg", &attributes, |out| {
                    Form::of_arm(number).draw(out, 7.0, 7.0);
                });
                out.text(arm);
            });
        }
    });
}
