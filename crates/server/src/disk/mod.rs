//! What the disk of the data folder lets this node do: whether its log keeps up, and whether its volume has room.
//!
//! One [`DiskWatch`] a node looks at both and tells; everybody else goes by what was told. The log itself finds out the
//! hard way: a write that is refused or a sync that fails is its end and the node's, and is never tried again. What is
//! here is to see that coming while there is still something to be done about it.

mod room;
mod watch;

pub use room::{DiskRoom, RoomGate, RoomLevel, Watermarks};
pub use watch::{DiskHealth, DiskWatch};
