//! What must hold at the end of every scenario. One file a property.

pub mod one_accepted_result;

pub use one_accepted_result::one_accepted_result;
