//! A first manifest, written for whoever has none: by what the nodes say of themselves, and by a
//! recipe or a command line of somebody else's, where there is one.
//!
//! [`facts`] are what is asked of a node, in one round trip with whatever else is; [`Surveyed::read`]
//! makes a value of the answer, [`Asked::read`] one of a recipe of sparkrun or a command line of vLLM,
//! and [`draft()`] a text of both. It is pure: who asks the nodes and who writes the file is the command.

mod accepted;
mod asked;
mod command_line;
mod draft;
mod networks;
mod place;
mod read;
mod recipe;
mod serving;
mod survey;
mod words;
mod yaml;

pub use accepted::accepted;
pub use asked::{Asked, Unreadable};
pub use draft::{Draft, draft, simulated_here};
pub use place::Place;
pub use survey::{Surveyed, facts};
