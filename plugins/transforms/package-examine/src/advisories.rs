//! A short list of well-known advisories from the RustSec database (CC0), so that the sample finds something real
//! without the network.
//!
//! It is a list of its time and not a replacement for `cargo audit`; the report says so. An entry stands here only if
//! its identifier and its versions were read in the database itself.

use semver::{Version, VersionReq};

/// When the list was made. The report shows it.
pub(crate) const AS_OF: &str = "2026-02";

/// What kind of trouble an advisory tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// The crate was made to harm.
    Malicious,
    /// A weakness with a way to use it.
    Vulnerable,
    /// Code that the compiler takes for safe and that is not.
    Unsound,
    /// Nobody looks after it.
    Unmaintained,
}

/// One advisory.
#[derive(Debug)]
pub(crate) struct Advisory {
    pub(crate) id: &'static str,
    pub(crate) package: &'static str,
    pub(crate) class: Class,
    /// Versions that are meant: any of these requirements. Empty means all.
    affected: &'static [&'static str],
    pub(crate) what: &'static str,
    pub(crate) advice: &'static str,
}

impl Advisory {
    /// Whether this version of its package is meant.
    pub(crate) fn covers(&self, version: &Version) -> bool {
        let meant =
            |requirement: &&str| VersionReq::parse(requirement).is_ok_and(|wanted| wanted.matches(version));
        self.affected.is_empty() || self.affected.iter().any(meant)
    }
}

const fn gone(id: &'static str, package: &'static str, advice: &'static str) -> Advisory {
    Advisory {
        id,
        package,
        class: Class::Unmaintained,
        affected: &[],
        what: "is no longer maintained",
        advice,
    }
}

const fn vulnerable(
    id: &'static str,
    package: &'static str,
    affected: &'static [&'static str],
    what: &'static str,
    advice: &'static str,
) -> Advisory {
    Advisory { id, package, class: Class::Vulnerable, affected, what, advice }
}

/// By package.
pub(crate) const ADVISORIES: &[Advisory] = &[
    gone("RUSTSEC-2021-0139", "ansi_term", "Use `anstyle` or `nu-ansi-term`"),
    gone("RUSTSEC-2024-0375", "atty", "Use `std::io::IsTerminal`"),
    gone("RUSTSEC-2025-0141", "bincode", "Use `postcard` or `bitcode`, or stay knowingly"),
    vulnerable(
        "RUSTSEC-2020-0159",
        "chrono",
        &["<0.4.20"],
        "may crash when the local time is read while another thread sets an environment variable",
        "Update `chrono` to 0.4.20 or later",
    ),
    vulnerable(
        "RUSTSEC-2025-0024",
        "crossbeam-channel",
        &[">=0.5.12, <0.5.15"],
        "may free memory twice when a channel is dropped",
        "Update `crossbeam-channel` to 0.5.15 or later",
    ),
    vulnerable(
        "RUSTSEC-2024-0344",
        "curve25519-dalek",
        &["<4.1.3"],
        "may leak secrets through the time that a subtraction takes",
        "Update `curve25519-dalek` to 4.1.3 or later",
    ),
    gone("RUSTSEC-2024-0388", "derivative", "Use `derive_more`, `derive-where` or `educe`"),
    gone("RUSTSEC-2021-0141", "dotenv", "Use `dotenvy`"),
    vulnerable(
        "RUSTSEC-2022-0093",
        "ed25519-dalek",
        &["<2.0.0"],
        "can be led to reveal a private key when the public key is chosen by somebody else",
        "Update `ed25519-dalek` to 2 or later",
    ),
    gone("RUSTSEC-2020-0036", "failure", "Use `thiserror` or `anyhow`"),
    gone("RUSTSEC-2025-0057", "fxhash", "Use `rustc-hash`"),
    vulnerable(
        "RUSTSEC-2024-0332",
        "h2",
        &["<0.3.26", ">=0.4.0, <0.4.4"],
        "can be slowed down by a flood of CONTINUATION frames",
        "Update `h2` to 0.3.26, 0.4.4 or later",
    ),
    vulnerable(
        "RUSTSEC-2024-0421",
        "idna",
        &["<1.0.0"],
        "takes different spellings of a host name for equal",
        "Update `idna` to 1.0.3 or later, or `url` to 2.5.4 or later",
    ),
    gone("RUSTSEC-2024-0384", "instant", "Use `web-time`"),
    vulnerable(
        "RUSTSEC-2024-0019",
        "mio",
        &[">=0.7.2, <0.8.11"],
        "may hand over tokens of named pipes that are gone (Windows only)",
        "Update `mio` to 0.8.11 or later",
    ),
    gone("RUSTSEC-2020-0016", "net2", "Use `socket2`"),
    gone("RUSTSEC-2025-0119", "number_prefix", "Use `unit-prefix`"),
    gone("RUSTSEC-2024-0436", "paste", "Wait for its users to move on; nothing is known to be wrong with it"),
    gone("RUSTSEC-2024-0370", "proc-macro-error", "Use `proc-macro-error2` or `manyhow`"),
    vulnerable(
        "RUSTSEC-2022-0013",
        "regex",
        &["<1.5.5"],
        "takes very long to read certain patterns, which matters where strangers give the pattern",
        "Update `regex` to 1.5.5 or later",
    ),
    vulnerable(
        "RUSTSEC-2023-0018",
        "remove_dir_all",
        &["<0.8.0"],
        "can be led through a link into deleting another folder",
        "Update `remove_dir_all` to 0.8 or later, or use `std::fs::remove_dir_all`",
    ),
    vulnerable(
        "RUSTSEC-2025-0009",
        "ring",
        &["<0.17.12"],
        "may panic in AES where overflow checks are on; QUIC peers can provoke it",
        "Update `ring` to 0.17.12 or later",
    ),
    vulnerable(
        "RUSTSEC-2023-0071",
        "rsa",
        &[],
        "may leak the private key through the time that it takes (Marvin attack)",
        "Keep it away from keys that an attacker can watch at work over a network",
    ),
    Advisory {
        id: "RUSTSEC-2022-0042",
        package: "rustdecimal",
        class: Class::Malicious,
        affected: &[],
        what: "was malware with a name like `rust_decimal`",
        advice: "Remove it and take every machine that built it for compromised",
    },
    vulnerable(
        "RUSTSEC-2024-0336",
        "rustls",
        &["<0.21.11", ">=0.22.0, <0.22.4", ">=0.23.0, <0.23.5"],
        "may loop without end in `complete_io` on what a peer sends",
        "Update `rustls` to 0.21.11, 0.22.4, 0.23.5 or later",
    ),
    gone("RUSTSEC-2025-0134", "rustls-pemfile", "Use `PemObject` of `rustls-pki-types`"),
    vulnerable(
        "RUSTSEC-2023-0053",
        "rustls-webpki",
        &["<0.100.2", ">=0.101.0, <0.101.4"],
        "spends exponential time on certain certificate chains",
        "Update `rustls-webpki` to 0.100.2, 0.101.4 or later",
    ),
    Advisory {
        id: "RUSTSEC-2025-0068",
        package: "serde_yml",
        class: Class::Unsound,
        affected: &[],
        what: "is unsound and no longer maintained",
        advice: "Use `serde_norway` or `serde_yaml_ng`",
    },
    vulnerable(
        "RUSTSEC-2021-0003",
        "smallvec",
        &[">=0.6.3, <0.6.14", ">=1.0.0, <1.6.1"],
        "may write past the end of its buffer in `insert_many`",
        "Update `smallvec` to 0.6.14, 1.6.1 or later",
    ),
    vulnerable(
        "RUSTSEC-2020-0071",
        "time",
        &["<0.2.0", ">=0.2.7, <0.2.23"],
        "may crash when the local time is read while another thread sets an environment variable",
        "Update `time` to 0.3",
    ),
    vulnerable(
        "RUSTSEC-2026-0009",
        "time",
        &[">=0.3.6, <0.3.47"],
        "can be made to run out of stack by a date in the format of RFC 2822",
        "Update `time` to 0.3.47 or later",
    ),
    vulnerable(
        "RUSTSEC-2025-0055",
        "tracing-subscriber",
        &["<0.3.20"],
        "writes escape sequences from logged text to the terminal",
        "Update `tracing-subscriber` to 0.3.20 or later",
    ),
    gone("RUSTSEC-2024-0320", "yaml-rust", "Use `yaml-rust2`"),
];
