//! What an attack is: a component, what it is called with, and how that must end.

use bytes::Bytes;
use heddle_core::id::Digest;
use heddle_core::limits::AttemptLimits;
use heddle_core::outcome::FailureKind;
use heddle_host::testkit::Guest;

/// How an attack must end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ends {
    /// The attempt fails with this kind.
    Fails(FailureKind),
    /// The attempt fails with this kind and this finer word.
    Says(FailureKind, &'static str),
    /// The attempt succeeds with this output: whatever it did, it did to itself.
    Succeeds(&'static str),
    /// It is refused when it is loaded.
    Refused(FailureKind),
}

/// A trap with this finer word.
pub(crate) fn trap(code: &'static str) -> Ends {
    Ends::Says(FailureKind::Trap, code)
}

/// One hostile component.
pub(crate) struct Attack {
    /// Its number in the list of hostile cases.
    pub(crate) case: u32,
    /// What it does, in a word or two.
    pub(crate) name: String,
    pub(crate) component: Bytes,
    pub(crate) input: String,
    pub(crate) limits: fn(&mut AttemptLimits),
    pub(crate) ends: Ends,
}

/// An attack with little fuel, so that what ends for want of fuel ends soon.
pub(crate) fn attack(case: u32, name: &str, guest: Guest, ends: Ends) -> Attack {
    Attack {
        case,
        name: name.into(),
        // All of them are loaded into one node, where a name stands for one component.
        component: guest.clone().named(&plugin_name(case, name, &guest)).build().into(),
        input: "1".into(),
        limits: |limits| limits.fuel = 100_000_000,
        ends,
    }
}

/// A name that a plugin may have: two attacks may be called alike.
fn plugin_name(case: u32, name: &str, guest: &Guest) -> String {
    let letters = name.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let words: Vec<&str> = letters.split('-').filter(|word| !word.is_empty()).collect();
    let digest = Digest::of(&guest.build()).to_string();
    let few = &digest[digest.len() - 8..];
    format!("case-{case}-{}-{few}", words.join("-"))
}

/// A component, or what is none, that is refused by its form alone.
pub(crate) fn refused(case: u32, name: &str, component: Vec<u8>) -> Attack {
    let guest = Guest::tool("form");
    Attack {
        component: component.into(),
        ..attack(case, name, guest, Ends::Refused(FailureKind::ComponentInvalid))
    }
}

impl Attack {
    /// With other limits for its attempts.
    pub(crate) fn within(self, limits: fn(&mut AttemptLimits)) -> Attack {
        Attack { limits, ..self }
    }
    /// With as much fuel as there is by default.
    pub(crate) fn fuelled(self) -> Attack {
        self.within(|_| {})
    }
    /// Called with this.
    pub(crate) fn on(self, input: String) -> Attack {
        Attack { input, ..self }
    }
}

/// Repeats something so many times, counting down in `$c`.
pub(crate) fn times(count: u32, what: &str) -> String {
    format!(
        "(local.set $c (i32.const {count})) (loop $again {what} (br_if $again (local.tee $c (i32.sub (local.get $c) (i32.const 1)))))"
    )
}

/// Repeats something for ever.
pub(crate) fn ever(what: &str) -> String {
    format!("(loop $again {what} (br $again)) (unreachable)")
}

pub(crate) const NOW: &str = r#"(import "heddle:host/clock@0.1.0" "now-ms" (func $now (result i64)))"#;
pub(crate) const LOG: &str = r#"(import "heddle:host/log@0.1.0" "write" (func $log (param i32 i32 i32)))"#;
pub(crate) const DONE: &str = "(call $number (i64.const 1))";
