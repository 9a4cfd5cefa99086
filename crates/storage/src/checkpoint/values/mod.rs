//! Values that lie in files of their own, beside the database.
//!
//! A large value in a B-tree is moved a dozen times on its way in and back: into a page, out of the cache, back into it
//! for a checksum, and through all of it again when a neighbour goes. So the values of some tables
//! ([`Table::apart`](super::Table::apart)) are appended to *value files*, and the tree holds a [`Pointer`] of 24 bytes for
//! each, with its checksum (WiscKey: Lu et al., FAST '16). A value is written once and read with one read.
//!
//! A value file belongs to one table and is only ever appended to. How far it counts and how much of it is still wanted
//! stands in the database ([`Extent`]), and changes with the commit that changes it; what lies behind is not there. A
//! file goes when a commit finds nothing in it that is wanted. Values that outlive their neighbours are moved together
//! (`gather`), or each could keep a whole file.
//!
//! What must hold: before a commit counts, its values and the names of its files are durable; a file goes only after the
//! commit that wants nothing in it counts, and for those who read as of an earlier one it stays open. A file's number is
//! not used again while the process runs; a file that no commit names is removed when the checkpoint is first opened.

mod appender;
mod extent;
mod file;
mod numbers;
mod pointer;
mod set;

pub(super) use appender::Appender;
pub(super) use extent::{Extents, read_extents};
pub(super) use numbers::Numbers;
pub(super) use pointer::Pointer;
pub(super) use set::{Files, ValueSet};
