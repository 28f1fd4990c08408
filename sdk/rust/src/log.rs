//! Lines for the operator. Logging never fails: long lines are cut and floods are dropped by the host.
//!
//! Every kind of plugin may log. Use the macros [`trace!`](crate::trace!), [`debug!`](crate::debug!),
//! [`info!`](crate::info!), [`warn!`](crate::warn!) and [`error!`](crate::error!), which take what `format!` takes.

use crate::host;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Every detail, for following one run.
    Trace,
    /// For whoever develops the plugin.
    Debug,
    /// What happened.
    Info,
    /// Something is odd, and the work goes on.
    Warn,
    /// Something failed.
    Error,
}

/// Writes one line. At most 8 KiB of it are kept.
pub fn write(level: Level, message: &str) {
    host::log(level, message);
}

/// Logs a line at the level `trace`.
#[macro_export]
macro_rules! trace {
    ($($words:tt)+) => { $crate::log::write($crate::log::Level::Trace, &::std::format!($($words)+)) };
}

/// Logs a line at the level `debug`.
#[macro_export]
macro_rules! debug {
    ($($words:tt)+) => { $crate::log::write($crate::log::Level::Debug, &::std::format!($($words)+)) };
}

/// Logs a line at the level `info`.
#[macro_export]
macro_rules! info {
    ($($words:tt)+) => { $crate::log::write($crate::log::Level::Info, &::std::format!($($words)+)) };
}

/// Logs a line at the level `warn`.
#[macro_export]
macro_rules! warn {
    ($($words:tt)+) => { $crate::log::write($crate::log::Level::Warn, &::std::format!($($words)+)) };
}

/// Logs a line at the level `error`.
#[macro_export]
macro_rules! error {
    ($($words:tt)+) => { $crate::log::write($crate::log::Level::Error, &::std::format!($($words)+)) };
}
