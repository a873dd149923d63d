//! What came out: renderings of a campaign and of a run, to strings. Nothing here touches a file,
//! a terminal or the environment; whether to colour is the caller's word.
//!
//! - [`terminal`] the loss matrix with everything that a reader needs below it
//! - [`bugs`] the table of the bug bench
//! - [`github`] a job summary and annotations
//! - [`html`] `index.html`: one page to forward, with the story of each loss
//! - [`json`] `report.json`, the source of truth
//! - [`junit`] a test case a cell
//! - [`price`] what each configuration costs
//! - [`shrunk`] what went from a failure, and what is left: what `shrink` prints
//! - [`story`] one run in words: what `replay` prints
//! - [`summary`] one sentence: what was kept, what was lost, and when
//!
//! Shared by them: the words of a [`cell`], the [`command`] that runs it again, the packing of the matrix, and wrapped text.

pub mod bugs;
pub mod cell;
pub mod command;
pub mod github;
pub mod html;
pub mod json;
pub mod junit;
mod matrix;
pub mod price;
pub mod shrunk;
pub mod story;
pub mod summary;
pub mod terminal;
mod text;

#[cfg(test)]
mod sample;
