//! SDK for those who submit jobs and those who work them
